"""Listening on a Unix socket, without taking anything that is not ours."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["bind_unix_listener", "open_unix_listener"]

_BACKLOG = 4096


@asynccontextmanager
async def open_unix_listener(
    path: str | os.PathLike[str], *, mode: int = 0o666
) -> AsyncIterator[trio.SocketListener]:
    """Listen as :func:`bind_unix_listener` does while the context lasts, then close and unlink the socket."""
    listener = bind_unix_listener(path, mode=mode)
    ours = Path(path).stat()
    try:
        async with listener:
            yield listener
    finally:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(ours, Path(path).stat()):
                Path(path).unlink()


def bind_unix_listener(path: str | os.PathLike[str], *, mode: int = 0o666) -> trio.SocketListener:
    """Listen on a Unix socket. A stale one, on which nobody listens, is replaced; nothing else is.

    Args:
        path: at most 107 bytes on Linux.
        mode: permissions of the socket's file.

    Raises:
        OSError: the path is taken by something that is no socket, or by a socket on which somebody listens,
            or cannot be bound.
    """
    _remove_stale_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        umask = os.umask(0o777 & ~mode)  # so that it never exists with more
        try:
            sock.bind(os.fspath(path))
        finally:
            os.umask(umask)
        sock.listen(_BACKLOG)
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    except BaseException:
        sock.close()
        raise


def _remove_stale_socket(path: str | os.PathLike[str]) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "exists and is no socket", os.fspath(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody listens
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), os.fspath(path))
