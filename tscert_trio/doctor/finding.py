"""What a check has found."""

from __future__ import annotations

import enum

import attrs

__all__ = ["Finding", "Level", "bad", "good", "warning"]


class Level(enum.Enum):
    """How bad it is."""

    GOOD = "good"
    WARNING = "warning"
    """Certificates can be had, or perhaps; something is not as it should be."""
    BAD = "bad"
    """Something that was asked for cannot be had."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    level: Level
    check: str
    """What was looked at, in a word or two."""
    text: str = attrs.field(converter=_one_line)
    """What was found, on one line."""
    remedy: str | None = attrs.field(default=None, converter=attrs.converters.optional(_one_line))
    """What to do; a command where there is one."""


def good(check: str, text: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(Level.GOOD, check, text)


def warning(check: str, text: str, remedy: str | None = None) -> Finding:
    """Return a finding that somebody should know of."""
    return Finding(Level.WARNING, check, text, remedy)


def bad(check: str, text: str, remedy: str | None = None) -> Finding:
    """Return a finding that somebody has to do something about."""
    return Finding(Level.BAD, check, text, remedy)
