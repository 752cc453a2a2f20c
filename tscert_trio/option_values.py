"""What the values of options are written like. Each parser raises ValueError with what would be right."""

from __future__ import annotations

import math
import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .serve_config import Scope, check_domain, split_host_port
from .target_settings import FilesSettings, HookSettings, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "is_utf_8",
    "one_of",
    "parse_domains",
    "parse_duration",
    "parse_factor",
    "parse_files",
    "parse_flag",
    "parse_hook",
    "parse_interval",
    "parse_list",
    "parse_listen",
    "parse_path",
    "parse_probe",
    "parse_scope",
    "parse_text",
    "parse_url",
]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_SECONDS = 10 * 366 * 86400
_SHORTEST_INTERVAL = timedelta(minutes=1)
_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


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


def parse_interval(text: str) -> timedelta:
    """Parse a duration of a minute or more."""
    if (interval := parse_duration(text)) < _SHORTEST_INTERVAL:
        raise ValueError(f"{text!r} is too short; a minute is the least")
    return interval


def parse_factor(text: str) -> float:
    """Parse a number from 1 up."""
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 1 <= factor < math.inf:
        raise ValueError(f"{text!r} is no factor; write a number from 1 up, such as 2")
    return factor


def parse_flag(text: str) -> bool:
    """Parse what a switch may be set to."""
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def parse_list(text: str) -> tuple[str, ...]:
    """Parse items that commas or spaces separate."""
    items = tuple(text.replace(",", " ").split())
    if not items:
        raise ValueError("is empty")
    return items


def parse_domains(text: str) -> tuple[str, ...]:
    """Parse names for which certificates can be had."""
    return tuple(check_domain(name) for name in parse_list(text))


def parse_path(text: str) -> Path:
    """Parse a path, which is told in answers and to the journal, and both take UTF-8 only."""
    if not text:
        raise ValueError("is empty")
    if not is_utf_8(text):
        raise ValueError(f"{text!r} is no UTF-8; give another path, or rename the folder or file")
    return Path(text)


def is_utf_8(text: str) -> bool:
    """Return whether this can be encoded; what the system hands over as other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_text(text: str) -> str:
    """Parse a name of printable characters."""
    if not text or not text.isprintable():
        raise ValueError("is empty" if not text else f"{text!r} is no name")
    return text


def parse_url(text: str) -> str:
    """Parse an address of http or https."""
    if not text.startswith(("https://", "http://")) or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is no URL; write https://…")
    return text


def parse_files(text: str) -> FilesSettings:
    """Parse a folder for the files of each name."""
    return FilesSettings(directory=text)


def parse_hook(text: str) -> HookSettings:
    """Parse a command; quotes count, there is no shell."""
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
        return ProbeSettings() if parse_flag(text) else None
    try:
        host, port = split_host_port(text)
    except ValueError as exc:
        raise ValueError(f"{text!r}: {exc}; want host:port, or nothing for the node's own port 443") from None
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{text!r}: {port!r} is no port; want host:port")
    return ProbeSettings(host=host or None, port=int(port))


def parse_listen(text: str) -> str:
    """Parse ``port``, ``:port``, ``host:port`` or ``[IPv6]:port``; without a host this machine's alone."""
    try:
        host, port = split_host_port(text if ":" in text else f":{text}")
    except ValueError as exc:
        raise ValueError(f"{text!r}: {exc}; want 9410, host:port or [IPv6]:port") from None
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{text!r} has no port; want 9410, host:port or [IPv6]:port")
    host = host or "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def one_of(*choices: str) -> Callable[[str], str]:
    """Return what parses one of some words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


def parse_scope(text: str) -> Scope:
    """Parse whose names of a serve config count."""
    return Scope(one_of(*(scope.value for scope in Scope))(text))
