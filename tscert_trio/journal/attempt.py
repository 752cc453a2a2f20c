"""One request, and one step of a delivery, as the journal has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Attempt", "DeliveryEvent"]


@attrs.frozen(kw_only=True)
class Attempt:
    """One request that may have led to an order. Written before it is sent, finished afterwards."""

    number: int
    """While under way, that of its beginning; then another: see :class:`~.sqlite.Journal`."""
    domain: str
    request: str
    """``issue`` or ``renew``; ``look`` where a look failed, or found a certificate of tailscaled's own."""
    started_at: datetime
    ended_at: datetime | None = None
    """``None`` while under way."""
    outcome: str | None = None
    """``issued``, ``found``, ``cancelled``, or the class of the failure, such as ``ControlError``."""
    text: str | None = None
    """In tailscaled's words, where it failed."""
    fingerprint: str | None = None
    """Of the certificate that it brought."""


@attrs.frozen(kw_only=True)
class DeliveryEvent:
    """A step of a delivery that went well, or failed otherwise than before."""

    number: int = 0
    """As the journal counts; 0 until it is written."""
    at: datetime
    target: str
    domain: str
    outcome: str
    """The state that was reached, such as ``written``; or ``failed``."""
    text: str | None = None
    """Why it failed."""
    fingerprint: str | None = None
    """Of the certificate."""
