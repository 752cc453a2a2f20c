"""A journal that another process may be writing: read without disturbing that, and never written."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import StateError
from .database import UNREADABLE, is_no_damage, why_unusable
from .folder import FILE, LOCK
from .sqlite import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["holder_of", "open_for_reading"]

_PATIENCE_SECONDS = 2
"""For a backup, say, that holds the file."""
_SET_ASIDE = "; the service sets it aside when it starts, and begins another"


@contextmanager
def open_for_reading(folder: Path) -> Iterator[Journal]:
    """Copy the journal of a state folder into memory while the context lasts.

    The service may run meanwhile, or be dead; what it has committed is there. Only where this user may not
    make the small file beside it that SQLite's readers share, what came since the last checkpoint is missing:
    about a thousand writes at most. What is written to the copy is lost with it.

    Args:
        folder: the state folder.

    Yields:
        A journal with what was written until now.

    Raises:
        StateError: there is none, or it may not be read, or is damaged.
    """
    path = folder / FILE
    _see_that_it_can_be_read(path)
    with Journal() as journal:
        try:
            trouble = _copy(path, journal) or journal.trouble()
        except UNREADABLE as exc:
            said = " ".join(str(exc).split())
            trouble = f"cannot be read ({said})" if is_no_damage(exc) else f"is damaged ({said})"
        if trouble is not None:
            end = _SET_ASIDE if any(each in trouble for each in ("is damaged", "older version")) else ""
            raise StateError(f"the journal {path} {trouble}{end}")
        yield journal


def holder_of(folder: Path) -> int | None:
    """Return the process that holds a state folder, by the lock in it.

    Args:
        folder: the state folder.

    Returns:
        The process; 0 where the lock may not be looked at, or does not say whose it is; ``None``
        where nobody holds it. In a container it may be a number of that container's.
    """
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return 0
    try:
        # Shared, so two that look do not see each other; who starts just now tries again (folder.py).
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(lock, 20, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(lock)
    return None


def _see_that_it_can_be_read(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise StateError(
            f"there is no journal in {path.parent}: no service has run with this state folder; "
            "give the service's own with --state"
        ) from None
    except PermissionError:
        raise StateError(
            f"the journal {path} may not be read by this user: run this as root, or as the service's user"
        ) from None
    except OSError as exc:
        raise StateError(f"the journal {path} cannot be read: {exc.strerror}") from None


def _copy(path: Path, journal: Journal) -> str | None:
    """Copy a file with what its WAL adds, or, where that cannot be had, without; or return what is wrong."""
    wal = path.with_name(f"{path.name}-wal")
    try:
        is_quiet = wal.stat().st_size == 0
    except OSError:
        is_quiet = True
    # Without a WAL there is nothing to add, and SQLite would make files here to be sure of that.
    for mode in ("mode=ro&immutable=1",) if is_quiet else ("mode=ro", "mode=ro&immutable=1"):
        uri = f"file:{quote(str(path))}?{mode}"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE_SECONDS)) as file:
                if (why := why_unusable(file)) is not None:
                    return why
                journal.fill_from(file)
        except sqlite3.OperationalError as exc:  # no right to make the file that readers share
            failure = exc
        else:
            return None
    raise failure
