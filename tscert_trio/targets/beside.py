"""The file that is written beside another, to replace it.

Beside ``box.key`` that is ``.box.key.tscert-new``. It is locked as long as its writer lives: one that nobody
holds was left by a kill.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from ..errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

__all__ = ["Replacement", "beside_of", "is_locked_by_us", "remove_leftover"]

_MARK = ".tscert-new"
_LONGEST_NAME = 255 - len(_MARK) - 1


def beside_of(path: Path) -> str:
    """Return the name of the file beside."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return str(path.with_name(f".{name}{_MARK}"))


@attrs.define(eq=False)
class Replacement:
    """A new content for a file, beside it. It is gone with the context, unless it has replaced the file."""

    path: Path
    descriptor: int
    _has_replaced: bool = False

    @classmethod
    @contextmanager
    def open(cls, path: Path, mode: int) -> Iterator[Self]:
        """Create the file beside and lock it.

        Args:
            path: the file that is to be replaced.
            mode: the most permissions that the new one may have at any time.

        Raises:
            TargetError: another process is writing the same file.
            OSError: it cannot be created.
        """
        replacement = cls(path, _create_locked(path, mode & 0o600))
        try:
            yield replacement
        finally:
            try:
                if not replacement._has_replaced:
                    with contextlib.suppress(OSError):
                        os.unlink(beside_of(path))  # noqa: PTH108 -- a string
            finally:
                os.close(replacement.descriptor)

    def write(self, data: bytes) -> None:
        """Write the content and force it to the disk."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]
        os.fsync(self.descriptor)

    def replace(self) -> None:
        """Let it take the place of the file."""
        os.replace(beside_of(self.path), self.path)  # noqa: PTH105 -- a string
        self._has_replaced = True


def _create_locked(path: Path, mode: int) -> int:
    while True:
        remove_leftover(path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(beside_of(path), flags, mode)
        except FileExistsError:
            continue
        # Before it was locked, another may have taken it for a leftover.
        if is_locked_by_us(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor
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
