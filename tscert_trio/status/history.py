"""What has happened, from the journal: attempts and deliveries as one timeline, and past certificates."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- cattrs reads the annotations
from typing import TYPE_CHECKING

import attrs

from .making import serial_text
from .report import DomainReport, Level, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..journal import Attempt, DeliveryEvent, Journal

__all__ = ["DomainDetail", "Event", "EventList", "PastCertificate", "past_certificates", "recent_events"]

_MOST = 1000
_AT_ONCE = 300
"""So many attempts may begin, and end, while another goes on."""
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
    """Return the newest events, the newest last.

    Args:
        journal: has them.
        domain: of one name only.
        after: the :attr:`Event.id` of the last one that is known; those that came later are returned.
        limit: how many at most.

    Raises:
        ValueError: ``after`` is no id.
    """
    limit = min(limit, _MOST)
    known = _parse(after) if after is not None else None
    found = [  # attempts are numbered when they begin
        *_attempts(journal.attempts(domain, limit=limit + _AT_ONCE)),
        *_deliveries(journal.delivery_events(domain, limit=limit)),
    ]
    keys = {event.id: _parse(event.id) for event in found}
    found = [event for event in found if known is None or keys[event.id] > known]
    found.sort(key=lambda event: keys[event.id])
    return tuple(found[-limit:])


def _id(at: datetime, kind: str, number: int) -> str:
    return f"{round(at.timestamp() * 1e6)}-{kind[0]}-{number}"


def _parse(text: str) -> tuple[int, str, int]:
    at, kind, number = text.split("-")
    if kind not in {"a", "d"}:
        raise ValueError(f"{text!r} is no id of an event")
    return int(at), kind, int(number)


def _attempts(attempts: tuple[Attempt, ...]) -> Iterator[Event]:
    for attempt in attempts:
        if attempt.ended_at is None or attempt.outcome is None:
            continue  # under way
        yield Event(
            id=_id(attempt.ended_at, "attempt", attempt.number),
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


def _deliveries(steps: tuple[DeliveryEvent, ...]) -> Iterator[Event]:
    for step in steps:
        yield Event(
            id=_id(step.at, "delivery", step.number),
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
