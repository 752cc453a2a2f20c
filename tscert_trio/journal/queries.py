"""What is asked of the journal's tables. Functions over a database; whoever calls them minds its errors.

What is for people to see is read row by row: one that makes no sense is left out, instead of all.
"""

from __future__ import annotations

import heapq
import logging
import sqlite3
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from . import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from ..certificate import Certificate
    from ..delivery_record import DeliveryRecord
    from ..schedule import AccountState, DomainRecord
    from .attempt import Attempt, DeliveryEvent

__all__ = [
    "NONSENSE",
    "Memories",
    "attempts",
    "certificates",
    "events",
    "is_remembered",
    "memories",
    "newest_number",
    "wanted",
]

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)

_ODD_VALUES = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
NONSENSE = (sqlite3.Error, *_ODD_VALUES)
"""What comes of rows that hold something else than was written."""
_HIGHEST = 1 << 62
"""No number that was given is above it."""


@attrs.frozen
class Memories:
    """What a journal remembers at the start."""

    records: dict[str, DomainRecord]
    account: AccountState
    deliveries: tuple[DeliveryRecord, ...]
    interrupted: tuple[Attempt, ...]
    """Attempts that were under way when the service was killed."""


def memories(db: sqlite3.Connection) -> tuple[Memories, set[str]]:
    """Return what is remembered, and the fingerprints of the certificates in it."""
    leaves = {row[0]: rows.to_certificate(row) for row in db.execute(rows.NEWEST_CERTIFICATES)}
    records = (rows.to_record(row, leaves) for row in db.execute(rows.ALL_DOMAINS))
    interrupted = db.execute("SELECT * FROM attempts WHERE ended_at IS NULL ORDER BY number").fetchall()
    found = Memories(
        records={record.domain: record for record in records},
        account=rows.to_account(db.execute(rows.ALL_LIMITS).fetchall()),
        deliveries=tuple(map(rows.to_delivery, db.execute(rows.ALL_DELIVERIES))),
        interrupted=tuple(map(rows.to_attempt, interrupted)),
    )
    return found, {leaf.fingerprint for leaf in leaves.values()}


def newest_number(db: sqlite3.Connection) -> int:
    """Return the highest number that an attempt or a step of a delivery has; 0 where there is none."""
    return int(db.execute(rows.NEWEST_NUMBER, {"highest": _HIGHEST}).fetchone()[0])


def wanted(db: sqlite3.Connection) -> frozenset[str] | None:
    """Return which names are wanted, as far as is written down; ``None`` where nothing is."""
    found = {row[0] for row in db.execute(rows.ALL_WANTED)}
    return frozenset(found - {rows.TOLD}) if found else None


def is_remembered(db: sqlite3.Connection, domain: str) -> bool:
    """Return whether it is known how a name stands; quick: without that nothing has happened to it."""
    return db.execute("SELECT 1 FROM domains WHERE domain = ?", (domain,)).fetchone() is not None


def attempts(db: sqlite3.Connection, domain: str | None, limit: int) -> tuple[Attempt, ...]:
    """Return the newest attempts, those under way too, the newest last."""
    with _lenient(db), closing(_numbered(db, rows.ALL_ATTEMPTS, rows.to_attempt, domain)) as found:
        return tuple(islice(found, limit))[::-1]


def events(
    db: sqlite3.Connection, domain: str | None, after: int | None, limit: int
) -> tuple[Attempt | DeliveryEvent, ...]:
    """Return attempts that have ended and steps of deliveries, by number, the newest last.

    Args:
        db: has them.
        domain: of one name only.
        after: a number: return the first of those above it; ``None``: the newest of all.
        limit: how many at most.
    """
    if domain is not None and not is_remembered(db, domain):
        return ()  # else both tables would be read to their ends
    with (
        _lenient(db),
        closing(_numbered(db, rows.ENDED_ATTEMPTS, rows.to_attempt, domain, after)) as ended,
        closing(_numbered(db, rows.DELIVERY_EVENTS, rows.to_delivery_event, domain, after)) as steps,
    ):
        merged: Iterator[Attempt | DeliveryEvent]
        merged = heapq.merge(ended, steps, key=lambda each: each.number, reverse=after is None)
        found = tuple(islice(merged, limit))
    return found[::-1] if after is None else found


def certificates(db: sqlite3.Connection, domain: str) -> tuple[Certificate, ...]:
    """Return the certificates that a name has had, the newest last."""
    with _lenient(db):
        return tuple(_read(db, rows.CERTIFICATES_OF, {"domain": domain}, rows.to_certificate))


def _numbered(
    db: sqlite3.Connection,
    sql: str,
    convert: Callable[[tuple[Any, ...]], _T],
    domain: str | None,
    after: int | None = None,
) -> Generator[_T]:
    """Yield rows by number: without ``after`` the newest first."""
    if domain is not None:
        sql += " AND domain = :domain"
    sql += " ORDER BY number DESC" if after is None else " AND number > :after ORDER BY number"
    return _read(db, sql, {"domain": domain, "after": after}, convert)


def _read(
    db: sqlite3.Connection, sql: str, values: Mapping[str, Any], convert: Callable[[tuple[Any, ...]], _T]
) -> Generator[_T]:
    with closing(db.execute(sql, values)) as cursor:
        for row in cursor:
            try:
                found = convert(row)
            except _ODD_VALUES as exc:
                _logger.debug("a row of the journal makes no sense (%s): %r", exc, row)
            else:
                yield found


@contextmanager
def _lenient(db: sqlite3.Connection) -> Iterator[None]:
    """Read what is no UTF-8, too: SQLite's module raises at such a row, and cannot go on after it."""
    before, db.text_factory = db.text_factory, _decode
    try:
        yield
    finally:
        db.text_factory = before


def _decode(text: bytes) -> str:
    return text.decode(errors="replace")
