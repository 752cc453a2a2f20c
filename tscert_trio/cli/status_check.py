"""How everything is, as a line that Nagios and its kin understand. Pure."""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from ..status.report import Level
from ..status.words import span
from .telling import as_sentences
from .terminal import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..status.report import StatusReport

__all__ = ["WARN", "CheckStatus", "check"]

WARN, _CRIT = timedelta(days=14), timedelta(days=3)
"""So much is to be left by default, of a certificate that lives long."""
_WARN_PART, _CRIT_PART = 4, 10
"""Of one that lives a few days, such a part of its life."""
_MOST_NAMES = 20
"""So many names have performance data of their own: those that end first."""
_MOST_TOLD = 3
"""So many of those that end soon are named."""


class CheckStatus(enum.IntEnum):
    """The exit status of a check."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_SEVERITY = (CheckStatus.OK, CheckStatus.UNKNOWN, CheckStatus.WARNING, CheckStatus.CRITICAL)
_OF_LEVEL = {
    Level.GOOD: CheckStatus.OK,
    Level.NOTICE: CheckStatus.OK,
    Level.WARNING: CheckStatus.WARNING,
    Level.BAD: CheckStatus.CRITICAL,
}


@attrs.frozen
class _Left:
    """How much is left of a certificate, and how much is too little; in days."""

    days: float
    name: str
    warn: float
    crit: float


def check(
    report: StatusReport, *, warn: timedelta | None = None, crit: timedelta | None = None
) -> tuple[CheckStatus, str]:
    """Return the exit status, and the line.

    Args:
        report: how everything is.
        warn: a certificate with less left is a warning; by default 14 days, or a quarter of its life where
            that is less.
        crit: one with less left is critical; by default 3 days, or a tenth of its life where that is less,
            and never more than ``warn``.
    """
    left = sorted(_all_left(report, warn, crit), key=lambda each: (each.days, each.name))
    statuses = {CheckStatus.OK, _OF_LEVEL[report.level]}
    if not report.is_told:
        statuses.add(CheckStatus.UNKNOWN)
    if not all(each.is_ready for each in report.domains):
        statuses.add(CheckStatus.WARNING)  # at least: however well it is under way
    short = [each for each in left if each.days < each.warn]
    statuses |= {CheckStatus.CRITICAL if each.days < each.crit else CheckStatus.WARNING for each in short}
    status = max(statuses, key=_SEVERITY.index)
    text = _text(report, [each.name for each in short if each.days > 0])
    data = " ".join(_performance(left, report))
    return status, f"{status.name} - {clean(text).replace('|', '/')} | {data}"


def _text(report: StatusReport, short: list[str]) -> str:
    """Return what is wrong: names with too little left, and whatever else is; the worse of it first.

    Args:
        report: how everything is.
        short: the names with too little left that have not ended, the first to end first.
    """
    if not short:
        return report.summary
    ends = {each.name: each.certificate.not_after for each in report.domains if each.certificate is not None}
    left = ", ".join(f"{name}: {span(ends[name] - report.at)} left" for name in short[:_MOST_TOLD])
    more = f", and {len(short) - _MOST_TOLD} more" if len(short) > _MOST_TOLD else ""
    parts = [f"{left}{more}."]
    if report.level.rank >= Level.WARNING.rank:  # else it says that all is well
        parts.append(report.summary)
    return as_sentences(*(reversed(parts) if report.level is Level.BAD else parts))


def _all_left(report: StatusReport, warn: timedelta | None, crit: timedelta | None) -> Iterator[_Left]:
    for each in report.domains:
        if (found := each.certificate) is not None:
            life = found.not_after - found.not_before
            low = crit or min(_CRIT, life / _CRIT_PART, warn or WARN)
            high = warn or max(low, min(WARN, life / _WARN_PART))
            day = timedelta(days=1)
            yield _Left((found.not_after - report.at) / day, each.name, high / day, low / day)


def _performance(left: list[_Left], report: StatusReport) -> list[str]:
    """Return performance data: how many names are what, and days that are left with the good ranges.

    https://nagios-plugins.org/doc/guidelines.html: days are no unit there, so they have none.
    """
    names = [f"'{each.name}'={_rounded_down(each.days)};{each.warn:g}:;{each.crit:g}:" for each in left]
    counts = [f"{level}={number};;;0" for level, number in report.counts.items()]
    return [*counts, *names[:_MOST_NAMES]]


def _rounded_down(days: float) -> str:
    """Return days as the words have them, which are rounded down, so that both say the same."""
    return f"{math.floor(days * 100) / 100:.2f}"
