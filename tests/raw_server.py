"""A server on a Unix socket that says exactly the bytes a test wants."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def open_raw_server(handler: Handler) -> AsyncIterator[Path]:
    """Listen while the context lasts; each connection is given to ``handler`` and then closed."""
    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:  # short: sun_path holds 108 bytes
        path = Path(folder) / "s"
        sock = trio.socket.socket(socket.AF_UNIX)
        await sock.bind(str(path))
        sock.listen(100)

        async def serve(stream: trio.SocketStream) -> None:
            try:
                await handler(stream)
            except trio.BrokenResourceError:
                pass  # the client has gone
            finally:
                await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(sock)])
            yield path
            nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> bytes:
    """Return the head of a request."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some()
    return head


def saying(*pieces: bytes) -> Handler:
    """Return a handler that reads a request, says these bytes and hangs up."""

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        for piece in pieces:
            await stream.send_all(piece)

    return handler


def answer(status: int, body: bytes, *headers: bytes) -> bytes:
    """Return a whole answer with its length."""
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
