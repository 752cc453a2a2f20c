"""The journal's file while it is open: written, read and moved on, whatever the disk says."""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

import trio

from .checkpoints import Checkpoints, checkpoint
from .database import UNREADABLE, begin_anew, open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["JournalFile"]

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)

_GOOD_AGAIN_AFTER = 20
"""Writes in a row: on a full disk some go well."""
_OWED_AT_MOST = 5000
_UNWRITTEN = (
    "the journal {path} cannot be written ({why}): a restart would not know what happens now; see whether "
    "its disk is full, or another program holds the file"
)
_WITHOUT = (
    "the journal {path} cannot be used, the service's log says why: a restart would not know what happens "
    "now; repair that, and restart the service"
)
_UNREAD = (
    "the journal %s cannot be read (%s): what has happened is not shown; certificates are kept all the same. "
    "Look at the disk, and restart the service: it sets a damaged journal aside"
)


class JournalFile:
    """Opens the file, or another in its place; what cannot be written or read is told, and no more.

    Args:
        path: the file, which is this process's alone; ``None``: in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._trouble = ""
        self._unread = ""
        """What kept it from being read last."""
        self._good_writes = 0
        self._checkpoints = Checkpoints()
        self._owed: deque[tuple[str, tuple[object, ...]]] = deque(maxlen=_OWED_AT_MOST)
        """Statements for what has happened, the oldest first, until they are written."""
        self._incomplete = trio.Event()
        self._wanted_path = path
        self._db, self._path = open_database(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything is written already, where it could be."""
        if self._owed:
            with self._writing():
                pass
        self._db.close()

    @property
    def is_incomplete(self) -> bool:
        """Whether a write was lost, or the file begun anew: how all stands is to be written again."""
        return self._incomplete.is_set()

    @property
    def write_trouble(self) -> str | None:
        """Why what happens is not written just now, with what to do, in one line; ``None`` where it is."""
        if self._path is None and self._wanted_path is not None:
            return _WITHOUT.format(path=self._wanted_path)
        return _UNWRITTEN.format(path=self._path, why=self._trouble) if self._trouble else None

    async def wait_until_incomplete(self) -> None:
        """Wait until how all stands is to be written again; at once where it is already."""
        await self._incomplete.wait()

    async def run(self) -> None:
        """Move what was written into the file proper, now and then, in a thread, until cancelled."""
        await self._checkpoints.run(lambda: self._path)

    def checkpoint(self) -> None:
        """Do the same once, now."""
        if self._path is not None:
            checkpoint(self._path)

    def _read(self, query: Callable[[sqlite3.Connection], _T], default: _T) -> _T:
        """Ask for something that is only shown. Trouble is told once."""
        try:
            found = query(self._db)
        except UNREADABLE as exc:
            if str(exc) != self._unread:
                self._unread = str(exc)
                _logger.error(_UNREAD, self._path, exc)  # noqa: TRY400
            return default
        self._unread = ""
        return found

    def _committed(self) -> None:
        """Take for written what the last transaction wrote; for who writes only what is new."""

    def _rolled_back(self) -> None:
        """Take nothing for written that the last transaction tried to write."""

    def _forget_what_is_written(self) -> None:
        """Take nothing for written."""

    def _note(self, sql: str, *values: object) -> None:
        """Have written what happens once: with the next transaction, or the first later one that goes well.

        The statement must do no harm where it is executed twice.
        """
        self._owed.append((sql, values))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write as one transaction, with what is owed. Trouble is told once, and lets the service go on."""
        try:
            with self._transaction():
                yield self._db
        except sqlite3.OperationalError as exc:  # the disk is full, or gone
            self._tell(exc)
        except sqlite3.ProgrammingError:  # a bug: it was closed, say
            raise
        except UNREADABLE as exc:
            self._begin_anew(exc)
        else:
            self._good_writes += 1
            if self._good_writes >= _GOOD_AGAIN_AFTER:
                self._is_good_again()
        self._checkpoints.note_commit()

    def _is_good_again(self) -> None:
        if self._trouble:
            _logger.info("the journal can be written again")
            self._trouble = ""

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        db = self._db
        db.execute("BEGIN")
        try:
            yield
            for sql, values in self._owed:
                db.execute(sql, values)
            db.execute("COMMIT")
        except BaseException:
            self._rolled_back()  # what was not written must be written again
            if db.in_transaction:  # SQLite itself ends some of those that fail
                db.execute("ROLLBACK")
            raise
        self._owed.clear()
        self._committed()

    def _begin_anew(self, exc: Exception) -> None:
        self._db.close()
        self._db, self._path = begin_anew(self._path, f"is damaged ({exc})")
        self._owed.clear()  # as all that happened before
        self._forget_what_is_written()
        self._incomplete.set()

    def _tell(self, exc: Exception) -> None:
        self._good_writes = 0
        self._incomplete.set()
        if str(exc) != self._trouble:
            self._trouble = str(exc)
            _logger.error(
                "the journal %s cannot be written (%s): going on, but a restart would not know what happened "
                "meanwhile",
                self._path,
                exc,
            )
