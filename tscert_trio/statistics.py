"""Frozen snapshots of what the engine does. The engine fills them, everything else reads them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from .errors import RateLimit, RateLimitedError
from .schedule import LONG_AGO, NO_LIMITS, CALimits, Mode, RetryPolicy, due_time, runway

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from .certificate import Certificate
    from .delivery_record import DeliveryRecord, DeliveryState
    from .errors import LocalAPIError
    from .schedule import DueReason, Ledger, RenewalWindow

__all__ = [
    "REQUEST_SECONDS",
    "CertManagerStatistics",
    "DeliveryStatistics",
    "DomainState",
    "DomainStatistics",
    "LimitStatistics",
    "RequestStatistics",
    "SourceStatistics",
    "limit_statistics",
]


class DomainState(enum.Enum):
    """What the cert loop of a name does just now."""

    WAITING = "waiting"
    """Until the name is among the node's CertDomains."""
    QUEUED = "queued"
    """For a slot: tailscaled issues one certificate at a time before v1.102, here eight from then on."""
    REQUESTING = "requesting"
    """A request for a new certificate is with tailscaled."""
    ISSUED = "issued"
    """The certificate was seen, and is not due; sleeps until the next look."""
    FAILED = "failed"
    """The last request failed; sleeps until the next try."""
    LIMITED = "limited"
    """A new certificate is wanted, and has to wait for a limit of the CA."""


@attrs.frozen(kw_only=True)
class DomainStatistics:
    """How one name stands."""

    domain: str
    state: DomainState
    leaf: Certificate | None
    """The newest certificate seen, valid or not."""
    window: RenewalWindow | None = None
    """When the CA suggests to renew it."""
    attempts: int
    """Since the loop began: looks, and orders (a renewal is one, though it is three requests)."""
    failures: int
    """Counted failures in a row."""
    last_error: LocalAPIError | None
    """Why the last request failed; ``None`` after a success. It has the class, text, meaning and remedy."""
    last_attempt_at: datetime | None = None
    """When the last request ended."""
    last_success_at: datetime | None
    """When a certificate that is not due was seen last."""
    next_attempt_at: datetime | None
    """When the loop asks next; ``None`` while it waits, queues or asks, and where it never does."""
    mode: Mode = Mode.KEEPER
    """Whether certificates are ordered for it here."""
    limit: str | None = None
    """What a new certificate waits for, where that is a limit of the CA."""
    limited_until: datetime | None = None
    """Until when: its slot."""
    order_at: datetime | None = None
    """Until when failures keep it from ordering."""
    attempts_full_at: datetime = LONG_AGO
    """When nothing is spent any more of the limit on attempts for a name in an hour."""
    certificates_full_at: datetime = LONG_AGO
    """The same of its limit on certificates for the same name."""
    limits: CALimits = attrs.field(default=NO_LIMITS, repr=False)
    is_running: bool = True
    """Whether the service runs; ``False`` in what the journal of a dead one says."""
    retry_policy: RetryPolicy = attrs.field(factory=RetryPolicy, repr=False)

    @property
    def due_at(self) -> datetime | None:
        """When the certificate is due to be renewed; ``None`` without one."""
        return due_time(self.leaf, self.window)[0] if self.leaf is not None else None

    @property
    def due_reason(self) -> DueReason | None:
        """Why it is due then."""
        return due_time(self.leaf, self.window)[1] if self.leaf is not None else None

    def runway(self, now: datetime) -> int:
        """Return how many attempts the schedule still has before the certificate ends; 999 is enough.

        0 where the certificate has ended, where there is none, and where none is ordered here.

        Args:
            now: the present time.
        """
        return self.due_and_runway(now)[2]

    def attempts_left(self, now: datetime) -> int | None:
        """Return how many attempts the limit for a name in an hour lets through now; ``None``: any number."""
        if self._is_reached(RateLimit.VALIDATIONS, now):
            return 0
        return self.limits.attempts_per_name.left(self.attempts_full_at, now)

    def certificates_left(self, now: datetime) -> int | None:
        """Return how many new certificates its limit for the same name lets through; ``None``: any number."""
        if self._is_reached(RateLimit.CERTIFICATES_PER_NAME, now):
            return 0
        return self.limits.certificates_per_name.left(self.certificates_full_at, now)

    def _is_reached(self, limit: RateLimit, now: datetime) -> bool:
        """Return whether the CA has said so, whatever was counted here: it counts other machines, too."""
        error = self.last_error
        is_over = self.limited_until is None or self.limited_until <= now
        return isinstance(error, RateLimitedError) and error.limit is limit and not is_over

    def due_and_runway(self, now: datetime) -> tuple[datetime | None, DueReason | None, int]:
        """Return :attr:`due_at`, :attr:`due_reason` and :meth:`runway` at the price of one.

        Args:
            now: the present time.
        """
        if self.leaf is None:
            return None, None, 0
        due, reason = due_time(self.leaf, self.window)
        if self.mode is not Mode.KEEPER:
            return due, reason, 0
        at = max(filter(None, (now, due, self.order_at, self.limited_until, self.next_attempt_at)))
        return due, reason, runway(self.failures, at, self.leaf.not_after, self.retry_policy)


