"""How well a name or a delivery is, and in words. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ..delivery_record import DeliveryState
from ..errors import NotACertDomainError
from ..schedule import Mode
from ..statistics import DomainState
from .report import Level
from .words import NOT_ORDERED, in_time, moment, span

if TYPE_CHECKING:
    from datetime import datetime

    from ..errors import LocalAPIError
    from ..statistics import CertManagerStatistics, DeliveryStatistics, DomainStatistics
    from .report import CertificateReport, Trouble

__all__ = ["delivery_meaning", "judge", "judge_delivery", "why_not_asked", "why_not_well"]

_IN_HAND = {DomainState.REQUESTING: "being requested", DomainState.QUEUED: "requested when others are done"}
_FIRST = "it is asked for when others are done"
_UNASKED = {True: "it is about to be asked for", False: "nothing is tried while the service does not run"}
_UNDER_WAY = {DomainState.WAITING, DomainState.QUEUED, DomainState.REQUESTING, DomainState.LIMITED}
_AT_THE_START = {DomainState.WAITING, DomainState.QUEUED}
_RECALLED = "the CA wants the certificate REPLACED NOW, as it does before it revokes one"
_SOON = timedelta(days=2)
"""With less left, what is wrong is called harmless no more."""


def why_not_well(statistics: DomainStatistics, of_all: CertManagerStatistics) -> LocalAPIError | None:
    """Return why the last request for a name failed, or what it waits for; ``None`` where neither is.

    Args:
        statistics: of the name.
        of_all: of the manager, live.
    """
    error, names = statistics.last_error, of_all.cert_domains
    is_waiting = statistics.state is DomainState.WAITING
    if of_all.trouble is not None:
        return of_all.trouble if is_waiting else error
    if names is None or statistics.domain.removeprefix("*.") in names:
        return error  # a wait has only just begun, or ends just now
    if isinstance(error, NotACertDomainError):
        return error
    # Whatever failed before: the next attempt waits for this.
    return why_not_asked(of_all) or NotACertDomainError("it is not among this node's CertDomains")


def why_not_asked(of_all: CertManagerStatistics) -> LocalAPIError | None:
    """Return why tailscaled can be asked for no name at all just now; ``None`` where it can.

    Args:
        of_all: statistics of the manager, live.
    """
    if of_all.trouble is not None or of_all.cert_domains != frozenset() or not of_all.domains:
        return of_all.trouble
    return NotACertDomainError(
        "this node has no CertDomains: it is logged out (tailscale up), or HTTPS is switched off"
    )


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
    if certificate is None:
        return _judge_without(statistics, trouble, why, now)
    if now > certificate.not_after:
        ago, end = in_time(certificate.not_after, now), moment(certificate.not_after)
        then = _then(statistics, trouble, now, "a new one")
        return Level.BAD, f"the certificate ENDED {ago}, at {end}{why}; {then}"
    if now < certificate.not_before:
        begins = in_time(certificate.not_before, now)
        return Level.BAD, f"the certificate begins {begins}: is the clock of this machine right?"
    return _judge_valid(statistics, certificate, trouble, now)


def _judge_valid(
    statistics: DomainStatistics, certificate: CertificateReport, trouble: Trouble | None, now: datetime
) -> tuple[Level, str]:
    """Return how well a name is that has a valid certificate."""
    left = certificate.not_after - now
    until = f"valid until {moment(certificate.not_after)} ({span(left)})"
    if trouble is None and now < certificate.due_at and statistics.state not in _UNDER_WAY:
        return Level.GOOD, f"{until}, {_renewal(statistics, certificate, now)}"
    then = _then(statistics, trouble, now, "a new one")
    if trouble is not None:
        what = f"{_how_it_goes(statistics)} ({trouble.kind})"
        if left < _SOON:
            return Level.WARNING, f"{what}, and the certificate ENDS in {span(left)}; {then}"
        harm = f"and {_RECALLED}; it is" if certificate.is_recalled else "harmless so far:"
        return Level.WARNING, f"{what}, {harm} {until}; {then}"
    is_late = left < (certificate.not_after - certificate.not_before) / 20
    if statistics.limited_until is not None and statistics.limited_until >= certificate.not_after:
        return Level.WARNING, f"{until}; {then}, which is too late"
    if certificate.is_recalled:
        is_late |= statistics.state is DomainState.LIMITED
        what = f"{_RECALLED}; it is {until}"
    elif statistics.state in _UNDER_WAY:
        what = until
    else:
        what = f"{until}, renewal was due {in_time(certificate.due_at, now)}"
    is_asleep = statistics.state not in _UNDER_WAY and not statistics.is_running
    return Level.WARNING if is_late or is_asleep else Level.NOTICE, f"{what}; {then}"


def _how_it_goes(statistics: DomainStatistics) -> str:
    what = "renewal" if statistics.mode is Mode.KEEPER else "looking for a new one"
    if statistics.state is DomainState.WAITING:
        return f"{what} has to wait"
    return f"{what} {'fails' if statistics.last_error is not None else 'would fail'}"


def _renewal(statistics: DomainStatistics, certificate: CertificateReport, now: datetime) -> str:
    """Return when a valid certificate is renewed."""
    if not statistics.is_running:
        return f"not renewed while the service does not run; due {in_time(certificate.due_at, now)}"
    if statistics.mode is not Mode.KEEPER:
        return f"{NOT_ORDERED[statistics.mode.value]}; renewal due {in_time(certificate.due_at, now)}"
    return f"renewal due {in_time(certificate.due_at, now)}"


def _judge_without(
    statistics: DomainStatistics, trouble: Trouble | None, why: str, now: datetime
) -> tuple[Level, str]:
    """Return how well a name is that has no certificate."""
    then = _then(statistics, trouble, now, "one")
    if trouble is not None:
        return Level.BAD, f"no certificate{why}; {then}"
    never_comes = statistics.mode is Mode.GUEST and statistics.state not in _AT_THE_START
    is_bad = never_comes or not statistics.is_running or statistics.state is DomainState.LIMITED
    return Level.BAD if is_bad else Level.NOTICE, f"no certificate{'' if never_comes else ' yet'}; {then}"


def _then(statistics: DomainStatistics, trouble: Trouble | None, now: datetime, one: str) -> str:
    """Return what comes next.

    Args:
        statistics: of the name.
        trouble: why the last request failed, or what it waits for.
        now: the present time.
        one: what is wanted: ``one``, or ``a new one``.
    """
    at = statistics.limited_until or statistics.next_attempt_at
    if statistics.state is DomainState.WAITING:
        is_listed = trouble is not None and trouble.kind != NotACertDomainError.__name__
        return "it waits for tailscaled" if is_listed else "it waits to be among this node's CertDomains"
    if statistics.mode is not Mode.KEEPER:
        look = f"; looked for {in_time(at, now)}" if at is not None else ""
        return f"{NOT_ORDERED[statistics.mode.value]}{look}"
    if statistics.state in _IN_HAND:
        is_first = statistics.state is DomainState.QUEUED and not statistics.attempts
        return _FIRST if is_first else f"{one} is {_IN_HAND[statistics.state]}"
    if statistics.limit is not None and at is not None:
        return f"{one} waits for {statistics.limit} until {moment(at)}"
    if at is not None:
        return f"next attempt {in_time(at, now)}"
    return _UNASKED[statistics.is_running]


def judge_delivery(statistics: DeliveryStatistics, now: datetime) -> tuple[Level, str]:
    """Return how well a delivery is, and in words."""
    state = _STATES[statistics.state]
    if statistics.error is not None:
        until = statistics.good_until
        text = f"delivery fails: {statistics.error.rstrip('.')}; so far {state}"
        if until is None or until <= now or statistics.served in _NOTHING_GOOD:
            return Level.BAD, text
        return Level.WARNING, f"{text}; what was delivered before is good until {moment(until)}"
    if statistics.warnings:
        return Level.WARNING, f"{state}, but {statistics.warnings[0]}"
    return (Level.GOOD, state) if statistics.is_done else (Level.NOTICE, f"under way; so far {state}")


_NOTHING_GOOD = {"none", "other"}
"""What a probe saw that is not the certificate of before either: who connects has an error now."""
_STATES = {
    DeliveryState.PENDING: "nothing is done",
    DeliveryState.WRITTEN: "the certificate is written",
    DeliveryState.ANNOUNCED: "the certificate is announced",
    DeliveryState.SEEN_SERVED: "the certificate was seen served",
}


def delivery_meaning(statistics: DeliveryStatistics, newest: CertificateReport | None) -> str:
    """Return what it means that a delivery fails: what is done with which certificate, and what a probe saw.

    Args:
        statistics: of the delivery.
        newest: the newest certificate of the name.
    """
    state = statistics.state
    seen = _SEEN.get(statistics.served or "")
    if seen is not None and state in _TOLD:
        return seen
    if statistics.state is statistics.goal:
        return "The newest certificate was delivered; the look whether all is still as it should be failed."
    is_redone = newest is not None and statistics.good_until == newest.not_after
    if is_redone and state is DeliveryState.PENDING:
        return "The newest certificate was delivered; what was found changed since could not be put right."
    return _MEANINGS[state]


_TOLD = {DeliveryState.WRITTEN, DeliveryState.ANNOUNCED, DeliveryState.SEEN_SERVED}
"""Here what a probe saw is about this certificate."""
_SEEN = {
    "old": "What serves this name still serves the certificate before its newest.",
    "other": "What serves this name serves a certificate that does not come from this target.",
    "none": "No server was seen to serve this name. The newest certificate is in its place.",
}
_MEANINGS = {
    DeliveryState.PENDING: "What serves this name does not have its newest certificate.",
    DeliveryState.WRITTEN: "The newest certificate is written, and what serves this name was not told of it.",
    DeliveryState.ANNOUNCED: "The newest certificate is in its place, and whether it is served is not known.",
    DeliveryState.SEEN_SERVED: "The newest certificate was seen served, and a later step failed.",
}
