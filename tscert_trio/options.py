"""The options of the service: one table for the command line, the environment and the help text."""

from __future__ import annotations

import math
import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .serve_config import Scope, check_domain, split_host_port
from .target_checks import check_unit
from .target_settings import FilesSettings, HookSettings, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONFIG", "OPTIONS", "TARGET_PREFIX", "Option", "parse_duration", "parse_probe"]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_SECONDS = 10 * 366 * 86400
_SHORTEST_INTERVAL = timedelta(minutes=1)
_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_LOG_LEVELS = ("debug", "info", "warning", "error")

TARGET_PREFIX = "target_"
"""Begins the field of an option that is a part of the one target that options describe."""


def parse_duration(text: str) -> timedelta:
    """Parse a duration as people write it: ``500ms``, ``90s``, ``5m``, ``1h30m``, ``24h``, ``30d``.

    Raises:
        ValueError: it is none, or not longer than nothing, or longer than ten years.
    """
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError(f"{text!r} is no duration; write 500ms, 90s, 5m, 1h30m, 24h or 30d")
    seconds = sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(text))
    if seconds > _LONGEST_SECONDS:
        raise ValueError(f"{text!r} is too long; ten years are the most")
    if not (duration := timedelta(seconds=seconds)):
        raise ValueError(f"{text!r} is no time at all")
    return duration


