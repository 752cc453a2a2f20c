"""What a check has found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..status.cleaning import clean
from ..status.report import Level
from ..status.words import capital, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Finding", "Level", "bad", "good", "one_block_a_name", "warning"]

_NAME = "name "


def _one_line(text: str) -> str:
    return clean(" ".join(text.split()))


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    level: Level
    check: str = attrs.field(converter=_one_line)
    """What was looked at, in a word or two."""
    text: str = attrs.field(converter=_one_line)
    """What was found, on one line; nothing in it moves a terminal's cursor, whoever said it."""
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


def one_block_a_name(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, those of one wanted name made one: the worst level, all texts, all remedies."""
    blocks: dict[object, Finding] = {}
    for number, each in enumerate(findings):
        key = each.check if each.check.startswith(_NAME) else number
        blocks[key] = each if key not in blocks else _both(blocks[key], each)
    return list(blocks.values())


def _both(first: Finding, second: Finding) -> Finding:
    text = f"{sentence(first.text)} {capital(second.text)}"
    level = max(first.level, second.level, key=lambda level: level.rank)
    return Finding(level, first.check, text, _both_remedies(first.remedy, second.remedy))


def _both_remedies(first: str | None, second: str | None) -> str | None:
    if first is None or second is None:
        return first or second
    more = second.rstrip(".")
    if more.lower() in first.lower():
        return first
    inner = more[:1].lower() + more[1:] if more[1:2].islower() else more  # not of TS_SOCKET=…
    return f"{first.rstrip('.')}; and {inner}"
