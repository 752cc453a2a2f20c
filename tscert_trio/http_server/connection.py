"""One connection: its requests one after the other, and an answer to each."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeGuard
from urllib.parse import parse_qsl, unquote

import attrs
import h11
import trio

from .dates import with_date
from .heads import MAX_HEAD, check_head, check_raw_head, split_target
from .messages import HangUp, Request, Response, StreamResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Connection"]

_MAX_PIPELINED = 64 * 1024
_RECEIVED_AT_ONCE = 16 * 1024
_SENT_AT_ONCE = 256 * 1024
_COPIED = 16 * 1024
"""What is longer is sent by itself, and shared with whoever else is sent it."""
_LINGER_SECONDS = 1
_LINGER_READS = 256
_MAX_REASON = 200
_EMPTY_LINE = b"\r\n"
_REFUSAL_HEADERS = (
    ("Connection", "close"),
    # What is refused may be cited: nobody is to take it for HTML.
    ("Content-Type", "text/plain; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
)
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


def _is_unix(stream: trio.abc.Stream) -> TypeGuard[trio.SocketStream]:
    return isinstance(stream, trio.SocketStream) and stream.socket.family == socket.AF_UNIX


def _uid_at_the_other_end(stream: trio.abc.Stream) -> int | None:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or not _is_unix(stream):
        return None
    pid_uid_gid = struct.Struct("iII")
    credentials = stream.socket.getsockopt(socket.SOL_SOCKET, option, pid_uid_gid.size)
    return int(pid_uid_gid.unpack(credentials)[1])


def _new_h11() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)


@attrs.define(eq=False)
class Connection:
    """HTTP/1.1 over one stream, seen from the server. What loses the client is a `HangUp`."""

    _stream: trio.abc.HalfCloseableStream
    _stall_timeout: float
    _max_body: int
    _may_skip_line: bool
    client_is_gone: bool = False
    peer_uid: int | None = attrs.field(init=False)
    _is_head: bool = False
    _has_skipped_line: bool = False
    _h11: h11.Connection = attrs.field(factory=_new_h11)

    @peer_uid.default
    def _(self) -> int | None:
        return _uid_at_the_other_end(self._stream)

    @property
    def is_local(self) -> bool:
        """Whether this is a Unix socket."""
        return _is_unix(self._stream)

    async def receive_request(self) -> Request | None:
        """Wait for the next request, for ``stall_timeout`` at most.

        Returns:
            None when the connection has ended, or what came was refused. May be cancelled, which loses it.

        Raises:
            HangUp: the client has gone or stalls.
        """
        self._is_head = self._has_skipped_line = False
        try:
            with self._hanging_up_on_a_lost_client():
                return await self._next_request()
        except h11.RemoteProtocolError as exc:
            await self.refuse(exc.error_status_hint, str(exc))
            return None

    async def answer(self, response: Response | StreamResponse) -> bool:
        """Send the answer; return whether another request may follow.

        Raises:
            HangUp: the client has gone or stalls, or the answer was to be cut short.
        """
        if isinstance(response, StreamResponse):
            await self._send_stream(response)
        else:
            await self._send_response(response)
        if self.client_is_gone or self._h11.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False
        self._h11.start_next_cycle()
        return True

    async def refuse(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Say why this is the end of the connection, in a second at most."""
        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [*_REFUSAL_HEADERS, *headers]
        body = f"{reason[:_MAX_REASON]}\n".encode()
        with trio.move_on_after(_LINGER_SECONDS), self._hanging_up_on_a_lost_client():
            await self._send_response(Response(status=status, body=body, headers=headers))
            # Closing on unread bytes would reset the connection, and the client lose the answer.
            await self._stream.send_eof()
            for _ in range(_LINGER_READS):
                if not await self._stream.receive_some(_RECEIVED_AT_ONCE):
                    break

    async def wait_until_gone(self) -> None:
        """Wait until the client closes its side, or sends more than it may while it is not read."""
        while not self.client_is_gone:
            try:
                data = bytes(await self._stream.receive_some(_RECEIVED_AT_ONCE))
            except _GONE:
                data = b""
            if data:
                self._h11.receive_data(data)
            if not data or len(self._h11.trailing_data[0]) > _MAX_PIPELINED:
                self.client_is_gone = True

    async def _next_request(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        self._is_head = head.method == b"HEAD"
        check_head(head, self._max_body)
        if self._h11.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await self._stream.send_all(self._h11.send(go_on))
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
        headers: dict[str, str] = {}
        for name, value in head.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        target = head.target.decode("ascii")
        host, origin_form = split_target(target)
        if host is not None:
            headers["host"] = host
        path, _, query = origin_form.partition("?")
        values = dict(reversed(parse_qsl(query, keep_blank_values=True))) if query else {}
        return Request(head.method.decode("ascii"), target, unquote(path), values, headers, bytes(body), self)

    async def _next_event(self) -> object:
        while (event := self._parse()) is h11.NEED_DATA:
            self._h11.receive_data(bytes(await self._stream.receive_some(_RECEIVED_AT_ONCE)))
        return event

    def _parse(self) -> object:
        if self._h11.their_state is h11.IDLE:
            if self._may_skip_line and not self._has_skipped_line and not self._skip_line():
                return h11.NEED_DATA
            check_raw_head(self._h11.trailing_data[0])
        return self._h11.next_event()

    def _skip_line(self) -> bool:
        """Skip an empty line before a request, if there is one; return whether there is no half of one."""
        received, is_over = self._h11.trailing_data
        if received.startswith(_EMPTY_LINE):
            self._has_skipped_line = True
            self._h11 = _new_h11()
            if rest := received.removeprefix(_EMPTY_LINE):
                self._h11.receive_data(rest)
            if is_over:
                self._h11.receive_data(b"")  # its word for the end
        return is_over or received != _EMPTY_LINE[:1]

    async def _send(self, data: bytes) -> None:
        for start in range(0, len(data) or 1, _SENT_AT_ONCE):
            with self._hanging_up_on_a_lost_client():
                await self._stream.send_all(memoryview(data)[start : start + _SENT_AT_ONCE])

    @contextmanager
    def _hanging_up_on_a_lost_client(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._stall_timeout):
                yield
        except (*_GONE, trio.TooSlowError):
            self.client_is_gone = True
            raise HangUp from None

    async def _send_response(self, response: Response) -> None:
        headers = [*with_date(response.headers), ("Content-Length", str(len(response.body)))]
        head = self._h11.send(h11.Response(status_code=response.status, headers=headers))
        body = b"" if self._is_head else response.body[: response.cut_at]
        if body:
            self._h11.send_with_data_passthrough(h11.Data(data=body))  # which has no form: it is sent as is
        if response.cut_at is None:
            self._h11.send(h11.EndOfMessage())
        for data in (head, body) if len(body) > _COPIED else (head + body,):
            await self._send(data)
        if response.cut_at is not None:
            raise HangUp

    async def _send_stream(self, response: StreamResponse) -> None:
        hung_up = False
        try:
            head = h11.Response(status_code=response.status, headers=with_date(response.headers))
            await self._send(self._h11.send(head))
            if not self._is_head:
                hung_up = await self._send_pieces(response)
            if hung_up or self.client_is_gone:
                raise HangUp
            await self._send(self._h11.send(h11.EndOfMessage()))
        finally:
            response.finished.set()

    async def _send_pieces(self, response: StreamResponse) -> bool:
        """Send the body until it ends or the client goes; return whether it hung up itself."""
        hung_up = False
        async with trio.open_nursery() as nursery:

            async def send(piece: bytes) -> None:
                try:
                    await self._send(self._h11.send(h11.Data(data=piece)))
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
