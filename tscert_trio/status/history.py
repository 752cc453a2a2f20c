"""What has happened, from the journal: attempts and deliveries as one timeline, and past certificates."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- cattrs reads the annotations
from typing import TYPE_CHECKING

import attrs

from .making import serial_text
from .report import DomainReport, Level, Source

if TYPE_CHECKING:
    from ..journal import Attempt, DeliveryEvent, Journal
    from .report import StatusReport

__all__ = [
    "DomainDetail",
    "Event",
    "EventList",
    "PastCertificate",
    "domain_detail",
    "past_certificates",
    "recent_events",
]

_MOST = 1000
_OF_DOMAIN = 100
_MOST_DIGITS = 18
"""Of an id; SQLite's numbers have 18 at least."""
_LEVELS = {"issued": Level.GOOD, "found": Level.GOOD, "cancelled": Level.NOTICE}


@attrs.frozen(kw_only=True)
class Event:
    """Something that has happened."""

    id: str
    """Give it as ``after`` to get what came later."""
    at: datetime
    """When it ended."""
    domain: str
    """The name."""
    kind: str
    """``attempt`` or ``delivery``."""
    what: str
    """Of an attempt ``issue``, ``renew`` or ``look``; of a delivery the target."""
    outcome: str
    """``issued``, ``found``, ``cancelled`` or the class of the failure; ``written``, ``announced``, ``seen
    served`` or ``failed``."""
    level: Level
    """How well it went."""
    text: str | None
    """Why it failed."""
    seconds: float | None
    """How long an attempt took."""
    fingerprint: str | None
    """Of the certificate it is about."""


@attrs.frozen(kw_only=True)
class EventList:
    """The answer to ``/api/v1/events``."""

    version: int = 1
    """Of this format. New fields may come; none goes, or changes its meaning."""
    events: tuple[Event, ...]
    """The newest last."""


@attrs.frozen(kw_only=True)
class PastCertificate:
    """A certificate that a name has, or had."""

    fingerprint: str
    """SHA-256, in hexadecimal."""
    serial_number: str
    """In hexadecimal."""
    issuer: str
    """The issuer's name (RFC 4514)."""
    not_before: datetime
    """When it begins."""
    not_after: datetime
    """When it ends."""


@attrs.frozen(kw_only=True)
class DomainDetail:
    """The answer to ``/api/v1/domains/<name>``."""

    version: int = 1
    """Of this format. New fields may come; none goes, or changes its meaning."""
    program: str
    """The version of this package."""
    at: datetime
    """When it was made."""
    source: Source
    """Where it comes from."""
    domain: DomainReport
    """How it is."""
    certificates: tuple[PastCertificate, ...]
    """Of 400 days, the newest last."""
    events: tuple[Event, ...]
    """The newest last."""


def domain_detail(report: StatusReport, name: str, journal: Journal) -> DomainDetail:
    """Return how one name is, and its history.

    Args:
        report: how it is; others may be in it.
        name: which.
        journal: has the history.
    """
    return DomainDetail(
        program=report.program,
        at=report.at,
        source=report.source,
        domain=next(each for each in report.domains if each.name == name),
        certificates=past_certificates(journal, name),
        events=recent_events(journal, domain=name, limit=_OF_DOMAIN),
    )


def past_certificates(journal: Journal, domain: str) -> tuple[PastCertificate, ...]:
    """Return the certificates of a name, the newest last."""
    return tuple(
        PastCertificate(
            fingerprint=leaf.fingerprint,
            serial_number=serial_text(leaf),
            issuer=leaf.issuer,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
        )
        for leaf in journal.certificates(domain)
    )


def recent_events(
    journal: Journal, *, domain: str | None = None, after: str | None = None, limit: int = 100
) -> tuple[Event, ...]:
    """Return events in the order in which they came, the newest last.

    Args:
        journal: has them.
        domain: of one name only.
        after: the :attr:`Event.id` of one: return the first of those that came later, so that who asks again
            and again with the last that is known misses none; ``None``: the newest of all.
        limit: how many at most.

    Raises:
        ValueError: ``after`` is no id.
    """
    known = None if after is None else _number(after)
    return tuple(map(_event, journal.events(domain, after=known, limit=min(limit, _MOST))))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ValueError(f"{text!r} is no id of an event")
    return int(text)


def _event(found: Attempt | DeliveryEvent) -> Event:
    from ..journal import DeliveryEvent  # a client needs none of it

    return _step(found) if isinstance(found, DeliveryEvent) else _attempt(found)


def _attempt(attempt: Attempt) -> Event:
    assert attempt.ended_at is not None
    assert attempt.outcome is not None
    return Event(
        id=str(attempt.number),
        at=attempt.ended_at,
        domain=attempt.domain,
        kind="attempt",
        what=attempt.request,
        outcome=attempt.outcome,
        level=_LEVELS.get(attempt.outcome, Level.WARNING),
        text=attempt.text,
        seconds=(attempt.ended_at - attempt.started_at).total_seconds(),
        fingerprint=attempt.fingerprint,
    )


def _step(step: DeliveryEvent) -> Event:
    return Event(
        id=str(step.number),
        at=step.at,
        domain=step.domain,
        kind="delivery",
        what=step.target,
        outcome=step.outcome,
        level=Level.WARNING if step.outcome == "failed" else Level.GOOD,
        text=step.text,
        seconds=None,
        fingerprint=step.fingerprint,
    )
