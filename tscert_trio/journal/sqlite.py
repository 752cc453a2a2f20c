"""The journal, in SQLite.

It is written where things happen, not in a thread: a commit takes 0.02 ms, since in WAL mode it does not
wait for the disk. A process that is killed loses nothing that was committed; a power cut may cost the last
commits, never the file.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

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

    A file that is damaged, or was written by a newer version, is set aside with a message. Trouble with
    writing it is told, and is never the end of the service. Use it as a context manager.

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
        number = 0
        with self._writing(is_one=True) as db:
            new = self._next_number(at)
            db.execute(rows.BEGIN_ATTEMPT, (new, domain, request.value, at.timestamp()))
            number = new
        return number  # noqa: RET504 -- 0 where it could not be written

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
        with self._writing() as db:
            values = (at.timestamp(), outcome, text, leaf and bytes.fromhex(leaf.fingerprint))
            if number == self._newest:  # nothing has come since it began: it stays where it is, which is less
                db.execute(rows.END_ATTEMPT, (*values, number))
            else:
                db.execute(rows.END_AND_MOVE_ATTEMPT, (*values, self._next_number(at), number))
            if leaf is not None:
                self._write_certificate(db, record.domain, leaf, at)
            self._write(db, record, account)

    def drop(self, number: int, record: DomainRecord, account: AccountState) -> None:
        """Forget a request that cost nothing and said nothing new, so that a month of them fills no disk."""
        with self._writing() as db:
            db.execute("DELETE FROM attempts WHERE number = ?", (number,))
            self._write(db, record, account)

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
        with self._writing() as db:
            if outcome is not None:
                is_failure = isinstance(outcome, Exception)
                name, text = (type(outcome).__name__, str(outcome)) if is_failure else ("found", None)
                fingerprint = None if isinstance(outcome, Exception) else bytes.fromhex(outcome.fingerprint)
                when = at.timestamp()
                values = (record.domain, "look", when, when, name, text, fingerprint)
                db.execute(rows.NOTE_ATTEMPT, (self._next_number(at), *values))
            if record.leaf is not None:
                self._write_certificate(db, record.domain, record.leaf, at)
            self._write(db, record, account)

    def remember(self, record: DomainRecord) -> None:
        """Write down how a name stands."""
        with self._writing() as db:
            db.execute(rows.PUT_DOMAIN, rows.from_record(record))

    def note_wanted(self, names: Iterable[str]) -> None:
        """Write down which names are wanted, for who reads it while the service does not run."""
        self._wanted = frozenset(names)
        with self._writing() as db:
            db.execute("DELETE FROM wanted")
            db.executemany(rows.PUT_WANTED, [(name,) for name in sorted({rows.TOLD, *self._wanted})])

    def remember_delivery(self, record: DeliveryRecord, event: DeliveryEvent | None = None) -> None:
        """Write down how far a delivery is, and, if that is news, what has happened."""
        with self._writing(is_one=event is None) as db:
            db.execute(rows.PUT_DELIVERY, rows.from_delivery(record))
            if event is not None:
                values = rows.from_delivery_event(event)
                db.execute(rows.NOTE_DELIVERY, (self._next_number(event.at), *values))

    def write_again(
        self,
        records: Iterable[DomainRecord],
        deliveries: Iterable[DeliveryRecord],
        account: AccountState,
        now: datetime,
    ) -> None:
        """Write down how everything stands, after the journal was begun anew."""
        self.is_incomplete = False
        if self._wanted is not None:
            self.note_wanted(self._wanted)
        for delivery in deliveries:
            self.remember_delivery(delivery)
        for record in records:
            with self._writing() as db:
                if record.leaf is not None:
                    self._write_certificate(db, record.domain, record.leaf, now)
                self._write(db, record, account)

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

    def _write(self, db: sqlite3.Connection, record: DomainRecord, account: AccountState) -> None:
        db.execute(rows.PUT_DOMAIN, rows.from_record(record))
        limits = tuple(rows.from_account(account))
        if limits != self._limits:
            db.executemany(rows.PUT_LIMIT, limits)
            self._limits = limits

    def _write_certificate(
        self, db: sqlite3.Connection, domain: str, leaf: Certificate, at: datetime
    ) -> None:
        if leaf.fingerprint not in self._seen:
            db.execute(rows.PUT_CERTIFICATE, rows.from_certificate(domain, leaf, at))
            self._seen.add(leaf.fingerprint)

    def _forget_what_is_written(self) -> None:
        self._seen.clear()
        self._limits = ()
