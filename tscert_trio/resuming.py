"""What a start makes of what the journal remembers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .errors import IssuanceError
from .schedule import DomainRecord

if TYPE_CHECKING:
    from random import Random

    from .delivery_record import DeliveryRecord
    from .journal import Journal
    from .schedule import Ledger, RetryPolicy

__all__ = ["clamp", "resume"]

_WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock that shows less is wrong: a machine without a battery has not asked for the time yet."""


def clamp(records: dict[str, DomainRecord], ledger: Ledger, *, policy: RetryPolicy, now: datetime) -> None:
    """Bring back what lies further ahead than it can, since it was written under another clock.

    Args:
        records: of all names.
        ledger: with the account.
        policy: the schedule.
        now: the present time; where it is certainly wrong, nothing is changed.
    """
    if now < _WRITTEN:
        return
    ledger.clamp(now)
    for record in records.values():
        record.clamp(now, policy)
        ledger.clamp_record(record, now)


def resume(
    journal: Journal, ledger: Ledger, *, policy: RetryPolicy, rng: Random, now: datetime
) -> tuple[dict[str, DomainRecord], dict[str, dict[str, DeliveryRecord]]]:
    """Return the records of all names, and by target those of deliveries; give the ledger its account.

    An attempt that was under way counts as failed, and as spent. What lies further ahead than it can was
    written under another clock, and is brought back.

    Args:
        journal: what is remembered.
        ledger: gets the account.
        policy: the schedule.
        rng: the source of jitter.
        now: the present time.
    """
    memories = journal.load()
    ledger.account, records = memories.account, memories.records
    clamp(records, ledger, policy=policy, now=now)
    for attempt in memories.interrupted:
        error = IssuanceError("the service was killed during this request; nobody knows how it ended")
        record = records.setdefault(
            attempt.domain, DomainRecord(domain=attempt.domain, wanted_since=attempt.started_at)
        )
        at = min(attempt.started_at, now)
        ledger.take(record, at)
        record.failed(error, at, policy=policy, rng=rng, is_order=True)
        ledger.settle_failure(record, error, now)
        journal.end(attempt.number, now, type(error).__name__, str(error), record, ledger.account)
    deliveries: dict[str, dict[str, DeliveryRecord]] = {}
    for delivery in memories.deliveries:
        if now >= _WRITTEN:
            delivery.clamp(now)
        deliveries.setdefault(delivery.target, {})[delivery.domain] = delivery
    return records, deliveries
