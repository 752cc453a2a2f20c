"""What this machine has spent of the CA's limits, and who has to wait for them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from ..errors import (
    LocalAPIError,
    ProtocolError,
    RateLimit,
    RateLimitedError,
    StaleCertificateError,
    StorageError,
)
from .budget import LONG_AGO, CALimits
from .renewal import last_twentieth
from .retry import hold_after

if TYPE_CHECKING:
    from .record import DomainRecord

__all__ = ["AccountState", "Ledger", "TailnetState", "tailnet_of"]

_BACKDATED = (timedelta(0), timedelta(hours=1))  # Let's Encrypt dates certificates back by an hour
_SLACK = timedelta(minutes=2)  # by which two clocks may differ, and what Let's Encrypt calls an hour
_TAILNET_HOLD = timedelta(hours=1)


@attrs.define
class TailnetState:
    """What is known of the limit on new names of one tailnet."""

    full_at: datetime = LONG_AGO
    is_exceeded: bool = False
    """Whether the CA has said so. Until then nobody waits, since other nodes spend, too, or do not."""


@attrs.define
class AccountState:
    """What is spent by all names together. The journal keeps it."""

    orders_full_at: datetime = LONG_AGO
    hold_until: datetime | None = None
    tailnets: dict[str, TailnetState] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Ledger:
    """Counts orders and certificates against the CA's limits, and says from when on an order may be made."""

    limits: CALimits
    account: AccountState = attrs.field(factory=AccountState)
    _queue: dict[str, dict[str, None]] = attrs.field(factory=dict, init=False)

    def ready_at(self, record: DomainRecord, now: datetime) -> tuple[datetime, str | None]:
        """Return from when on an order for a name may be made, and what it waits for until then.

        Args:
            record: of the name.
            now: the present time.
        """
        limits, account = self.limits, self.account
        has_valid = record.has_valid_leaf(now)
        certificates = limits.certificates_per_name
        certificate_at = certificates.ready_at(record.certificates_full_at)
        if record.leaf is not None and has_valid and not record.is_forced:
            # The last one is for the last twentieth, or for a person who insists.
            most_at = certificates.ready_at(record.certificates_full_at, reserve=1)
            certificate_at = max(certificate_at, min(most_at, last_twentieth(record.leaf)))
        waits = [
            (record.hold_until or LONG_AGO, "the CA's Retry-After"),
            (account.hold_until or LONG_AGO, "the CA's Retry-After for all names"),
            (
                limits.attempts_per_name.ready_at(record.attempts_full_at),
                "the limit on attempts for a name in an hour",
            ),
            (certificate_at, "the limit on certificates for the same name"),
            (limits.orders.ready_at(account.orders_full_at), "the limit on orders"),
        ]
        if record.leaf is None:  # one that has ended is a renewal, to the CA
            waits.append((self._slot(record.domain, now), "the limit on new names of the tailnet"))
        at, reason = max(waits, key=lambda wait: wait[0])
        return at, (reason if at > now else None)

    def take(self, record: DomainRecord, now: datetime) -> None:
        """Spend what an attempt may cost, before it is sent."""
        limits = self.limits
        record.attempts_full_at = limits.attempts_per_name.take(record.attempts_full_at, now)
        record.certificates_full_at = limits.certificates_per_name.take(record.certificates_full_at, now)
        self.account.orders_full_at = limits.orders.take(self.account.orders_full_at, now)

    def settle_success(
        self, record: DomainRecord, *, started_at: datetime, ended_at: datetime, is_first: bool
    ) -> bool:
        """Give back what an attempt did not cost, after an answer; return whether it was issued for it.

        Args:
            record: with the certificate that came.
            started_at: when the attempt was sent.
            ended_at: when its answer came.
            is_first: whether there was no certificate before.
        """
        tailnet = self._tailnet(record.domain)
        self.leave_queue(record.domain)
        assert record.leaf is not None
        was_issued = _was_issued(record.leaf.not_before, started_at, ended_at)
        if not was_issued:
            self._give_back(record, orders=True, certificates=True)
        elif is_first:
            tailnet.full_at = self.limits.names_per_tailnet.take(tailnet.full_at, ended_at)
        return was_issued

    def settle_failure(self, record: DomainRecord, error: LocalAPIError, now: datetime) -> None:
        """Give back what an attempt did not cost, after a failure, and heed what the CA says."""
        is_issued = isinstance(error, StorageError | StaleCertificateError)
        is_free = error.reached_ca is False and not isinstance(error, ProtocolError)  # a 200, as a rule
        self._give_back(record, orders=is_free, certificates=not is_issued)
        self.heed(record, error, now)

    def settle_cancelled(self, record: DomainRecord) -> None:
        """Give back what an attempt did not cost that was cut short: tailscaled then ends it unfinished."""
        self._give_back(record, orders=False, certificates=True)

    def heed(self, record: DomainRecord, error: LocalAPIError, now: datetime) -> None:
        """Let other names wait, too, where the CA has limited more than one."""
        if not isinstance(error, RateLimitedError):
            return
        hold = hold_after(error)
        if error.limit is RateLimit.CERTIFICATES_PER_TAILNET:
            bucket, tailnet = self.limits.names_per_tailnet, self._tailnet(record.domain)
            tailnet.is_exceeded = True
            tailnet.full_at = now + (hold or _TAILNET_HOLD) + bucket.interval * (bucket.capacity - 1)
        elif error.limit in {RateLimit.ORDERS, RateLimit.REGISTRATIONS} and hold is not None:
            self.account.hold_until = max(self.account.hold_until or LONG_AGO, now + hold)

    def spend_behind(self, record: DomainRecord, now: datetime, *, is_order: bool) -> None:
        """Count what tailscaled has spent by itself: a certificate, or an order that failed."""
        if is_order:
            record.attempts_full_at = self.limits.attempts_per_name.take(record.attempts_full_at, now)
            self.account.orders_full_at = self.limits.orders.take(self.account.orders_full_at, now)
        else:
            bucket = self.limits.certificates_per_name
            record.certificates_full_at = bucket.take(record.certificates_full_at, now)

    def leave_queue(self, domain: str) -> None:
        """Give up a name's place among those that wait for the tailnet's limit."""
        self._queue.get(tailnet_of(domain), {}).pop(domain, None)

    def shift(self, step: timedelta) -> None:
        """Move everything by which the wall clock was set back, so that no wait gets longer."""
        account = self.account
        account.orders_full_at += step
        if account.hold_until is not None:
            account.hold_until += step
        for tailnet in account.tailnets.values():
            tailnet.full_at += step

    def clamp(self, now: datetime) -> None:
        """Make sense of what was written down under another clock."""
        account, limits = self.account, self.limits
        account.orders_full_at = limits.orders.clamp(account.orders_full_at, now)
        if account.hold_until is not None:
            account.hold_until = min(account.hold_until, now + timedelta(days=7))
        for tailnet in account.tailnets.values():
            tailnet.full_at = min(tailnet.full_at, now + timedelta(days=14))

    def clamp_record(self, record: DomainRecord, now: datetime) -> None:
        """Do the same for the buckets of one name."""
        limits = self.limits
        record.attempts_full_at = limits.attempts_per_name.clamp(record.attempts_full_at, now)
        record.certificates_full_at = limits.certificates_per_name.clamp(record.certificates_full_at, now)

    def _give_back(self, record: DomainRecord, *, orders: bool, certificates: bool) -> None:
        limits = self.limits
        if orders:
            record.attempts_full_at = limits.attempts_per_name.give_back(record.attempts_full_at)
            self.account.orders_full_at = limits.orders.give_back(self.account.orders_full_at)
        if certificates:
            record.certificates_full_at = limits.certificates_per_name.give_back(record.certificates_full_at)

    def _slot(self, domain: str, now: datetime) -> datetime:
        """Return when a name without a certificate has its turn."""
        tailnet = self._tailnet(domain)
        if not tailnet.is_exceeded:
            return LONG_AGO
        if tailnet.full_at <= now:  # a whole week has gone by
            tailnet.is_exceeded = False
            return LONG_AGO
        bucket = self.limits.names_per_tailnet
        queue = self._queue.setdefault(tailnet_of(domain), {})
        queue.setdefault(domain)
        return bucket.ready_at(tailnet.full_at) + bucket.interval * list(queue).index(domain)

    def _tailnet(self, domain: str) -> TailnetState:
        return self.account.tailnets.setdefault(tailnet_of(domain), TailnetState())


def tailnet_of(domain: str) -> str:
    """Return the part of a name by which the CA counts: its registered domain.

    ``ts.net`` is a public suffix (https://publicsuffix.org), so of a tailnet's names that is the tailnet's.
    """
    labels = domain.split(".")
    return ".".join(labels[-3:] if labels[-2:] == ["ts", "net"] else labels[-2:])


def _was_issued(not_before: datetime, started_at: datetime, ended_at: datetime) -> bool:
    """Return whether a certificate was issued during an attempt, rather than found."""
    return any(started_at - _SLACK <= not_before + back <= ended_at + _SLACK for back in _BACKDATED)
