"""The journal, in SQLite.

It is written where things happen, not in a thread: a commit takes 0.02 ms, since in WAL mode it does not
wait for the disk. A process that is killed loses nothing that was committed; a power cut may cost the last
commits, never the file.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import attrs
import trio

from . import rows
from .database import UNREADABLE, begin_anew, is_no_damage, open_database, read_into_memory

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from ..certificate import Certificate
    from ..delivery_record import DeliveryRecord
    from ..errors import LocalAPIError
    from ..schedule import AccountState, DomainRecord, Request
    from .attempt import Attempt, DeliveryEvent

__all__ = ["Journal", "Memories"]

_logger = logging.getLogger(__name__)

_KEPT = timedelta(days=400)
_COMMITS_PER_CHECKPOINT = 1000
_QUIET_SECONDS, _LONGEST_NOISE_SECONDS = 0.1, 5
_GOOD_AGAIN_AFTER = 20
"""Writes in a row: on a full disk some go well."""
_BROUGHT_ONE = {"issued", "found"}
_NONSENSE = (sqlite3.Error, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
"""What comes of rows that hold something else than was written."""


@attrs.frozen
class Memories:
    """What a journal remembers at the start."""

    records: dict[str, DomainRecord]
    account: AccountState
    deliveries: tuple[DeliveryRecord, ...]
    interrupted: tuple[Attempt, ...]
    """Attempts that were under way when the service was killed."""


class Journal:
    """Remembers attempts, certificates, waits and what was spent of the CA's limits.

    A file that is damaged, or was written by a newer version, is set aside with a message. Trouble with
    writing it is told, and is never the end of the service. Use it as a context manager.

    Args:
        path: the file, which is this process's alone; ``None``: in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._trouble = ""
        self._good_writes = 0
        self._commits = 0
        self._seen: set[str] = set()
        """Fingerprints of the certificates that are written down."""
        self._wanted: frozenset[str] | None = None
        self._limits: tuple[object, ...] = ()
        """The limits as they are written down."""
        self._checkpoint_wanted = trio.Event()
        self.is_incomplete = False
        """Whether it was begun anew after :meth:`load`: how names stand is to be written again."""
        self._db, self._path = open_database(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything is written already."""
        self._db.close()

    def load(self) -> Memories:
        """Return what is remembered."""
        try:
            return self._load()
        except _NONSENSE as exc:
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

    def trouble(self) -> str | None:
        """Return what keeps :meth:`load` from making sense of what is here, as in "is damaged"."""
        try:
            self._load()
        except _NONSENSE as exc:
            return f"is damaged ({' '.join(str(exc).split())})"
        return None

    def begin(self, domain: str, request: Request, at: datetime) -> int:
        """Write down that a request is about to be sent; return its number.

        What it may cost is not written down: who finds it open at the start has to count that.
        """
        number = 0
        with self._writing(is_one=True) as db:
            cursor = db.execute(rows.BEGIN_ATTEMPT, (domain, request.value, at.timestamp()))
            number = cursor.lastrowid or 0
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
            values = (at.timestamp(), outcome, text, leaf and bytes.fromhex(leaf.fingerprint), number)
            db.execute(rows.END_ATTEMPT, values)
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
                db.execute(rows.NOTE_ATTEMPT, (record.domain, "look", when, when, name, text, fingerprint))
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

    def wanted(self) -> frozenset[str] | None:
        """Return which names are wanted, as far as is written down; ``None`` where nothing is."""
        try:
            found = {row[0] for row in self._db.execute(rows.ALL_WANTED)}
        except _NONSENSE as exc:
            self._tell(exc)
            return None
        return frozenset(found - {rows.TOLD}) if found else None

    def remember_delivery(self, record: DeliveryRecord, event: DeliveryEvent | None = None) -> None:
        """Write down how far a delivery is, and, if that is news, what has happened."""
        with self._writing(is_one=event is None) as db:
            db.execute(rows.PUT_DELIVERY, rows.from_delivery(record))
            if event is not None:
                db.execute(rows.NOTE_DELIVERY, rows.from_delivery_event(event))

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
        return tuple(map(rows.to_attempt, self._newest("attempts", domain, limit)))

    def delivery_events(self, domain: str | None = None, *, limit: int = 100) -> tuple[DeliveryEvent, ...]:
        """Return the newest steps of deliveries, the newest last; else as :meth:`attempts`."""
        return tuple(map(rows.to_delivery_event, self._newest("delivery_events", domain, limit)))

    def certificates(self, domain: str) -> tuple[Certificate, ...]:
        """Return the certificates that a name has had in the last 400 days, the newest last."""
        try:
            found = self._db.execute(rows.CERTIFICATES_OF, (domain,)).fetchall()
            return tuple(map(rows.to_certificate, found))
        except _NONSENSE as exc:
            self._tell(exc)
            return ()

    def _newest(self, table: str, domain: str | None, limit: int) -> list[tuple[Any, ...]]:
        where, values = ("WHERE domain = ?", (domain,)) if domain is not None else ("", ())
        try:
            found = self._db.execute(
                f"SELECT * FROM {table} {where} ORDER BY number DESC LIMIT ?",  # noqa: S608 -- constants
                (*values, limit),
            ).fetchall()
        except _NONSENSE as exc:
            self._tell(exc)
            return []
        return found[::-1]

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

    async def run(self) -> None:
        """Move what was written into the file proper, now and then, in a thread, until cancelled."""
        if self._path is None:
            await trio.sleep_forever()
        while True:
            await self._checkpoint_wanted.wait()
            self._checkpoint_wanted, commits = trio.Event(), -1
            while commits != self._commits:  # what is written meanwhile keeps the WAL from beginning anew
                commits = self._commits
                await trio.to_thread.run_sync(self._checkpoint)
                await self._wait_for_quiet()

    async def _wait_for_quiet(self) -> None:
        """Wait until nothing is being written, but not for long: a checkpoint costs more than a commit."""
        with trio.move_on_after(_LONGEST_NOISE_SECONDS):
            before = -1
            while before != self._commits:
                before = self._commits
                await trio.sleep(_QUIET_SECONDS)

    def _checkpoint(self) -> None:
        if self._path is None:  # it could not be written any more
            return
        try:
            db = sqlite3.connect(self._path)
            try:
                # The other kinds keep writers out until the disk has it all, and those give up after 0.1 s.
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                db.close()
        except sqlite3.Error as exc:
            _logger.debug("the journal's checkpoint failed: %s", exc)

    def _load(self) -> Memories:
        db = self._db
        certificates = {row[0]: rows.to_certificate(row) for row in db.execute(rows.NEWEST_CERTIFICATES)}
        self._seen, self._limits = {leaf.fingerprint for leaf in certificates.values()}, ()
        records = (rows.to_record(row, certificates) for row in db.execute(rows.ALL_DOMAINS))
        interrupted = db.execute("SELECT * FROM attempts WHERE ended_at IS NULL ORDER BY number").fetchall()
        return Memories(
            records={record.domain: record for record in records},
            account=rows.to_account(db.execute(rows.ALL_LIMITS).fetchall()),
            deliveries=tuple(map(rows.to_delivery, db.execute(rows.ALL_DELIVERIES))),
            interrupted=tuple(map(rows.to_attempt, interrupted)),
        )

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

    @contextmanager
    def _writing(self, *, is_one: bool = False) -> Iterator[sqlite3.Connection]:
        """Write as one transaction. Trouble is told once, and lets the service go on.

        Args:
            is_one: one statement, which is a transaction by itself.
        """
        try:
            with nullcontext() if is_one else self._transaction():
                yield self._db
        except sqlite3.OperationalError as exc:  # the disk is full, or gone
            self._tell(exc)
        except sqlite3.ProgrammingError:  # a bug: it was closed, say
            raise
        except UNREADABLE as exc:
            self._begin_anew(exc)
        else:
            self._good_writes += 1
            if self._trouble and self._good_writes >= _GOOD_AGAIN_AFTER:
                _logger.info("the journal can be written again")
                self._trouble = ""
        self._commits += 1
        if self._commits % _COMMITS_PER_CHECKPOINT == 0:
            self._checkpoint_wanted.set()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        db = self._db
        db.execute("BEGIN")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            self._seen.clear()  # what was not written must be written again
            self._limits = ()
            if db.in_transaction:  # SQLite itself ends some of those that fail
                db.execute("ROLLBACK")
            raise

    def _begin_anew(self, exc: Exception) -> None:
        self._db.close()
        self._db, self._path = begin_anew(self._path, f"is damaged ({exc})")
        self._seen.clear()
        self._limits = ()
        self.is_incomplete = True

    def _tell(self, exc: Exception) -> None:
        self._good_writes = 0
        if str(exc) != self._trouble:
            self._trouble = str(exc)
            _logger.error(
                "the journal %s cannot be written (%s): going on, but a restart would not know what happened "
                "meanwhile",
                self._path,
                exc,
            )
