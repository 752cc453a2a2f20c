"""How a file is read that others may have put there: never a pipe, which would wait, nor without end."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LARGEST", "read_regular"]

LARGEST = 1024 * 1024
"""No certificate comes near it."""


def read_regular(path: Path, at_most: int = LARGEST) -> bytes:
    """Return what is in a regular file, or its beginning.

    Args:
        path: the file.
        at_most: bytes.

    Raises:
        OSError: it cannot be read, or is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no regular file")
        return file.read(at_most)
