"""HTTP over a Unix socket for httpx: one fresh connection per request, which can be half-closed.

Why not httpx's own: its pool takes quadratic time when a thousand requests are open, can hang a
request (encode/httpcore#1110), and cannot half-close. A half-closed request makes tailscaled give up
and still answer with the true reason.
"""

from __future__ import annotations

import errno
import math
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import h11
import httpx
import trio

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator

__all__ = ["UnixTransport"]

_CONNECT_SECONDS = 5
_GRACE_SECONDS = 5
"""How long a half-closed request may still answer. A real tailscaled needs about 12 ms."""
_RECEIVE_BYTES = 65536


class UnixTransport(httpx.AsyncBaseTransport):
    """Sends each request over a new connection to a Unix socket and closes it afterwards.

    A request's ``extensions["patience"]`` is how many seconds, counted from when it is sent, an
    answer may take. Then the request is half-closed, and what the server says within the next five
    seconds is the answer. Without one :exc:`httpx.ReadTimeout` is raised.

    As in httpx itself, ``extensions["target"]`` goes before the path of the URL.

    Cancelling a request, or closing its response, closes the connection at once.

    Args:
        path: the socket.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer.

        Raises:
            httpx.ConnectError: nobody listens, or not for this user; the text says which.
            httpx.ReadError: the connection broke, or ended before the status line.
            httpx.RemoteProtocolError: the answer is no HTTP, or was cut short.
            httpx.ReadTimeout: no answer came in time.
        """
        stream = await self._connect()
        connection = _Connection(stream)
        try:
            await connection.send(request)
            head = await connection.head()
        except BaseException:
            connection.close()
            raise
        return httpx.Response(head.status_code, headers=list(head.headers), stream=_Body(connection))

    async def _connect(self) -> trio.SocketStream:
        with trio.move_on_after(_CONNECT_SECONDS):
            try:
                return await trio.open_unix_socket(str(self._path))
            except OSError as exc:
                raise self._connect_error(exc) from exc
        raise httpx.ConnectTimeout("does not accept connections")

    def _connect_error(self, exc: OSError) -> httpx.ConnectError:
        """Say what is wrong with the socket. Permission trouble keeps its ``PermissionError`` as cause."""
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            return httpx.ConnectError("no such socket")
        except OSError as stat_exc:
            return httpx.ConnectError(f"{stat_exc.strerror}".lower())
        if not stat.S_ISSOCK(mode):
            return httpx.ConnectError("is no socket")
        return httpx.ConnectError((exc.strerror or str(exc)).lower())


@attrs.define(eq=False)
class _Connection:
    """h11 over one stream, with a patience that ends in a half-close."""

    _stream: trio.SocketStream
    _half_closed: bool = attrs.field(default=False, init=False)
    _deadline: float = attrs.field(default=math.inf, init=False)
    _http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT), init=False)

    async def send(self, request: httpx.Request) -> None:
        target = request.extensions.get("target", request.url.raw_path)
        head = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        data = self._http.send(head) or b""
        if request.content:
            data += self._http.send(h11.Data(request.content)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as exc:
            # A socket whose backlog is full shows only here that it never connected.
            raise httpx.ConnectError(_reason(exc)) from exc
        self._deadline = trio.current_time() + request.extensions.get("patience", math.inf)

    async def head(self) -> h11.Response:
        event = await self._next_event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next_event()
        assert isinstance(event, h11.Response)
        return event

    async def body(self) -> bytes | None:
        """Return the next piece of the body, or ``None`` at its end."""
        event = await self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    def close(self) -> None:
        self._stream.socket.close()

    async def _next_event(self) -> h11.Event:
        data = b"begin"
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await self._receive()
                if not data and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpx.ReadError("the connection ended without an answer")
                self._http.receive_data(data)
        except h11.RemoteProtocolError as exc:
            if not data:
                raise httpx.RemoteProtocolError("the connection ended in the middle of the answer") from exc
            raise httpx.RemoteProtocolError(f"the answer is no HTTP: {exc}") from exc
        assert isinstance(event, h11.Event)
        return event

    async def _receive(self) -> bytes:
        try:
            if not self._half_closed:
                with trio.CancelScope(deadline=self._deadline):
                    return bytes(await self._stream.receive_some(_RECEIVE_BYTES))
                self._half_closed = True
                await self._stream.send_eof()
            with trio.CancelScope(deadline=self._deadline + _GRACE_SECONDS):
                return bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        except trio.BrokenResourceError as exc:
            raise httpx.ReadError(_reason(exc)) from exc
        raise httpx.ReadTimeout("no answer in time")


def _reason(exc: trio.BrokenResourceError) -> str:
    cause = exc.__cause__
    code = cause.errno if isinstance(cause, OSError) else None
    return {
        errno.EPIPE: "the connection was closed",
        errno.ECONNRESET: "the connection was reset",
        errno.ENOTCONN: "does not accept connections",
    }.get(code or 0, str(cause or exc))


@attrs.define(eq=False)
class _Body(httpx.AsyncByteStream):
    """The body of an answer. No async generator: those leak when a reader leaves early."""

    _connection: _Connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._connection.body()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        self._connection.close()
