"""What single settings of a target have to be; each check raises ValueError with what would be right."""

from __future__ import annotations

import re
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "check_account",
    "check_command",
    "check_directory",
    "check_host",
    "check_layout",
    "check_mode",
    "check_name",
    "check_not_empty",
    "check_pattern",
    "check_port",
    "check_positive",
    "check_signal",
    "check_unit",
]

DOMAIN = "{domain}"
"""Stands for the name in a path."""

_LAYOUTS = ("plain", "versioned")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]*\$?")
_PATTERN = re.compile(r"[a-z0-9_.*?\[\]!-]+")


def check_directory(text: str) -> str:
    """Return the path of a folder or file, in which only ``{domain}`` may be in braces.

    Raises:
        ValueError: it is no such path.
    """
    if not text or not text.isprintable():
        raise ValueError(f"{text!r} is no path" if text else "is empty")
    if others := set(re.findall(r"\{[^}]*\}?", text)) - {DOMAIN}:
        raise ValueError(f"{min(others)!r} has no meaning in a path; {DOMAIN} stands for the name")
    return text


def check_unit(text: str) -> str:
    """Return the name of a systemd unit.

    Raises:
        ValueError: it is none.
    """
    if not _UNIT.fullmatch(text):
        raise ValueError(f"{text!r} is no systemd unit; one looks like nginx.service")
    return text


def check_account(text: str) -> None:
    """Refuse what is no user or group."""
    if not _ACCOUNT.fullmatch(text):
        raise ValueError(f"{text!r} is no user or group; write its name, or its number in quotes")


def check_mode(mode: int) -> None:
    """Refuse what is no mode of a file."""
    if not 0 <= mode <= 0o777:
        raise ValueError(f"{mode:#o} is no mode of a file; write one up to 0777, such as 0640")


def check_layout(text: str) -> None:
    """Refuse what is no layout of files."""
    if text not in _LAYOUTS:
        raise ValueError(f"{text!r} is none of {', '.join(_LAYOUTS)}")


def check_command(command: tuple[str, ...]) -> None:
    """Refuse a command that names no program."""
    if not command or not command[0].strip():
        raise ValueError(
            'is empty; write the program and its arguments, such as ["systemctl", "reload", "x"]'
        )
    if any("\0" in argument for argument in command):
        raise ValueError("has a null character in it")


def check_positive(duration: timedelta) -> None:
    """Refuse a duration of nothing."""
    if duration <= timedelta(0):
        raise ValueError("is no time at all")


def check_port(port: int) -> None:
    """Refuse what is no port."""
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port; those are 1 to 65535")


def check_host(text: str) -> None:
    """Refuse what is neither a name nor an address."""
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]+", text):
        raise ValueError(f"{text!r} is no host; write a name or an address")


def check_signal(text: str) -> None:
    """Refuse what is no signal."""
    if f"SIG{text}" not in signal.Signals.__members__:
        raise ValueError(f"{text!r} is no signal; write its name, such as HUP or USR1")


def check_pattern(text: str) -> str:
    """Return a name or pattern, which is in lower case.

    Raises:
        ValueError: it is none.
    """
    if not _PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is no name or pattern; one looks like *.tail1234.ts.net")
    return text


def check_not_empty(values: Collection[object]) -> None:
    """Refuse no patterns at all."""
    if not values:
        raise ValueError('is empty; ["*"] is every name')


def check_name(text: str) -> None:
    """Refuse what cannot be shown as a name."""
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{text!r} is no name of a target; any one line of text is")