def _parse_interval(text: str) -> timedelta:
    if (interval := parse_duration(text)) < _SHORTEST_INTERVAL:
        raise ValueError(f"{text!r} is too short; a minute is the least")
    return interval


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
        return _SWITCH[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _parse_list(text: str) -> tuple[str, ...]:
    items = tuple(text.replace(",", " ").split())
    if not items:
        raise ValueError("is empty")
    return items


def _parse_domains(text: str) -> tuple[str, ...]:
    return tuple(check_domain(name) for name in _parse_list(text))


def _parse_path(text: str) -> Path:
    if not text:
        raise ValueError("is empty")
    return Path(text)


def _parse_text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("is empty" if not text else f"{text!r} is no name")
    return text


def _parse_url(text: str) -> str:
    if not text.startswith(("https://", "http://")) or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is no URL; write https://…")
    return text


def _parse_files(text: str) -> FilesSettings:
    return FilesSettings(directory=text)


def _parse_hook(text: str) -> HookSettings:
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is no command: {str(exc).lower()}") from None
    return HookSettings(command=tuple(words))


def parse_probe(text: str) -> ProbeSettings | None:
    """Parse ``host:port``, ``[IPv6]:port``, or ``true`` for port 443 of the node's own address.

    Raises:
        ValueError: it is none of them.
    """
    if text.lower() in _SWITCH:
        return ProbeSettings() if _parse_flag(text) else None
    try:
        host, port = split_host_port(text)
    except ValueError as exc:
        raise ValueError(f"{text!r}: {exc}; want host:port, or nothing for the node's own port 443") from None
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{text!r}: {port!r} is no port; want host:port")
    return ProbeSettings(host=host or None, port=int(port))


def _parse_listen(text: str) -> str:
    """Parse ``port``, ``:port``, ``host:port`` or ``[IPv6]:port``; without a host this machine's alone."""
    try:
        host, port = split_host_port(text if ":" in text else f":{text}")
    except ValueError as exc:
        raise ValueError(f"{text!r}: {exc}; want 9410, host:port or [IPv6]:port") from None
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{text!r} has no port; want 9410, host:port or [IPv6]:port")
    host = host or "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
    """Of :class:`Settings`, or a part of a target (:data:`TARGET_PREFIX`)."""
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
    is_number: bool = False
    """In a configuration file."""
    bare: str | None = None
    """What the option means where no value follows it; ``None`` where one must."""

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "TSCERT_" + self.key.upper()

    @property
    def key(self) -> str:
        """Its name in a configuration file."""
        return self.flag.strip("-").replace("-", "_")

    @property
    def is_in_file(self) -> bool:
        """Whether a configuration file may have it; one has tables for targets."""
        return self.field != "config_file" and not self.field.startswith(TARGET_PREFIX)


CONFIG = Option(
    field="config_file", flag="--config", metavar="PATH", parse=_parse_path,
    help="file with settings and targets",
)  # fmt: skip

OPTIONS = (
    Option(
        field="domains", flag="domains", metavar="DOMAIN", is_list=True, parse=_parse_domains,
        help="keep a certificate for this name, besides those of the serve config",
    ),
    CONFIG,
    Option(
        field="socket", flag="--socket", metavar="PATH", parse=_parse_path, also="TS_SOCKET",
        help="tailscaled's socket",
    ),
    Option(
        field="scope", flag="--scope", metavar="SCOPE", parse=_parse_scope,
        help="names of the serve config to keep certificates for: services (those of Tailscale "
        "Services only, as Tailscale's own manager does) or all (the node's own, too)",
    ),
    Option(
        field="serve_config", flag="--serve-config", metavar="PATH", parse=_parse_path,
        also="TS_SERVE_CONFIG", help="follow the serve config in this file instead of tailscaled's",
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
        field="refresh_interval", flag="--refresh-interval", metavar="DURATION", parse=_parse_interval,
        help="how long after a look at a certificate to look again, at most",
    ),
    Option(
        field="retry_initial", flag="--retry-initial", metavar="DURATION", parse=parse_duration,
        help="how long to wait after a first failure",
    ),
    Option(
        field="retry_factor", flag="--retry-factor", metavar="NUMBER", parse=_parse_factor,
        is_number=True,
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
        field="state", flag="--state", metavar="PATH", parse=_parse_path,
        help="folder for what a restart is to know, such as backoff and limits; :memory: for none",
    ),
    Option(
        field="ca_directory", flag="--ca-directory", metavar="URL", parse=_parse_url,
        help="directory of the CA, to ask it when to renew, where it is not Let's Encrypt; its root "
        "certificate goes into SSL_CERT_FILE",
    ),
    Option(
        field="no_ari", flag="--no-ari", parse=_parse_flag,
        help="do not ask the CA when to renew",
    ),
    Option(
        field="ca_limits", flag="--ca-limits", metavar="LIMITS", parse=_one_of("letsencrypt", "none"),
        help="limits of the CA to keep: letsencrypt, or none for a CA of your own",
    ),
    Option(
        field="target_files", flag="--files", metavar="DIR", parse=_parse_files,
        help="write each certificate and its key into this folder",
    ),
    Option(
        field="target_reload", flag="--reload", metavar="UNIT", parse=check_unit,
        help="reload this systemd unit after each new certificate",
    ),
    Option(
        field="target_hook", flag="--hook", metavar="COMMAND", parse=_parse_hook,
        help="run this command after each new certificate; quotes count, there is no shell",
    ),
    Option(
        field="target_probe", flag="--probe", metavar="HOST:PORT", parse=parse_probe, bare="true",
        help="see that the new certificate is served, at port 443 of the node's own Tailscale address "
        "or elsewhere",
    ),
    Option(
        field="status_socket", flag="--status-socket", metavar="PATH", parse=_parse_path,
        help='where to tell how it stands, to "tscert-trio status" for example; none for nowhere',
    ),
    Option(
        field="status_group", flag="--status-group", metavar="GROUP", parse=_parse_text,
        help="group that may ask there, besides root and the service's own user",
    ),
    Option(
        field="listen", flag="--listen", metavar="[HOST:]PORT", parse=_parse_listen,
        help="tell it over HTTP, too, read only: the page, JSON, metrics and health; without a host on "
        "127.0.0.1, such as 9410",
    ),
    Option(
        field="allowed_hosts", flag="--allowed-hosts", metavar="NAME", is_list=True, parse=_parse_list,
        help="name by which browsers reach that, besides localhost and addresses; * for any",
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
