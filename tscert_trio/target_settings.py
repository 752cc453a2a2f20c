"""The settings of targets: where certificates go, and who is told. They know nothing of files or programs.

What is wrong with one field is refused by that field's validator, what is wrong between fields when the
object is made; both speak of "key: what would be right".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from os.path import normpath
from pathlib import Path  # noqa: TC003 -- the types are read when a configuration file is
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from attrs.validators import deep_iterable, optional

from .target_checks import (
    DOMAIN,
    check_account,
    check_command,
    check_directory,
    check_host,
    check_layout,
    check_mode,
    check_name,
    check_not_empty,
    check_pattern,
    check_port,
    check_positive,
    check_signal,
    check_unit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

__all__ = [
    "FILE_KEYS",
    "FileSettings",
    "FilesSettings",
    "HookSettings",
    "ProbeSettings",
    "SignalSettings",
    "TargetSettings",
    "cross_faults",
    "file_templates",
    "plain_layout",
    "shared_paths",
    "unique_name",
]

FILE_KEYS = ("key", "certificate", "chain", "fullchain", "combined", "pkcs12")
"""The files that a target can write."""

_STEPS = ("files", "hook", "reload", "signal", "probe")

_Fault: TypeAlias = tuple[str, str]
"""A key, or nothing for the whole, and what would be right."""


def _check(check: Callable[[Any], object]) -> Callable[[Any, Any, Any], None]:
    """Make a validator of a function that raises ValueError."""
    return lambda _instance, _field, value: (check(value), None)[1]


def _lower(patterns: Iterable[str]) -> tuple[str, ...]:
    return tuple(pattern.lower() for pattern in patterns)


def _without_sig(text: str) -> str:
    return text.upper().removeprefix("SIG")


class _Whole:
    """Refuses what is wrong between its fields."""

    __slots__ = ()

    def __attrs_post_init__(self) -> None:
        fields = attrs.asdict(self, recurse=False)  # type: ignore[arg-type]
        if faults := [f"{key}: {text}" if key else text for key, text in cross_faults(type(self), fields)]:
            raise ValueError("; ".join(faults))


@attrs.frozen(kw_only=True)
class FileSettings:
    """One file of a target."""

    path: str = attrs.field(validator=_check(check_directory))
    """``{domain}`` in it stands for the name."""
    owner: str | None = attrs.field(default=None, validator=optional(_check(check_account)))
    group: str | None = attrs.field(default=None, validator=optional(_check(check_account)))
    mode: int | None = attrs.field(default=None, validator=optional(_check(check_mode)))


@attrs.frozen(kw_only=True)
class FilesSettings(_Whole):
    """Which files a target writes, and how."""

    directory: str | None = attrs.field(
        default=None, converter=attrs.converters.optional(str), validator=optional(_check(check_directory))
    )
    key: FileSettings | None = None
    certificate: FileSettings | None = None
    chain: FileSettings | None = None
    fullchain: FileSettings | None = None
    combined: FileSettings | None = None
    pkcs12: FileSettings | None = None
    pkcs12_password_file: Path | None = None
    owner: str | None = attrs.field(default=None, validator=optional(_check(check_account)))
    group: str | None = attrs.field(default=None, validator=optional(_check(check_account)))
    mode: int = attrs.field(default=0o644, validator=_check(check_mode))
    key_mode: int = attrs.field(default=0o600, validator=_check(check_mode))
    """Of each file with a key in it."""
    layout: str = attrs.field(default="plain", validator=_check(check_layout))
    """``versioned``: a folder per certificate and one symlink that is swapped."""


@attrs.frozen(kw_only=True)
class HookSettings(_Whole):
    """A command that is run."""

    command: tuple[str, ...] = attrs.field(validator=_check(check_command))
    """With ``shell``, one text."""
    shell: bool = False
    coalesce: bool = False
    """One run for all names that changed together."""
    timeout: timedelta = attrs.field(default=timedelta(minutes=2), validator=_check(check_positive))


@attrs.frozen(kw_only=True)
class SignalSettings:
    """A process that is sent a signal."""

    pidfile: Path
    signal: str = attrs.field(default="HUP", converter=_without_sig, validator=_check(check_signal))
    """Without ``SIG``."""


@attrs.frozen(kw_only=True)
class ProbeSettings:
    """A server that is looked at, whether it serves the new certificate."""

    host: str | None = attrs.field(default=None, validator=optional(_check(check_host)))
    """``None``: the node's own Tailscale address."""
    port: int = attrs.field(default=443, validator=_check(check_port))
    timeout: timedelta = attrs.field(default=timedelta(seconds=10), validator=_check(check_positive))


@attrs.frozen(kw_only=True)
class TargetSettings(_Whole):
    """Where certificates go, and who is told."""

    name: str = attrs.field(validator=_check(check_name))
    domains: tuple[str, ...] = attrs.field(
        default=("*",),
        converter=_lower,
        validator=[deep_iterable(_check(check_pattern)), _check(check_not_empty)],
    )
    """Patterns in lower case."""
    files: FilesSettings | None = None
    hook: HookSettings | None = None
    reload: str | None = attrs.field(default=None, validator=optional(_check(check_unit)))
    """A systemd unit."""
    signal: SignalSettings | None = None
    probe: ProbeSettings | None = None


