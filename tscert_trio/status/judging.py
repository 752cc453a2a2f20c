"""How well a name or a delivery is, and in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..delivery_record import DeliveryState
from ..errors import NotACertDomainError
from ..statistics import DomainState
from .report import Level
from .words import in_time, moment, span

if TYPE_CHECKING:
    from datetime import datetime

    from ..errors import LocalAPIError
    from ..statistics import DeliveryStatistics, DomainStatistics
    from .report import CertificateReport, Trouble

__all__ = ["judge", "judge_delivery", "why_not_well"]

_UNDER_WAY = {DomainState.QUEUED, DomainState.REQUESTING, DomainState.LIMITED}


def why_not_well(statistics: DomainStatistics, tailscaled: LocalAPIError | None) -> LocalAPIError | None:
    """Return why the last request for a name failed, or what it waits for; ``None`` where neither is.

    Args:
        statistics: of the name.
        tailscaled: why tailscaled does not answer, where it does not.
    """
    if statistics.last_error is None and statistics.state is DomainState.WAITING:
        return tailscaled or NotACertDomainError("it is not among this node's CertDomains")
    return statistics.last_error


def judge(
    statistics: DomainStatistics,
    certificate: CertificateReport | None,
    trouble: Trouble | None,
    now: datetime,
) -> tuple[Level, str]:
    """Return how well a name is by itself, whatever its deliveries, and in words.

    Args:
        statistics: of the name.
        certificate: its newest.
        trouble: why the last request failed, or what it waits for.
        now: the present time.
    """
    why = f" ({trouble.kind})" if trouble is not None else ""
    then = _then(statistics, now)
    if certificate is None:
        return _judge_without(statistics, trouble, f"{why}; {then}")
    end = moment(certificate.not_after)
    if now > certificate.not_after:
        return (
            Level.BAD,
            f"the certificate ENDED {in_time(certificate.not_after, now)}, at {end}{why}; {then}",
        )
    if now < certificate.not_before:
        begins = in_time(certificate.not_before, now)
        return Level.WARNING, f"the certificate begins {begins}: is the clock of this machine right?"
    until = f"valid until {end} ({span(certificate.not_after - now)})"
    if trouble is not None:
        return Level.WARNING, f"renewal fails{why}, harmless so far: {until}; {then}"
    if statistics.state in _UNDER_WAY:
        return Level.NOTICE, f"{until}; {then}"
    return Level.GOOD, f"{until}, renewal due {in_time(certificate.due_at, now)}"


def _judge_without(statistics: DomainStatistics, trouble: Trouble | None, rest: str) -> tuple[Level, str]:
    """Return how well a name is that has no certificate."""
    if statistics.state is DomainState.WAITING:
        why = f" ({trouble.kind})" if trouble is not None else ""
        return Level.WARNING, f"no certificate: waits to become a CertDomain{why}"
    if trouble is not None:
        return Level.BAD, f"no certificate{rest}"
    is_limited = statistics.state is DomainState.LIMITED
    return Level.WARNING if is_limited else Level.NOTICE, f"no certificate yet{rest}"


def _then(statistics: DomainStatistics, now: datetime) -> str:
    """Return what comes next."""
    at = statistics.limited_until or statistics.next_attempt_at
    if statistics.state is DomainState.REQUESTING:
        return "a new one is being requested"
    if statistics.state is DomainState.QUEUED:
        return "a new one is requested when others are done"
    if statistics.limit is not None and at is not None:
        return f"a new one waits for {statistics.limit} until {moment(at)}"
    return f"next attempt {in_time(at, now)}" if at is not None else "it is about to be asked for"


def judge_delivery(statistics: DeliveryStatistics, now: datetime) -> tuple[Level, str]:
    """Return how well a delivery is, and in words."""
    is_pending = statistics.state is DeliveryState.PENDING
    state = "nothing is done yet" if is_pending else f"the certificate is {statistics.state.value}"
    if statistics.error is not None:
        until = statistics.good_until
        text = f"delivery fails: {statistics.error.rstrip('.')}; {state}"
        if until is None or until <= now:
            return Level.BAD, text
        return Level.WARNING, f"{text}; the one before is good until {moment(until)}"
    if statistics.warnings:
        return Level.WARNING, statistics.warnings[0]
    return (Level.GOOD if statistics.is_done else Level.NOTICE), state