@attrs.frozen(kw_only=True)
class LimitStatistics:
    """How one limit of the CA stands, as far as this machine knows."""

    name: str
    """What it limits, in words."""
    scope: str
    """The tailnet, or ``this machine``."""
    used: int
    """How much of it this machine has spent, or the CA says is spent."""
    capacity: int
    is_exceeded: bool
    """Whether the CA has said so."""
    until: datetime | None = None
    """Where it is exceeded: when the next order may be made."""


@attrs.frozen(kw_only=True)
class DeliveryStatistics:
    """How one name stands with one target."""

    target: str
    domain: str
    state: DeliveryState
    """What is done."""
    goal: DeliveryState
    """The most that this target can tell: its last step."""
    is_done: bool
    """Whether that is done, and the last look said so."""
    fingerprint: str
    """Of the certificate that is delivered, or was."""
    since: datetime
    """When the state became what it is."""
    failures: int
    """Since the goal was reached last."""
    error: str | None
    """Why a step failed; ``None`` once the goal is reached."""
    output: str | None
    """The end of what the hook wrote last."""
    next_attempt_at: datetime | None
    """When a step that failed is tried again."""
    checked_at: datetime | None
    """When it was looked at last whether all is as it should be."""
    served: str | None
    """What the probe saw last: ``new``, ``old``, ``other`` or ``none``."""
    warnings: tuple[str, ...]
    """What a file system refused."""
    good_until: datetime | None
    """The end of the certificate with which the goal was reached last: until then it is harmless."""

    @classmethod
    def of(cls, record: DeliveryRecord, goal: DeliveryState) -> DeliveryStatistics:
        """Return a snapshot of a record."""
        return cls(
            target=record.target,
            domain=record.domain,
            state=record.state,
            goal=goal,
            is_done=record.is_done(goal),
            fingerprint=record.fingerprint,
            since=record.since,
            failures=record.failures,
            error=record.error,
            output=record.output,
            next_attempt_at=record.retry_at,
            checked_at=record.checked_at,
            served=record.served,
            warnings=record.warnings,
            good_until=record.good_until,
        )


@attrs.frozen(kw_only=True)
class RequestStatistics:
    """How long tailscaled took for requests of one kind, since the start of the process."""

    endpoint: str
    """Such as ``cert`` or ``status``."""
    count: int
    seconds: float
    """In all."""
    buckets: tuple[int, ...]
    """How many took at most so long, for each of :data:`REQUEST_SECONDS`."""


REQUEST_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Bounds of the buckets."""


@attrs.frozen(kw_only=True)
class SourceStatistics:
    """One place from which wanted names come."""

    name: str
    """Of the source, such as ``tailscaled's serve config``."""
    is_known: bool
    """Whether it could ever be read. Until then nothing is wanted from it."""
    trouble: str | None
    """Why it cannot be read just now; its last good names stay."""


@attrs.frozen(kw_only=True)
class CertManagerStatistics:
    """How all names stand, sorted by name."""

    domains: tuple[DomainStatistics, ...]
    cert_domains: frozenset[str] | None
    """The node's CertDomains; ``None`` while unknown."""
    bus_connected: bool
    """Whether the IPN bus is being watched just now."""
    limits: tuple[LimitStatistics, ...] = ()
    deliveries: tuple[DeliveryStatistics, ...] = ()
    """By target, in the order of the settings, and name."""
    trouble: LocalAPIError | None = None
    """Why tailscaled does not tell the CertDomains just now; ``None`` where it does."""
    is_told: bool = True
    """Whether it was told which names are wanted, if only that there are none."""
    sources: tuple[SourceStatistics, ...] = ()
    """Where the wanted names come from, as far as somebody has said so."""
    capability: int | None = None
    """``Tailscale-Cap`` of tailscaled, from its newest answer."""
    requests: tuple[RequestStatistics, ...] = ()
    """By endpoint."""
    outcomes: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    """How many requests ended how since the start: by request (:class:`Request`), and outcome or class."""

    @property
    def is_complete(self) -> bool:
        """Whether it is known which names are wanted, from every source."""
        return self.is_told and all(source.is_known for source in self.sources)

    def __getitem__(self, domain: str) -> DomainStatistics:
        """Return the statistics of one name.

        Raises:
            KeyError: the name has no cert loop.
        """
        for statistics in self.domains:
            if statistics.domain == domain:
                return statistics
        raise KeyError(domain)


def limit_statistics(ledger: Ledger, now: datetime) -> Iterator[LimitStatistics]:
    """Yield how the limits stand that names share; one that never runs out only while the CA says it has.

    Args:
        ledger: what was spent.
        now: the present time.
    """
    limits, account = ledger.limits, ledger.account
    is_held = account.hold_until is not None and account.hold_until > now
    if limits.orders.interval or is_held:
        yield LimitStatistics(
            name="orders in three hours",
            scope="this machine",
            used=limits.orders.used(account.orders_full_at, now),
            capacity=limits.orders.capacity,
            is_exceeded=is_held,
            until=account.hold_until,
        )
    names = limits.names_per_tailnet
    for tailnet, state in sorted(account.tailnets.items()):
        is_exceeded = state.is_exceeded and state.full_at > now
        if names.interval or is_exceeded:
            yield LimitStatistics(
                name="new names in a week",
                scope=tailnet,
                used=names.used(state.full_at, now),
                capacity=names.capacity,
                is_exceeded=is_exceeded,
                until=names.ready_at(state.full_at) if state.is_exceeded else None,
            )
