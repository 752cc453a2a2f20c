"""A small HTTP/1.1 server: h11 over Trio's streams. It serves the status page and the sandbox.

A client that goes away, stalls or talks rubbish ends its own connection and harms nobody. A handler that
raises is a bug and takes the server down.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, unquote

import attrs
import h11
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "HangUp",
    "Request",
    "Response",
    "StreamResponse",
    "serve_http",
]

_MAX_HEAD = 16 * 1024
_MAX_BODY = 1024 * 1024
_MAX_PIPELINED = 64 * 1024
_CHUNK = 64 * 1024
_LINGER_SECONDS = 1
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class HangUp(Exception):  # noqa: N818 -- an order, not an error
    """Raised by a handler, or by the body of a `StreamResponse`: close the connection as it is."""


@attrs.define(eq=False)
class Request:
    """One request, its body included."""

    method: str
    target: str
    """As sent: path and query, percent-encoded."""
    path: str
    """Decoded."""
    query: Mapping[str, str]
    """Of a name given twice the first value, as in Go."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    _connection: _Connection

    @property
    def is_gone(self) -> bool:
        """Whether `wait_until_gone` has found the client gone."""
        return self._connection.client_is_gone

    async def wait_until_gone(self) -> None:
        """Wait until the client closes its side of the connection, or half of it: nobody can tell.

        This is Go's request context. One task at a time may wait, and only while the handler runs. May be
        cancelled at any time, which loses nothing.
        """
        await self._connection.wait_until_gone()


@attrs.frozen(kw_only=True)
class Response:
    """An answer that is known whole."""

    status: int = 200
    body: bytes = attrs.field(default=b"", repr=False)
    headers: Sequence[tuple[str, str]] = ()
    cut_at: int | None = None
    """Hang up after this many bytes of the body, though all were promised. For tests of clients."""


@attrs.frozen(kw_only=True, eq=False)
class StreamResponse:
    """An answer sent piece by piece, each at once, in chunks (RFC 9112, section 7.1)."""

    write_body: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
    """Called with a function that sends one piece. It is cancelled when the client has gone."""
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    finished: trio.Event = attrs.field(factory=trio.Event)
    """Set when nothing more will be sent, for whatever reason."""


Handler: TypeAlias = Callable[[Request], Awaitable[Response | StreamResponse]]


async def serve_http(
    handler: Handler,
    listeners: Sequence[trio.SocketListener],
    *,
    stall_timeout: float = math.inf,
    task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, then close the listeners and every connection at once.

    Args:
        handler: answers one request. It is not cancelled when the client goes.
        listeners: where connections come from.
        stall_timeout: seconds that a client may take to send a request, or to take a piece of an answer.
        task_status: told the listeners at once.
    """
    await trio.serve_listeners(
        partial(_serve_connection, handler, stall_timeout), list(listeners), task_status=task_status
    )


async def _serve_connection(handler: Handler, stall_timeout: float, stream: trio.SocketStream) -> None:
    async with stream:
        connection = _Connection(stream, stall_timeout)
        with contextlib.suppress(HangUp):
            while await connection.serve_request(handler):
                pass


@attrs.define(eq=False)
class _Connection:
    _stream: trio.SocketStream
    _stall_timeout: float
    client_is_gone: bool = False
    _h11: h11.Connection = attrs.field(
        factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
    )

    async def serve_request(self, handler: Handler) -> bool:
        """Serve the next request; return whether another may follow."""
        try:
            with self._hanging_up_on_a_lost_client():
                request = await self._next_request()
        except h11.RemoteProtocolError as exc:
            await self._refuse(exc.error_status_hint, str(exc))
            return False
        if request is None:
            return False
        response = await handler(request)
        is_head = request.method == "HEAD"
        if isinstance(response, StreamResponse):
            await self._send_stream(response, is_head=is_head)
        else:
            await self._send_response(response, is_head=is_head)
        if self.client_is_gone or self._h11.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False
        self._h11.start_next_cycle()
        return True

    async def _next_request(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        if self._h11.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await self._stream.send_all(self._h11.send(go_on) or b"")
        body = b""
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > _MAX_BODY:
                raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
        headers: dict[str, str] = {}
        for name, value in head.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        target = head.target.decode("latin-1")
        path, _, query = target.partition("?")
        values = dict(reversed(parse_qsl(query, keep_blank_values=True))) if query else {}
        return Request(head.method.decode("ascii"), target, unquote(path), values, headers, body, self)

    async def _next_event(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._stream.receive_some(_CHUNK))
        return event

    async def wait_until_gone(self) -> None:
        pipelined = 0
        while not self.client_is_gone:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except _GONE:
                data = b""
            pipelined += len(data)
            if not data or pipelined > _MAX_PIPELINED:
                self.client_is_gone = True
            else:
                self._h11.receive_data(data)

    async def _refuse(self, status: int, reason: str) -> None:
        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        await self._send_response(
            Response(status=status, body=f"{reason}\n".encode(), headers=[("Connection", "close")])
        )
        # Closing on unread bytes would reset the connection, and the client lose the answer.
        with trio.move_on_after(_LINGER_SECONDS), self._hanging_up_on_a_lost_client():
            await self._stream.send_eof()
            while await self._stream.receive_some(_CHUNK):
                pass

    async def _send(self, data: bytes) -> None:
        with self._hanging_up_on_a_lost_client():
            await self._stream.send_all(data)

    @contextmanager
    def _hanging_up_on_a_lost_client(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._stall_timeout):
                yield
        except (*_GONE, trio.TooSlowError):
            self.client_is_gone = True
            raise HangUp from None

    async def _send_response(self, response: Response, *, is_head: bool = False) -> None:
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        data = self._h11.send(h11.Response(status_code=response.status, headers=headers)) or b""
        body = b"" if is_head else response.body[: response.cut_at]
        data += (self._h11.send(h11.Data(data=body)) or b"") if body else b""
        if response.cut_at is not None:
            await self._send(data)
            raise HangUp
        data += self._h11.send(h11.EndOfMessage()) or b""
        await self._send(data)

    async def _send_stream(self, response: StreamResponse, *, is_head: bool) -> None:
        hung_up = False
        try:
            head = h11.Response(status_code=response.status, headers=list(response.headers))
            await self._send(self._h11.send(head) or b"")
            if not is_head:
                hung_up = await self._send_pieces(response)
            if hung_up or self.client_is_gone:
                raise HangUp
            await self._send(self._h11.send(h11.EndOfMessage()) or b"")
        finally:
            response.finished.set()

    async def _send_pieces(self, response: StreamResponse) -> bool:
        """Send the body until it ends or the client goes; return whether it hung up itself."""
        hung_up = False
        async with trio.open_nursery() as nursery:

            async def send(piece: bytes) -> None:
                try:
                    await self._send(self._h11.send(h11.Data(data=piece)) or b"")
                except HangUp:
                    nursery.cancel_scope.cancel(reason="the client has gone")
                    await trio.lowlevel.checkpoint()

            async def watch_client() -> None:
                await self.wait_until_gone()
                nursery.cancel_scope.cancel(reason="the client has gone")

            nursery.start_soon(watch_client)
            try:
                await response.write_body(send)
            except HangUp:
                hung_up = True
            nursery.cancel_scope.cancel(reason="the answer has ended")
        return hung_up
