"""HTTP over a Unix socket, all of which together takes so long at most."""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Connection"]


class Connection(http.client.HTTPConnection):
    """A connection; what is not over in time raises :class:`TimeoutError`.

    Args:
        path: of the Unix socket.
        seconds: how long connecting, asking and the whole answer may take together.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        """Connect; the time begins."""
        self.sock = _Socket(time.monotonic() + self._seconds)
        self.sock.settimeout(self._seconds)
        self.sock.connect(str(self._path))


class _Socket(socket.socket):
    """One on which nothing lasts beyond a moment; a timeout alone begins anew with each byte."""

    def __init__(self, deadline: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._deadline = deadline

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read; what a file of this socket reads with."""
        self._limit()
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Write all of it."""
        self._limit()
        super().sendall(data, flags)

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)
