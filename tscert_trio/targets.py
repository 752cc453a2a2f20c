"""Where a certificate goes: for now, files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from .errors import TargetError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_writable", "write_file"]


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Replace a file as a whole, so that at every moment it is the old one or the new one.

    The new content is written beside it, forced to the disk and renamed; then the folder is forced to
    the disk, too.

    Args:
        path: the file; where it is a symbolic link, the file that it points to is replaced.
        data: its content.
        mode: its permissions.

    Raises:
        TargetError: it cannot be written; the old file is as it was.
    """
    path = _resolved(path)
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(beside, path)  # noqa: PTH105 -- str on both sides
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)  # noqa: PTH108
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise TargetError(f"cannot write {path}: {exc.strerror}") from exc


def _resolved(path: Path) -> Path:
    """Follow links; refuse what is no file: a device that is replaced is gone for everybody."""
    try:
        path = path.resolve()
        is_other = path.is_symlink() or (path.exists() and not path.is_file())  # a link still: a loop
    except (OSError, RuntimeError) as exc:  # no permission to look, a loop of links
        raise TargetError(f"cannot write {path}: {getattr(exc, 'strerror', None) or exc}") from exc
    if is_other:
        raise TargetError(f"cannot write {path}: is no regular file; standard output is written -")
    return path


def check_writable(path: Path) -> None:
    """See that a file could be written, before something is asked for that would have no place.

    Raises:
        TargetError: it could not.
    """
    path = _resolved(path)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as exc:
        raise TargetError(f"cannot write {path}: {exc.strerror}") from exc
