"""What has happened, in words. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from ..words import span
from .markup import domain_path, linked, mark, stamp

if TYPE_CHECKING:
    from markupsafe import Markup

    from ..history import Event

__all__ = ["EventView", "event_view"]

_REQUESTS = {"issue": "First certificate", "renew": "Renewal", "look": "Look"}
_OUTCOMES = {
    "issued": "a new certificate",
    "found": "the certificate is there",
    "cancelled": "cancelled",
    "written": "written",
    "announced": "announced",
    "seen served": "seen served",
    "failed": "failed",
}


@attrs.frozen(kw_only=True)
class EventView:
    """One event, as it is shown."""

    key: str
    """What tells it from all others."""
    level: str
    mark: Markup
    at: Markup
    domain: str
    path: str | None
    """Of the page of the name; ``None``: it has none any more."""
    what: str
    outcome: str
    text: Markup | None
    took: str | None


def event_view(event: Event, *, is_kept: bool = True) -> EventView:
    """Return an event as it is shown.

    Args:
        event: the event.
        is_kept: whether its name still is, and has a page.
    """
    is_delivery = event.kind == "delivery"
    long_enough = event.seconds is not None and event.seconds >= 1
    return EventView(
        key=event.id,
        level=event.level.value,
        mark=mark(event.level),
        at=stamp(event.at),
        domain=event.domain,
        path=domain_path(event.domain) if is_kept else None,
        what=f"Delivery to {event.what}" if is_delivery else _REQUESTS.get(event.what, event.what),
        outcome=_OUTCOMES.get(event.outcome, event.outcome),
        text=linked(event.text) if event.text else None,
        took=span(timedelta(seconds=event.seconds or 0)) if long_enough else None,
    )
