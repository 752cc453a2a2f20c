"""How everything stands, from the journal of a service that is dead, or does not answer.

The journal remembers names for 400 days. Shown are those that the service was told last to keep
certificates for, which it writes down; a journal from before that was written shows all it remembers. It
does not say which targets there are: a target is shown as long as it was worked on within two days of the
newest of all, since each is looked at once a day.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from ..delivery_record import DeliveryState
from ..journal import holder_of, open_for_reading
from ..resuming import clamp
from ..schedule import LETS_ENCRYPT, REFRESH_INTERVAL, DomainRecord, Ledger, next_step
from ..statistics import (
    CertManagerStatistics,
    DeliveryStatistics,
    DomainState,
    DomainStatistics,
    limit_statistics,
)
from .finding import find_name
from .history import EventList, domain_detail, recent_events
from .making import make_report
from .report import Level, Source, StatusReport

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from ..delivery_record import DeliveryRecord
    from ..journal import Journal
    from ..schedule import RetryPolicy
    from .history import DomainDetail

__all__ = ["journal_detail", "journal_events", "journal_report"]

_FORGOTTEN_AFTER = timedelta(days=2)


def journal_report(folder: Path, now: datetime, policy: RetryPolicy) -> StatusReport:
    """Return how everything stood when the journal was written last.

    Args:
        folder: the state folder.
        now: the present time.
        policy: how long the service waits after failures.

    Raises:
        StateError: there is no journal in it, or it cannot be read.
    """
    with _open(folder, now, policy) as (_journal, report):
        return report


def journal_detail(folder: Path, text: str, now: datetime, policy: RetryPolicy) -> DomainDetail:
    """Return how one name stood, and its history; else as :func:`journal_report`.

    Raises:
        StatusServiceError: ``text`` is none of the names, with the nearest.
    """
    with _open(folder, now, policy) as (journal, report):
        return domain_detail(report, find_name(text, report.names), journal)


def journal_events(folder: Path, domain: str | None, limit: int) -> EventList:
    """Return the newest events, the newest last.

    Args:
        folder: the state folder.
        domain: of one name only.
        limit: how many at most.

    Raises:
        StateError: there is no journal in it, or it cannot be read.
    """
    with open_for_reading(folder) as journal:
        return EventList(events=recent_events(journal, domain=domain, limit=limit))


@contextmanager
def _open(folder: Path, now: datetime, policy: RetryPolicy) -> Iterator[tuple[Journal, StatusReport]]:
    holder = holder_of(folder)
    with open_for_reading(folder) as journal:
        yield journal, _report(journal, holder, now, policy)


def _report(journal: Journal, holder: int | None, now: datetime, policy: RetryPolicy) -> StatusReport:
    memories, wanted = journal.load(), journal.wanted()
    ledger = Ledger(LETS_ENCRYPT, memories.account)
    clamp(memories.records, ledger, policy=policy, now=now)
    under_way = {attempt.domain for attempt in memories.interrupted} if holder is not None else set()
    records = [
        memories.records.get(name) or DomainRecord(domain=name, wanted_since=now)
        for name in sorted(memories.records.keys() if wanted is None else wanted)
    ]
    statistics = CertManagerStatistics(
        domains=tuple(
            _domain(
                record,
                now,
                ledger=ledger,
                policy=policy,
                is_under_way=record.domain in under_way,
                is_alive=holder is not None,
            )
            for record in records
        ),
        cert_domains=None,
        bus_connected=False,
        limits=tuple(limit_statistics(ledger, now)),
        deliveries=tuple(_deliveries(memories.deliveries, {record.domain for record in records})),
        is_told=wanted is not None or bool(records),
    )
    report = make_report(statistics, now, source=Source.JOURNAL, with_output=True)
    who = f" (process {holder})" if holder else ""
    head = "The service does not run. What it knew last"
    if holder is not None:
        head = f"The service runs{who}, but does not answer on its status socket. Its journal says"
    level = max(report.level, Level.WARNING, key=lambda level: level.rank)
    return attrs.evolve(report, level=level, summary=f"{head}: {report.summary}")


def _domain(
    record: DomainRecord,
    now: datetime,
    *,
    ledger: Ledger,
    policy: RetryPolicy,
    is_under_way: bool,
    is_alive: bool,
) -> DomainStatistics:
    is_well = record.error is None and record.has_valid_leaf(now)
    step = None
    if is_alive and not (is_well or is_under_way):
        record.looked_at = now  # when it was is not written down, and a look is what comes next least
        step = next_step(record, now, ledger=ledger, refresh_interval=REFRESH_INTERVAL)
    state = DomainState.ISSUED if is_well else DomainState.FAILED
    return DomainStatistics(
        domain=record.domain,
        state=DomainState.REQUESTING if is_under_way else state,
        leaf=record.leaf,
        window=record.window,
        attempts=0,
        failures=record.failures,
        last_error=record.error,
        last_attempt_at=record.ended_at,
        last_success_at=record.succeeded_at,
        next_attempt_at=step.at if step else None,
        limit=step.limit if step else None,
        limited_until=step.limited_until if step else None,
        order_at=record.order_at,
        attempts_full_at=record.attempts_full_at,
        certificates_full_at=record.certificates_full_at,
        limits=ledger.limits,
        is_running=is_alive,
        retry_policy=policy,
    )


def _deliveries(records: Iterable[DeliveryRecord], names: Collection[str]) -> Iterator[DeliveryStatistics]:
    present = [record for record in records if record.target and record.domain in names]  # alerts have none
    newest = max(map(_worked_on_at, present), default=None)
    for record in present:
        if newest is not None and newest - _worked_on_at(record) <= _FORGOTTEN_AFTER:
            yield DeliveryStatistics.of(record, _goal(record))


def _worked_on_at(record: DeliveryRecord) -> datetime:
    return max(filter(None, (record.since, record.checked_at, record.retry_at)))


def _goal(record: DeliveryRecord) -> DeliveryState:
    """Return what the target's last step seems to be: that which was seen to be reached."""
    is_reached = record.error is None and record.checked_at is not None and record.checked_at >= record.since
    return record.state if is_reached else DeliveryState.SEEN_SERVED
