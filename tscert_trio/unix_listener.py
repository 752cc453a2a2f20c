"""Listening on a Unix socket, without taking anything that is not ours."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["bind_unix_listener", "open_unix_listener"]

_BACKLOG = 4096


@asynccontextmanager
async def open_unix_listener(
    path: str | os.PathLike[str], *, mode: int = 0o666
) -> AsyncIterator[trio.SocketListener]:
    """Listen as :func:`bind_unix_listener` does while the context lasts, then unlink the socket and close."""
    listener = bind_unix_listener(path, mode=mode)
    ours = Path(path).stat()
    # Who serves closes the listener. Another server would find it stale then, and put its own in its place.
    with listener.socket.dup():
        try:
            async with listener:
                yield listener
        finally:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(ours, Path(path).stat()):
                    Path(path).unlink()


def bind_unix_listener(path: str | os.PathLike[str], *, mode: int = 0o666) -> trio.SocketListener:
    """Listen on a Unix socket. A stale one, on which nobody listens, is replaced; nothing else is.

    Meanwhile there is a lock beside it: before it listens, it would look stale to another who comes.

    Args:
        path: at most 107 bytes on Linux.
        mode: permissions of the socket's file.

    Raises:
        OSError: the path is taken by something that is no socket, or by a socket on which somebody listens
            or is about to, or cannot be bound.
    """
    with _locked(path):
        _remove_stale_socket(path)
        return _bind(path, mode)


def _bind(path: str | os.PathLike[str], mode: int) -> trio.SocketListener:
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


@contextmanager
def _locked(path: str | os.PathLike[str]) -> Iterator[None]:
    lock = Path(f"{os.fspath(path)}.lock")
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = os.path.samestat(os.fstat(file), lock.stat())  # else its holder has just removed it
        except (BlockingIOError, FileNotFoundError):
            is_held = False
        if not is_held:
            raise _in_use(path)
        try:
            yield
        finally:
            lock.unlink()
    finally:
        os.close(file)


def _in_use(path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), os.fspath(path))


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
    raise _in_use(path)
