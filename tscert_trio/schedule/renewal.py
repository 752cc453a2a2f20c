"""When a certificate is due. Pure functions of its leaf and of what the CA suggests."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from ..certificate import Certificate

__all__ = [
    "REFRESH_INTERVAL",
    "DueReason",
    "RenewalWindow",
    "due_time",
    "is_recalled",
    "look_interval",
    "share_of",
]

REFRESH_INTERVAL = timedelta(hours=24)
"""How long after a success a certificate is looked at again (``normalInterval`` of ``kube/certs``)."""

_SHORT_LIFE = timedelta(days=10)
_SHORTEST_LOOK_INTERVAL = timedelta(minutes=10)


class DueReason(enum.Enum):
    """Why a certificate is due when it is."""

    CA_WINDOW = "the CA's renewal window"
    """A random point in the window that the CA suggests (RFC 9773)."""
    TWO_THIRDS = "two thirds of its life"
    HALF = "half of its life"
    """Of a life under ten days, as Let's Encrypt advises for those of 160 hours."""
    LAST_TWENTIETH = "the last twentieth of its life"
    """Whatever the CA suggests."""


@attrs.frozen(kw_only=True)
class RenewalWindow:
    """When the CA would like a certificate to be renewed (``suggestedWindow`` of RFC 9773)."""

    start: datetime
    end: datetime
    explanation_url: str | None = None


def share_of(fingerprint: str) -> float:
    """Return a number from 0 up to 1, evenly spread over all certificates, and always the same for one.

    So a random point need not be remembered to be chosen once only, and a restart without a journal
    comes to the same one.
    """
    return int(fingerprint[:12], 16) / float(1 << 48)


@lru_cache(maxsize=8192)  # a scrape asks it of thousands, and each has the answer of the scrape before
def due_time(leaf: Certificate, window: RenewalWindow | None) -> tuple[datetime, DueReason]:
    """Return when a certificate is due, and why then (``docs/design.rst``, rule 10).

    Certificates that were issued together are spread over a hundredth of their life, but never past half
    of what is left of it.

    Args:
        leaf: the certificate.
        window: what its CA suggests, if that is known.
    """
    share = share_of(leaf.fingerprint)
    if window is not None:
        due, reason = window.start + (window.end - window.start) * share, DueReason.CA_WINDOW
    else:
        is_short = leaf.lifetime < _SHORT_LIFE
        start = leaf.not_before + leaf.lifetime * (1 / 2 if is_short else 2 / 3)
        spread = min(leaf.lifetime / 100, (leaf.not_after - start) / 2)
        due, reason = start + spread * share, DueReason.HALF if is_short else DueReason.TWO_THIRDS
    last = last_twentieth(leaf)
    return (last, DueReason.LAST_TWENTIETH) if last < due else (due, reason)


def is_recalled(leaf: Certificate, window: RenewalWindow | None, now: datetime) -> bool:
    """Return whether the CA wants a certificate replaced now, well before its time.

    So it says that it will revoke it, perhaps within a day (RFC 9773, section 1; Let's Encrypt, "An
    Engineer's Guide to Integrating ARI"). Its usual windows lie around the time at which a certificate is due
    without one; one that ended more than a twentieth of the life before that is none of these.

    Args:
        leaf: the certificate.
        window: what its CA suggests, if that is known.
        now: the present time.
    """
    if window is None or window.end > now:
        return False
    return window.end < due_time(leaf, None)[0] - leaf.lifetime / 20


def last_twentieth(leaf: Certificate) -> datetime:
    """Return when the last twentieth of a certificate's life begins."""
    return leaf.not_after - leaf.lifetime / 20


def look_interval(leaf: Certificate, refresh_interval: timedelta) -> timedelta:
    """Return how long after a look at a certificate it is looked at again.

    Args:
        leaf: the certificate; a short life shortens the interval.
        refresh_interval: at most.
    """
    return min(refresh_interval, max(leaf.lifetime / 50, _SHORTEST_LOOK_INTERVAL))
