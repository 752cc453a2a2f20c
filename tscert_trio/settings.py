"""The settings of the service, and where each of them came from."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .config_file import ConfigFile, read_config_file
from .config_places import MEMORY, NO_SOCKET
from .errors import SettingsError
from .journal import default_state_folder
from .localapi import ISSUE_TIMEOUT, default_socket_path
from .option_values import is_utf_8
from .options import CONFIG, OPTIONS, TARGET_PREFIX, Option
from .schedule import LETS_ENCRYPT, NO_LIMITS, REFRESH_INTERVAL, CALimits, Mode, RetryPolicy
from .serve_config import DomainFilter, Scope
from .status.place import default_status_socket
from .target_settings import HookSettings, TargetSettings, shared_paths, unique_name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEMORY", "NO_SOCKET", "Settings"]

_JITTER = 0.1
_PLACES_FROM_ENVIRON = {"config_file", "state", "status_socket"}
"""Their defaults are made of variables that are no options, such as ``HOME``."""


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of the service."""

    domains: tuple[str, ...] = ()
    socket: Path = attrs.field(factory=default_socket_path)
    scope: Scope = Scope.ALL
    serve_config: Path | None = None
    poll_interval: timedelta = timedelta(seconds=30)
    self_name: bool = False
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    refresh_interval: timedelta = REFRESH_INTERVAL
    retry_initial: timedelta = timedelta(minutes=1)
    retry_factor: float = 2
    retry_max: timedelta = timedelta(hours=24)
    issue_timeout: timedelta = ISSUE_TIMEOUT
    state: Path = MEMORY
    ca_directory: str | None = None
    no_ari: bool = False
    ca_limits: str = "letsencrypt"
    status_socket: Path = NO_SOCKET
    status_group: str | None = None
    listen: str | None = None
    """``host:port``, for TCP."""
    allowed_hosts: tuple[str, ...] = ()
    log_format: str = "text"
    log_level: str = "info"
    targets: tuple[TargetSettings, ...] = ()
    """Where certificates go, and who is told."""
    on_failure: HookSettings | None = None
    """A command for alerts."""
    guests: tuple[str, ...] = ()
    """Patterns of names for which no certificate is ordered."""
    config_file: Path | None = attrs.field(default=None, eq=False)
    """The file that was read."""
    reader_reason: str | None = None
    """Why this replica may only read certificates; ``None`` where it issues them."""
    origins: Mapping[str, str] = attrs.field(factory=dict, eq=False)
    """Where each setting came from, such as ``--socket``, ``TSCERT_SOCKET`` or ``socket in
    /etc/tscert-trio.toml``; one that is not in it has its default. A target is ``targets[0]``."""

    @classmethod
    def load(cls, flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
        """Combine the command line, the environment, the configuration file and the defaults, in this order.

        Args:
            flags: by field: text, a list of texts, or ``True``; ``None`` where not given.
            environ: the environment; an empty variable is as good as none.

        Raises:
            SettingsError: with every fault at once, each with the option's name and what would be right.
        """
        settings, faults = cls.load_leniently(flags, environ)
        if faults:
            raise SettingsError(faults)
        return settings

    @classmethod
    def load_leniently(
        cls, flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ
    ) -> tuple[Settings, tuple[str, ...]]:
        """Do the same, with the default in place of what makes no sense; return all faults besides."""
        found = _find(CONFIG, flags, environ)
        path = Path(found[1][0]) if found and found[1][0] else None
        config = read_config_file(path, environ) if is_utf_8(str(path)) else ConfigFile()
        given, origins, faults = _parse_options(flags, environ)
        faults += config.faults
        keys = {option.field: option.key for option in OPTIONS}
        in_file = {field: config.origin(keys[field]) for field in config.values}
        values: dict[str, Any] = {
            "socket": default_socket_path(environ),
            "state": default_state_folder(environ),
            "status_socket": default_status_socket(environ),
            **config.values,
            **{field: value for field, value in given.items() if not field.startswith(TARGET_PREFIX)},
            "config_file": config.path,
        }
        targets, target_origins = _targets(config, given, origins)
        settings = cls(
            **values,
            targets=targets,
            on_failure=config.on_failure,
            guests=config.guests,
            reader_reason=_reader_reason(environ),
            origins={
                **in_file,
                **{field: origin for field, origin in origins.items() if not field.startswith(TARGET_PREFIX)},
                **target_origins,
            },
        )
        faults += [f"{key}: {text}" for key, text in shared_paths(targets)]
        faults += [
            f"{option.flag}: its default {str(values[option.field])!r} is no UTF-8; give another path"
            for option in OPTIONS
            if option.field in _PLACES_FROM_ENVIRON
            and _find(option, flags, environ) is None
            and not is_utf_8(str(values[option.field]))
        ]
        if settings.retry_initial > settings.retry_max:
            faults.append("--retry-initial is longer than --retry-max")
        return settings, tuple(faults)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How long to wait after a failure."""
        return RetryPolicy(
            initial=self.retry_initial,
            factor=self.retry_factor,
            maximum=self.retry_max,
            jitter=_JITTER,
            urgency=True,
        )

    @property
    def limits(self) -> CALimits:
        """The limits of the CA."""
        return NO_LIMITS if self.ca_limits == "none" else LETS_ENCRYPT

    @property
    def mode(self) -> Mode:
        """Whether this replica orders certificates."""
        return Mode.KEEPER if self.reader_reason is None else Mode.READER

    def mode_of(self, domain: str) -> Mode:
        """Return whether certificates for a name are ordered, or only looked at."""
        if self.mode is Mode.KEEPER and self.guests and DomainFilter(only=self.guests)(domain):
            return Mode.GUEST
        return self.mode

    @property
    def domain_filter(self) -> DomainFilter:
        """Which wanted names are let through."""
        return DomainFilter(only=self.only, exclude=self.exclude)


def _parse_options(
    flags: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Return what command line and environment say by field, where each stands, and what is wrong."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    faults = []
    for option in OPTIONS:
        found = _find(option, flags, environ)
        if found is None:
            continue
        origin, texts = found
        try:
            parsed = [option.parse(text) for text in texts]
        except ValueError as exc:
            faults.append(f"{origin}: {exc}")
            continue
        values[option.field] = sum(parsed, ()) if option.is_list else parsed[0]
        origins[option.field] = origin
    return values, origins, faults


def _targets(
    config: ConfigFile, given: Mapping[str, Any], origins: Mapping[str, str]
) -> tuple[tuple[TargetSettings, ...], dict[str, str]]:
    """Add the target that options describe to those of the file; say where each came from."""
    targets = list(config.targets)
    keys = [f"targets[{index}]" for index in range(len(targets) + 1)]
    found = {key: config.origin(key) for key in keys[:-1]}
    if config.on_failure is not None:
        found["on_failure"] = config.origin("on_failure")
    if config.guests:
        found["guests"] = config.origin("names")
    parts = {
        field: value
        for field, value in given.items()
        if field.startswith(TARGET_PREFIX) and value is not None
    }
    if parts:
        fields = {field.removeprefix(TARGET_PREFIX): value for field, value in parts.items()}
        target = TargetSettings(name="nameless", **fields)
        name = unique_name(target, [each.name for each in targets])
        targets.append(attrs.evolve(target, name=name))
        found[keys[-1]] = " and ".join(origins[field] for field in parts)
    return tuple(targets), found


def _find(
    option: Option, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[str, list[str]] | None:
    """Return where an option was given, and its texts."""
    given = flags.get(option.field)
    if given not in (None, False, []):
        if option.metavar is None:
            return option.flag, ["true"]
        return option.flag if option.flag.startswith("-") else option.metavar, (
            list(given) if option.is_list else [given]
        )
    for variable in (option.variable, option.also):
        if variable and environ.get(variable):
            return variable, [environ[variable]]
    return None


def _reader_reason(environ: Mapping[str, str]) -> str | None:
    """Return why this replica only reads, by the rule of containerboot (``cmd/containerboot``).

    The replicas of a ProxyGroup share certificates; the one whose Pod name ends in -0 issues them.
    """
    pod = environ.get("POD_NAME", "")
    share = environ.get("TS_EXPERIMENTAL_CERT_SHARE", "").lower() in {"1", "t", "true"}
    if not share or pod.endswith("-0"):
        return None
    return (
        f"TS_EXPERIMENTAL_CERT_SHARE is on and POD_NAME is {pod!r}: the replica whose name ends in -0 "
        "issues the certificates"
    )
