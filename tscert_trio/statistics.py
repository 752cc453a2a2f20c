"""Frozen snapshots of what the engine does. The engine fills them, everything else reads them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from datetime import datetime

    from .certificate import Certificate
    from .errors import LocalAPIError

__all__ = ["CertManagerStatistics", "DomainState", "DomainStatistics"]


class DomainState(enum.Enum):
    """What the cert loop of a name does just now."""

    WAITING = "waiting"
    """Until the name is among the node's CertDomains."""
    QUEUED = "queued"
    """For a slot: tailscaled issues one certificate at a time before v1.102, here eight from then on."""
    REQUESTING = "requesting"
    """A request is with tailscaled."""
    ISSUED = "issued"
    """The last request brought a certificate; sleeps until the next look."""
    FAILED = "failed"
    """The last request failed; sleeps until the next try."""


@attrs.frozen(kw_only=True)
class DomainStatistics:
    """How one name stands."""

    domain: str
    state: DomainState
    leaf: Certificate | None
    """The newest certificate seen, valid or not."""
    attempts: int
    """Requests sent since the loop began."""
    failures: int
    """Counted failures in a row."""
    last_error: LocalAPIError | None
    """Why the last request failed; ``None`` after a success."""
    last_success_at: datetime | None
    next_attempt_at: datetime | None
    """When the loop asks next; ``None`` while it waits, queues or asks."""


@attrs.frozen(kw_only=True)
class CertManagerStatistics:
    """How all names stand, sorted by name."""

    domains: tuple[DomainStatistics, ...]
    cert_domains: frozenset[str] | None
    """The node's CertDomains; ``None`` while unknown."""
    bus_connected: bool
    """Whether the IPN bus is being watched just now."""

    def __getitem__(self, domain: str) -> DomainStatistics:
        """Return the statistics of one name.

        Raises:
            KeyError: the name has no cert loop.
        """
        for statistics in self.domains:
            if statistics.domain == domain:
                return statistics
        raise KeyError(domain)
