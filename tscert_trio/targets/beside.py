"""The file that is written beside another, to replace it.

Beside ``box.key`` that is ``.box.key.tscert-new``. It is locked as long as its writer lives: one that nobody
holds was left by a kill.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING

from ..errors import TargetError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["beside_of", "is_locked_by_us", "open_beside", "remove_leftover"]

_MARK = ".tscert-new"
_LONGEST_NAME = 255 - len(_MARK) - 1


def beside_of(path: Path) -> str:
    """Return the name of the file beside."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return str(path.with_name(f".{name}{_MARK}"))


def open_beside(path: Path, mode: int) -> tuple[str, int]:
    """Create the file beside and lock it; return its name and a descriptor to write.

    Args:
        path: the file that is to be replaced.
        mode: the most permissions that the new one may have at any time.

    Raises:
        TargetError: another process is writing the same file.
        OSError: it cannot be created.
    """
    beside = beside_of(path)
    while True:
        remove_leftover(path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(beside, flags, mode & 0o600)
        except FileExistsError:
            continue
        # Before it was locked, another may have taken it for a leftover.
        if is_locked_by_us(descriptor) and os.fstat(descriptor).st_nlink:
            return beside, descriptor
        os.close(descriptor)


def remove_leftover(path: Path) -> None:
    """Remove what a killed writer of this file left beside it.

    Raises:
        TargetError: its writer lives.
        OSError: it cannot be removed.
    """
    beside = beside_of(path)
    if not os.path.lexists(beside):
        return
    try:
        descriptor = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError:  # a link, or one that we may not read
        _unlink(beside)
        return
    try:
        if not is_locked_by_us(descriptor):
            raise TargetError(f"cannot write {path}: another process is writing it; let only one do so")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(beside)):
                os.unlink(beside)  # noqa: PTH108 -- a string
    finally:
        os.close(descriptor)


def is_locked_by_us(descriptor: int) -> bool:
    """Lock a file or folder until it is closed; return whether nobody else holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _unlink(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)  # noqa: PTH108 -- a string
