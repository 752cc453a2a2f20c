"""The journal, in SQLite.

It is written where things happen, not in a thread: a commit takes 0.02 ms, since in WAL mode it does not
wait for the disk. A process that is killed loses nothing that was committed; a power cut may cost the last
commits, never the file.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from . import queries, rows
from .database import UNREADABLE, is_no_damage, read_into_memory
from .file import JournalFile
from .queries import NONSENSE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable
    from datetime import datetime
    from pathlib import Path

    from ..certificate import Certificate
    from ..delivery_record import DeliveryRecord
    from ..errors import LocalAPIError
    from ..schedule import AccountState, DomainRecord, Request
    from .attempt import Attempt, DeliveryEvent
    from .queries import Memories

__all__ = ["Journal"]

_KEPT = timedelta(days=400)
_BROUGHT_ONE = {"issued", "found"}


class Journal(JournalFile):
    """Remembers attempts, certificates, waits and what was spent of the CA's limits.

    A file that is damaged, or was written by another version, is set aside with a message. Trouble with
    writing it is told, and is never the end of the service: what has happened meanwhile is written later.
    Use it as a context manager.

    Attempts and steps of deliveries share their numbers, which only rise. An attempt has one when it begins;
    when it ends it gets another, unless nothing came between. So numbers are in the order in which things
    have happened, wherever the clock is set. They begin with the time in ms: after a journal in memory is
    gone, or one was set aside, they rise all the same, unless the clock was set back meanwhile.

    Args:
        path: the file, which is this process's alone; ``None``: in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        self._seen: set[str] = set()
        """Fingerprints of the certificates that are written down."""
        self._new: set[str] = set()
        """Those of them that this transaction writes."""
        self._wanted: frozenset[str] | None = None
        self._limits: tuple[object, ...] = ()
        """The limits as they are written down."""
        self._newest = 0
        """The highest number that was given."""
        self._find_newest()

    def load(self) -> Memories:
        """Return what is remembered."""
        try:
            return self._load()
        except NONSENSE as exc:
            if is_no_damage(exc):
                self._db.close()
                self._db, self._path = read_into_memory(self._path, exc), None
            else:
                self._begin_anew(exc)
        return self._load()

    def fill_from(self, file: sqlite3.Connection) -> None:
        """Take over all that a file holds, in place of what is here: for a journal in memory."""
        file.backup(self._db)
        self._db.executescript(rows.SCHEMA)  # of a file that was begun just now
        self._find_newest()

    def trouble(self) -> str | None:
        """Return what keeps :meth:`load` from making sense of what is here, as in "is damaged"."""
        try:
            self._load()
        except NONSENSE as exc:
            return f"is damaged ({' '.join(str(exc).split())})"
        return None

    def begin(self, domain: str, request: Request, at: datetime) -> int:
        """Write down that a request is about to be sent; return its number.

        What it may cost is not written down: who finds it open at the start has to count that.
        """
        number = self._next_number(at)
        self._note(rows.BEGIN_ATTEMPT, number, domain, request.value, at.timestamp())
        with self._writing():
            return number

    def end(  # noqa: PLR0917 -- in the order of the columns
        self,
        number: int,
        at: datetime,
        outcome: str,
        text: str | None,
        record: DomainRecord,
        account: AccountState,
    ) -> None:
        """Write down what came of a request.

        Args:
            number: of :meth:`begin`.
            at: when it ended.
            outcome: see :attr:`Attempt.outcome`.
            text: tailscaled's words, where it failed.
            record: of the name, as it is now.
            account: what is spent by all names, as it is now.
        """
        leaf = record.leaf if outcome in _BROUGHT_ONE else None
        values = (at.timestamp(), outcome, text, leaf and bytes.fromhex(leaf.fingerprint))
        if number == self._newest:  # nothing has come since it began: it stays where it is, which is less
            self._note(rows.END_ATTEMPT, *values, number)
        else:
            self._note(rows.END_AND_MOVE_ATTEMPT, *values, self._next_number(at), number)
        with self._writing() as db:
            self._write(db, record, at)
            self._write_limits(db, account)

    def drop(self, number: int, record: DomainRecord, account: AccountState) -> None:
        """Forget a request that cost nothing and said nothing new, so that a month of them fills no disk."""
        self._note(rows.DROP_ATTEMPT, number)
        with self._writing() as db:
            self._write(db, record)
            self._write_limits(db, account)

    def note_look(
        self,
        record: DomainRecord,
        at: datetime,
        outcome: Certificate | LocalAPIError | None,
        account: AccountState,
    ) -> None:
        """Write down a look, if it is news.

        Args:
            record: of the name, as it is now.
            at: when it was.
            outcome: a failure, or a certificate that tailscaled has got by itself; ``None``: only the record.
            account: what is spent by all names, as it is now.
        """
        if outcome is not None:
            is_failure = isinstance(outcome, Exception)
            name, text = (type(outcome).__name__, str(outcome)) if is_failure else ("found", None)
            fingerprint = None if isinstance(outcome, Exception) else bytes.fromhex(outcome.fingerprint)
            when = at.timestamp()
            values = (record.domain, "look", when, when, name, text, fingerprint)
            self._note(rows.NOTE_ATTEMPT, self._next_number(at), *values)
        with self._writing() as db:
            self._write(db, record, at)
            self._write_limits(db, account)

    def remember(self, record: DomainRecord) -> None:
        """Write down how a name stands."""
        with self._writing() as db:
            self._write(db, record)

    def note_wanted(self, names: Iterable[str]) -> None:
        """Write down which names are wanted, for who reads it while the service does not run."""
        self._wanted = frozenset(names)
        with self._writing() as db:
            self._write_wanted(db)

    def remember_delivery(self, record: DeliveryRecord, event: DeliveryEvent | None = None) -> None:
        """Write down how far a delivery is, and, if that is news, what has happened."""
        if event is not None:
            values = rows.from_delivery_event(event)
            self._note(rows.NOTE_DELIVERY, self._next_number(event.at), *values)
        with self._writing() as db:
            db.execute(rows.PUT_DELIVERY, rows.from_delivery(record))

    def write_again(
        self,
        records: Iterable[DomainRecord],
        deliveries: Iterable[DeliveryRecord],
        account: AccountState,
        now: datetime,
    ) -> None:
        """Write down how everything stands, and what is owed, where writes were lost: all or nothing."""
        self._incomplete = trio.Event()
        with self._writing() as db:
            self._write_wanted(db)
            db.executemany(rows.PUT_DELIVERY, map(rows.from_delivery, deliveries))
            for record in records:
                self._write(db, record, now)
            self._write_limits(db, account)
        if not self.is_incomplete:
            self._is_good_again()

    def attempts(self, domain: str | None = None, *, limit: int = 100) -> tuple[Attempt, ...]:
        """Return the newest attempts, the newest last.

        Args:
            domain: of one name only.
            limit: how many at most.
        """
        return self._read(lambda db: queries.attempts(db, domain, limit), ())

    def events(
        self, domain: str | None = None, *, after: int | None = None, limit: int = 100
    ) -> tuple[Attempt | DeliveryEvent, ...]:
        """Return attempts that have ended and steps of deliveries, as they came, the newest last.

        Args:
            domain: of one name only.
            after: the number of one: return the first of those that came later; ``None``: the newest of all.
            limit: how many at most.
        """
        return self._read(lambda db: queries.events(db, domain, after, limit), ())

    def is_remembered(self, domain: str) -> bool:
        """Return whether anything is remembered of a name; quick, as long as the journal may be."""
        return self._read(lambda db: queries.is_remembered(db, domain), False)

    def certificates(self, domain: str) -> tuple[Certificate, ...]:
        """Return the certificates that a name has had in the last 400 days, the newest last."""
        return self._read(lambda db: queries.certificates(db, domain), ())

    def wanted(self) -> frozenset[str] | None:
        """Return which names are wanted, as far as is written down; ``None`` where nothing is."""
        return self._read(queries.wanted, None)

    def tidy(self, now: datetime, wanted: Container[str] = ()) -> None:
        """Forget what is older than 400 days, but not how names stand that are wanted."""
        limit = (now - _KEPT).timestamp()
        with self._writing() as db:
            db.execute("DELETE FROM attempts WHERE started_at < ?", (limit,))
            db.execute("DELETE FROM delivery_events WHERE at < ?", (limit,))
            db.execute("DELETE FROM certificates WHERE not_after < ?", (limit,))
            old = db.execute(
                "SELECT domain FROM domains WHERE coalesce(ended_at, wanted_since) < ?", (limit,)
            ).fetchall()
            db.execute("DELETE FROM deliveries WHERE max(coalesce(checked_at, 0), since) < ?", (limit,))
            gone = [row for row in old if row[0] not in wanted]
            db.executemany("DELETE FROM domains WHERE domain = ?", gone)

    def _load(self) -> Memories:
        found, self._seen = queries.memories(self._db)
        self._limits = ()
        return found

    def _find_newest(self) -> None:
        with suppress(*UNREADABLE):  # damage, which is told by what comes next
            self._newest = queries.newest_number(self._db)

    def _next_number(self, at: datetime) -> int:
        self._newest = max(self._newest + 1, round(at.timestamp() * 1000))
        return self._newest

    def _write(self, db: sqlite3.Connection, record: DomainRecord, seen_at: datetime | None = None) -> None:
        """Write how a name stands, and its certificate: who points to one that is not there has none."""
        leaf = record.leaf
        if leaf is not None and leaf.fingerprint not in self._seen:
            at = seen_at or record.ended_at or record.wanted_since
            db.execute(rows.PUT_CERTIFICATE, rows.from_certificate(record.domain, leaf, at))
            self._seen.add(leaf.fingerprint)
            self._new.add(leaf.fingerprint)
        db.execute(rows.PUT_DOMAIN, rows.from_record(record))

    def _write_wanted(self, db: sqlite3.Connection) -> None:
        if self._wanted is not None:
            db.execute("DELETE FROM wanted")
            db.executemany(rows.PUT_WANTED, [(name,) for name in sorted({rows.TOLD, *self._wanted})])

    def _write_limits(self, db: sqlite3.Connection, account: AccountState) -> None:
        limits = tuple(rows.from_account(account))
        if limits != self._limits:
            db.executemany(rows.PUT_LIMIT, limits)
            self._limits = limits

    def _committed(self) -> None:
        self._new.clear()

    def _rolled_back(self) -> None:
        self._seen -= self._new
        self._new.clear()
        self._limits = ()

    def _forget_what_is_written(self) -> None:
        self._seen.clear()
        self._limits = ()