def cross_faults(kind: type, given: Mapping[str, Any]) -> Iterator[_Fault]:
    """Tell what is wrong between the fields of a class.

    Args:
        kind: the class.
        given: its fields, as they are or as a configuration file has them: where one of them is wrong by
            itself, the others are still looked at.
    """
    if kind is FilesSettings:
        yield from _files_faults(given)
    elif kind is HookSettings:
        command = given.get("command")
        if given.get("shell") is True and isinstance(command, list | tuple) and len(command) > 1:
            yield "command", "want one text, since shell = true"
    elif kind is TargetSettings:
        yield from _target_faults(given)


def _files_faults(given: Mapping[str, Any]) -> Iterator[_Fault]:
    if all(given.get(key) is None for key in ("directory", *FILE_KEYS)):
        yield "", f"has no file to write; give directory, or one of {', '.join(FILE_KEYS)}"
    elif given.get("layout") == "versioned" and given.get("directory") is None:
        yield "directory", 'is missing; layout = "versioned" needs it'
    if given.get("pkcs12") is not None and given.get("pkcs12_password_file") is None:
        yield "pkcs12_password_file", "is missing; pkcs12 needs it, a file with the password"
    paths = {key: path for key in FILE_KEYS if isinstance(path := _field(given.get(key), "path"), str)}
    if isinstance(folder := given.get("directory"), str) and given.get("layout", "plain") == "plain":
        paths = plain_layout(folder) | paths
    for key, path in paths.items():
        first = next(other for other in paths if paths[other] == path)
        if first != key:
            yield key, f"{path!r} is the path of {first}, too; give each its own"


def _target_faults(given: Mapping[str, Any]) -> Iterator[_Fault]:
    if all(given.get(step) in (None, False) for step in _STEPS):
        yield "", f"does nothing; give one of {', '.join(_STEPS)}"
    files = given.get("files")
    if _is_one_name(given.get("domains")) or not isinstance(files, Mapping | FilesSettings):
        return
    for key in FILE_KEYS:
        path = _field(_field(files, key), "path")
        if isinstance(path, str) and DOMAIN not in path:
            yield f"files.{key}", f"{path!r} would be the same for every name; put {DOMAIN} into it"


def _field(value: object, name: str) -> object:
    """Return a field of an object or table; a text stands for its path."""
    if isinstance(value, Mapping):
        return value.get(name)
    return value if isinstance(value, str) else getattr(value, name, None)


def _is_one_name(domains: object) -> bool:
    if not isinstance(domains, list | tuple) or len(domains) != 1:
        return False
    return isinstance(domains[0], str) and not set("*?[") & set(domains[0])


def plain_layout(folder: str) -> dict[str, str]:
    """Return the files of a folder in the plain layout, as ``tailscale cert`` writes them; the key first."""
    return {"key": f"{folder}/{DOMAIN}.key", "fullchain": f"{folder}/{DOMAIN}.crt"}


def file_templates(settings: FilesSettings) -> list[str]:
    """Return the paths of all files, with ``{domain}``; of the versioned layout its link."""
    named = {key: file.path for key in FILE_KEYS if (file := getattr(settings, key)) is not None}
    if settings.directory is not None and settings.layout == "versioned":
        return [f"{settings.directory}/live/{DOMAIN}", *named.values()]
    if settings.directory is not None:
        named = plain_layout(settings.directory) | named
    return list(named.values())


def shared_paths(targets: Sequence[TargetSettings]) -> Iterator[_Fault]:
    """Tell which targets would write the same files for the same names, by turns.

    Args:
        targets: all of them, in their order.
    """
    seen: list[tuple[int, str, frozenset[str]]] = []
    for index, target in enumerate(targets):
        domains = frozenset(target.domains)
        for path in {normpath(path) for path in (file_templates(target.files) if target.files else ())}:
            for other, taken, others in seen:
                if path == taken and other != index and (domains & others or "*" in domains | others):
                    yield (
                        f"targets[{index}].files",
                        f"{path!r} is written by targets[{other}], too; give each its own",
                    )
            seen.append((index, path, domains))


def unique_name(target: TargetSettings, taken: Collection[str]) -> str:
    """Return a name for a target that was given none: its unit, its folder or its command.

    Args:
        target: of whatever name.
        taken: names that it must not have.
    """
    name = "".join(char if char.isprintable() else " " for char in _likely_name(target)).strip() or "target"
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return candidate


def _likely_name(target: TargetSettings) -> str:
    files, hook, probe = target.files, target.hook, target.probe
    if target.reload is not None:
        return target.reload
    if files is not None:
        paths = (file.path for file in (getattr(files, key) for key in FILE_KEYS) if file is not None)
        return files.directory or next(paths)
    if hook is not None:
        return " ".join(" ".join(hook.command).split())[:60]
    if target.signal is not None:
        return str(target.signal.pidfile)
    assert probe is not None
    return f"probe of {probe.host or 'port'}{':' if probe.host else ' '}{probe.port}"
