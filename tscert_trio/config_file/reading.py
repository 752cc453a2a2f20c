"""Read the TOML of the file, and take the settings out of it."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs

from ..config_places import default_config_files
from ..options import OPTIONS, Option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from ..target_settings import HookSettings, TargetSettings

__all__ = ["ConfigFile", "kind_of", "read_config_file", "unknown_keys"]

_TABLES = {"targets": "[[targets]]", "on_failure": "[on_failure]", "names": "[[names]]"}
_KINDS = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


@attrs.frozen(kw_only=True)
class ConfigFile:
    """What a configuration file says."""

    path: Path | None = None
    """``None`` where there is none."""
    values: Mapping[str, Any] = attrs.field(factory=dict)
    """By field of the settings."""
    targets: tuple[TargetSettings, ...] = ()
    on_failure: HookSettings | None = None
    guests: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """One line for each, with its key and what would be right."""

    def origin(self, key: str) -> str:
        """Return where a key of this file stands, for people."""
        return f"{key} in {self.path}"


def read_config_file(path: Path | None, environ: Mapping[str, str] = os.environ) -> ConfigFile:
    """Read a configuration file; what is wrong with it is in its ``faults``.

    Args:
        path: the file; ``None`` for the first of the default ones that exists, if one does.
        environ: says where those are.
    """
    for candidate in (path,) if path is not None else default_config_files(environ):
        try:
            data = candidate.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as exc:
            if path is not None:
                return ConfigFile(path=path, faults=(f"{path}: {exc.strerror}",))
        except OSError as exc:
            return ConfigFile(path=candidate, faults=(f"{candidate}: {exc.strerror}",))
        else:
            return _parse(candidate, data)
    return ConfigFile()


def _parse(path: Path, data: bytes) -> ConfigFile:
    import tomllib

    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        return ConfigFile(path=path, faults=(f"{path}: is no UTF-8 (at line {line})",))
    try:
        table = tomllib.loads(text)
    except RecursionError:
        return ConfigFile(path=path, faults=(f"{path}: is nested too deeply",))
    except ValueError as exc:
        where = f"line {len(text.splitlines())}, end of document"
        message = str(exc).replace("(at end of document)", f"(at {where})")
        return ConfigFile(path=path, faults=(f"{path}: is no TOML: {message}",))
    return _take(path, table)


def _take(path: Path, table: dict[str, Any]) -> ConfigFile:
    faults: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    options = {option.key: option for option in OPTIONS if option.is_in_file}
    table = dict(table)
    for option in OPTIONS:
        if not option.is_in_file and option.key in table:
            del table[option.key]
            faults.append((option.key, _why_not_in_file(option)))
    faults += unknown_keys(table, (*options, *_TABLES))
    for key, option in options.items():
        if key not in table:
            continue
        try:
            values[option.field] = _value(option, table[key])
        except (ValueError, TypeError) as exc:
            faults.append((key, str(exc)))
    config = ConfigFile(path=path, values=values)
    if not table.keys().isdisjoint(_TABLES):
        from .structure import take_tables  # cattrs comes with it, which takes 12 ms

        tables, more = take_tables(table)
        config = attrs.evolve(config, **tables)
        faults += more
    return attrs.evolve(config, faults=tuple(f"{config.origin(key)}: {text}" for key, text in faults))


def _why_not_in_file(option: Option) -> str:
    if option.field == "config_file":
        return "a configuration file cannot name another"
    return f"belongs to a target; write [[targets]], and {option.key} under it"


def unknown_keys(table: Iterable[str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Tell the keys that have no meaning, each with the nearest one that has."""
    names = sorted(known)
    for key in table:
        if key not in names:
            near = get_close_matches(key.lower().replace("-", "_"), names, n=1)
            advice = f"do you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            yield _bare_or_quoted(key), f"is no setting; {advice}"


def _bare_or_quoted(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else repr(key)


def kind_of(value: object) -> str:
    """Return what kind of TOML value something is, for people."""
    if isinstance(value, bool):
        return str(value).lower()
    return _KINDS.get(type(value), "a date or time")


def _value(option: Option, value: object) -> Any:  # noqa: ANN401 -- of each option its own
    """Return the value of an option, which has to be of the right kind, since "5" is not 5."""
    if option.metavar is None:
        if not isinstance(value, bool):
            raise TypeError(f"want true or false, not {kind_of(value)}")
        return value
    if option.is_number:
        return option.parse(repr(_float(value)))
    if option.is_list:
        return _items(option, value)
    return _scalar(option, value)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"want a number, such as 2, not {kind_of(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large") from None


def _items(option: Option, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f'want a list, such as ["…"], not {kind_of(value)}')
    if not value:
        raise ValueError("is empty; leave it out")
    items: list[Any] = []
    for item in value:
        parsed = _scalar(option, item)
        if len(parsed) != 1:
            raise ValueError(f"{item!r} is more than one; give each a text of its own in the list")
        items += parsed
    return tuple(items)


def _scalar(option: Option, value: object) -> Any:  # noqa: ANN401 -- of each option its own
    if not isinstance(value, str):
        example = 'a duration in quotes, such as "90s" or "12h"'
        wanted = example if option.metavar == "DURATION" else "text in quotes"
        raise TypeError(f"want {wanted}, not {kind_of(value)}")
    if "\0" in value:
        raise ValueError("has a null character in it")
    return option.parse(value)
