"""How everything is, as a line that Nagios and its kin understand. Pure."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

from ..status.report import Level
from ..status.words import span
from .telling import as_sentences
from .terminal import clean

if TYPE_CHECKING:
    from datetime import timedelta

    from ..status.report import DomainReport, StatusReport

__all__ = ["CheckStatus", "check"]

_DAY = 86400
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


def check(report: StatusReport, *, warn: timedelta, crit: timedelta) -> tuple[CheckStatus, str]:
    """Return the exit status, and the line.

    Args:
        report: how everything is.
        warn: a certificate with less left is a warning.
        crit: one with less left is critical.
    """
    warn_days, crit_days = (limit.total_seconds() / _DAY for limit in (warn, crit))
    left = {each.name: _days_left(each, report) for each in report.domains}
    statuses = {CheckStatus.OK, _OF_LEVEL[report.level]}
    if not report.is_told:
        statuses.add(CheckStatus.UNKNOWN)
    short = sorted((days, name) for name, days in left.items() if days is not None and days < warn_days)
    if short:
        statuses.add(CheckStatus.CRITICAL if short[0][0] < crit_days else CheckStatus.WARNING)
    status = max(statuses, key=_SEVERITY.index)
    text = _text(report, [name for days, name in short if days > 0])
    data = " ".join(_performance(left, warn_days, crit_days, report))
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


def _days_left(domain: DomainReport, report: StatusReport) -> float | None:
    if domain.certificate is None:
        return None
    return (domain.certificate.not_after - report.at).total_seconds() / _DAY


def _performance(
    left: dict[str, float | None], warn_days: float, crit_days: float, report: StatusReport
) -> list[str]:
    """Return performance data: how many names are what, and days that are left with the good ranges.

    https://nagios-plugins.org/doc/guidelines.html: days are no unit there, so they have none.
    """
    ranges = f"{warn_days:g}:;{crit_days:g}:"
    known = sorted((days, name) for name, days in left.items() if days is not None)
    # Rounded down, as days are in words, so that both say the same.
    names = [f"'{name}'={math.floor(days * 100) / 100:.2f};{ranges}" for days, name in known[:_MOST_NAMES]]
    counts = [f"{level}={number};;;0" for level, number in report.counts.items()]
    return [*counts, *names]
