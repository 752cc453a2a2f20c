"""The journal's file: opened, checked, and set aside if it cannot be used."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from . import rows

__all__ = ["UNREADABLE", "begin_anew", "is_no_damage", "open_database", "read_into_memory", "why_unusable"]

_logger = logging.getLogger(__name__)

_VERSION = 2
"""Of the tables: who changes them raises it, see "The journal's format" in docs/design.rst."""
_OPENING_SECONDS = 5
"""For how long another program may hold the file at the start, a backup for example."""
_PATIENCE_MS = 100
"""The same later, when everything waits meanwhile."""
_WAL_BYTES = 1 << 22

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What damage raises; the second where a message of SQLite's quotes the file."""


_NO_DAMAGE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_AUTH,
}


def open_database(path: Path | None) -> tuple[sqlite3.Connection, Path | None]:
    """Open the file, or another in its place if it is damaged or of another version.

    One that merely cannot be written, since the disk is full or another program holds it, is read and left
    alone.

    Args:
        path: where; ``None``: in memory.

    Returns:
        The database, and where it is at last: where nothing can be written that is in memory.
    """
    db: sqlite3.Connection | None = None
    try:
        db = _connect(path)
        why = why_unusable(db)
    except UNREADABLE as exc:
        if is_no_damage(exc):
            if db is not None:
                db.close()
            return read_into_memory(path, exc), None
        why = f"is damaged ({exc})"
    if why is not None:
        if db is not None:
            db.close()
        return begin_anew(path, why)
    assert db is not None
    try:
        _make_tables(db)
    except UNREADABLE:  # the first write tells
        _logger.debug("the journal's tables cannot be made", exc_info=True)
    db.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS:d}")
    return db, path


def is_no_damage(exc: Exception) -> bool:
    """Return whether an error says nothing against the file: it is held elsewhere, or the disk is full."""
    return isinstance(exc, sqlite3.Error) and getattr(exc, "sqlite_errorcode", 0) & 0xFF in _NO_DAMAGE


def begin_anew(path: Path | None, why: str) -> tuple[sqlite3.Connection, Path | None]:
    """Set the file aside and begin another; where that fails, go on in memory.

    Args:
        path: where; ``None``: in memory.
        why: what is wrong with it, as in "is damaged".
    """
    if path is None:
        return _connect_anew(None), None
    aside = _free_name(path)
    _logger.error(
        "the journal %s %s; it is kept as %s, and a new one begins: backoff, limits and due times are "
        "counted anew",
        path,
        " ".join(why.split()),
        aside.name,
    )
    try:
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{path}{suffix}")
            if part.exists():
                part.rename(f"{aside}{suffix}")
        return _connect_anew(path), path
    except (OSError, *UNREADABLE) as exc:
        _logger.error("the journal %s cannot be written (%s); going on without", path, exc)  # noqa: TRY400
        return _connect_anew(None), None


def read_into_memory(path: Path | None, exc: Exception) -> sqlite3.Connection:
    """Go on with what can be read of a file that cannot be written, and leave it as it is."""
    _logger.error(
        "the journal %s cannot be written (%s): going on, but a restart would not know what happens now",
        path,
        exc,
    )
    db = _connect_anew(None)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as file:
            if why_unusable(file) is None:
                file.backup(db)
    except UNREADABLE:
        db.close()
        db = _connect_anew(None)
    return db


def _connect(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=_OPENING_SECONDS)
    try:
        db.execute("PRAGMA page_size = 1024")  # what changes is small, and whole pages are written
        if path is not None:
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES:d}")  # after a burst
        db.execute("PRAGMA wal_autocheckpoint = 0")  # it would wait for the disk; see Journal.run
    except UNREADABLE:
        db.close()
        raise
    return db


def _connect_anew(path: Path | None) -> sqlite3.Connection:
    db = _connect(path)
    _make_tables(db)
    return db


def _make_tables(db: sqlite3.Connection) -> None:
    db.executescript(rows.SCHEMA)
    db.execute(f"PRAGMA user_version = {_VERSION:d}")


def why_unusable(db: sqlite3.Connection) -> str | None:
    """Return what is wrong with a database as a whole, as in "is damaged"; ``None`` where nothing is."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    damage = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if version > _VERSION:
        return f"is of a newer version of tscert-trio (its format is {version})"
    if 0 < version < _VERSION:  # 0: it was begun just now
        return f"is of an older version of tscert-trio (its format is {version}), which this one cannot read"
    if damage != "ok":
        return f"is damaged ({damage})"
    if not set(_tables(db)) <= set(_expected_tables()):
        return "is damaged (its tables are not those that were made)"
    return None


def _tables(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the tables that were made here; SQLite itself may add some."""
    return db.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()


def _expected_tables() -> list[tuple[str, str]]:
    db = _connect_anew(None)
    try:
        return _tables(db)
    finally:
        db.close()


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    return aside
