"""How everything is, as a line that Nagios and its kin understand. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from ..status.report import Level
from .terminal import clean

if TYPE_CHECKING:
    from datetime import timedelta

    from ..status.report import DomainReport, StatusReport

__all__ = ["CheckStatus", "check"]

_DAY = 86400
_MOST_NAMES = 20
"""So many names have performance data of their own: those that end first."""


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
    text = report.summary
    if short and report.level.rank < Level.BAD.rank:
        days, name = short[0]
        more = f" and {len(short) - 1} more" if len(short) > 1 else ""
        text = f"{name}{more}: {days:.1f} days left. {text}"
    data = " ".join(_performance(left, warn_days, crit_days, report))
    return status, f"{status.name} - {clean(text).replace('|', '/')} | {data}"


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
    names = [f"'{name}'={days:.2f};{ranges}" for days, name in known[:_MOST_NAMES]]
    counts = [f"{level}={number};;;0" for level, number in report.counts.items()]
    return [*counts, *names]
