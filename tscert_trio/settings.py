"""The settings of the service, and where each of them came from.

One table of options serves the command line, the environment and the help text.
"""

from __future__ import annotations

import math
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .errors import SettingsError
from .localapi import ISSUE_TIMEOUT, default_socket_path
from .schedule import REFRESH_INTERVAL, RetryPolicy
from .serve_config import DomainFilter, Scope, check_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OPTIONS", "Option", "Settings", "parse_duration"]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LOG_LEVELS = ("debug", "info", "warning", "error")
_JITTER = 0.1


def parse_duration(text: str) -> timedelta:
    """Parse a duration as people write it: ``500ms``, ``90s``, ``5m``, ``1h30m``, ``24h``, ``30d``.

    Raises:
        ValueError: it is none, or not longer than nothing, or longer than 10,000 years.
    """
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError(f"{text!r} is no duration; write 500ms, 90s, 5m, 1h30m, 24h or 30d")
    try:
        duration = timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(text)))
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None
    if not duration:
        raise ValueError(f"{text!r} is no time at all")
    return duration


def _parse_factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 1 <= factor < math.inf:
        raise ValueError(f"{text!r} is no factor; write a number from 1 up, such as 2")
    return factor


def _parse_flag(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _parse_domains(text: str) -> tuple[str, ...]:
    return tuple(check_domain(name) for name in _parse_list(text))


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


def _parse_scope(text: str) -> Scope:
    return Scope(_one_of(*(scope.value for scope in Scope))(text))


@attrs.frozen(kw_only=True)
class Option:
    """One option of ``tscert-trio run``."""

    field: str
    """Of :class:`Settings`."""
    flag: str
    """On the command line; without dashes, it is positional."""
    parse: Callable[[str], Any]
    """Raises ValueError with what would be right."""
    help: str
    metavar: str | None = None
    """``None`` for a switch."""
    is_list: bool = False
    """May be given several times; the environment separates by commas or spaces."""
    also: str | None = None
    """A variable of Tailscale's containers that is read, too."""

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "TSCERT_" + self.flag.strip("-").upper().replace("-", "_")


OPTIONS = (
    Option(
        field="domains", flag="domains", metavar="DOMAIN", is_list=True, parse=_parse_domains,
        help="keep a certificate for this name, besides those of the serve config",
    ),
    Option(
        field="socket", flag="--socket", metavar="PATH", parse=Path, also="TS_SOCKET",
        help="tailscaled's socket",
    ),
    Option(
        field="scope", flag="--scope", metavar="SCOPE", parse=_parse_scope,
        help="names of the serve config to keep certificates for: services (those of Tailscale "
        "Services only, as Tailscale's own manager does) or all (the node's own, too)",
    ),
    Option(
        field="serve_config", flag="--serve-config", metavar="PATH", parse=Path, also="TS_SERVE_CONFIG",
        help="follow the serve config in this file instead of tailscaled's",
    ),
    Option(
        field="poll_interval", flag="--poll-interval", metavar="DURATION", parse=parse_duration,
        help="how often to ask for tailscaled's serve config when nothing hints at a change",
    ),
    Option(
        field="self_name", flag="--self", parse=_parse_flag,
        help="keep a certificate for the node's own name, for hosts whose own server serves it",
    ),
    Option(
        field="only", flag="--only", metavar="PATTERN", is_list=True, parse=_parse_list,
        help="ask only for names that match, such as '*.tail1234.ts.net'",
    ),
    Option(
        field="exclude", flag="--not", metavar="PATTERN", is_list=True, parse=_parse_list,
        help="never ask for names that match",
    ),
    Option(
        field="refresh_interval", flag="--refresh-interval", metavar="DURATION", parse=parse_duration,
        help="how long after a success to ask again",
    ),
    Option(
        field="retry_initial", flag="--retry-initial", metavar="DURATION", parse=parse_duration,
        help="how long to wait after a first failure",
    ),
    Option(
        field="retry_factor", flag="--retry-factor", metavar="NUMBER", parse=_parse_factor,
        help="by how much each further wait is longer",
    ),
    Option(
        field="retry_max", flag="--retry-max", metavar="DURATION", parse=parse_duration,
        help="the longest wait after a failure",
    ),
    Option(
        field="issue_timeout", flag="--issue-timeout", metavar="DURATION", parse=parse_duration,
        help="how long tailscaled may take for one certificate",
    ),
    Option(
        field="log_format", flag="--log-format", metavar="FORMAT", parse=_one_of("text", "json"),
        help="text or json",
    ),
    Option(
        field="log_level", flag="--log-level", metavar="LEVEL", parse=_one_of(*_LOG_LEVELS),
        help=", ".join(_LOG_LEVELS),
    ),
)  # fmt: skip


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
    log_format: str = "text"
    log_level: str = "info"
    reader_reason: str | None = None
    """Why this replica may only read certificates; ``None`` where it issues them."""
    origins: Mapping[str, str] = attrs.field(factory=dict, eq=False)
    """Where each setting came from, such as ``--socket`` or ``TSCERT_SOCKET``; one that is not in it
    has its default."""

    @classmethod
    def load(cls, flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
        """Combine the command line, the environment and the defaults, in this order.

        Args:
            flags: by field: text, a list of texts, or ``True``; ``None`` where not given.
            environ: the environment; an empty variable is as good as none.

        Raises:
            SettingsError: with every fault at once, each with the option's name and what would be right.
        """
        values: dict[str, Any] = {"socket": default_socket_path(environ)}
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
        settings = cls(**values, reader_reason=_reader_reason(environ), origins=origins)
        if settings.retry_initial > settings.retry_max:
            faults.append("--retry-initial is longer than --retry-max")
        if faults:
            raise SettingsError(faults)
        return settings

    @property
    def retry_policy(self) -> RetryPolicy:
        """How long to wait after a failure."""
        return RetryPolicy(
            initial=self.retry_initial, factor=self.retry_factor, maximum=self.retry_max, jitter=_JITTER
        )

    @property
    def domain_filter(self) -> DomainFilter:
        """Which wanted names are let through."""
        return DomainFilter(only=self.only, exclude=self.exclude)


def _find(
    option: Option, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[str, list[str]] | None:
    """Return where an option was given, and its texts."""
    if given := flags.get(option.field):
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
