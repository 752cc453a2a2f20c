"""Who is served: a task for each connection, and who makes room when there are too many."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from .connection import Connection
from .heads import MAX_BODY
from .messages import HangUp, Request, Response, StreamResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Handler", "serve_http"]

_MAX_TURNED_AWAY = 16

Handler: TypeAlias = Callable[[Request], Awaitable[Response | StreamResponse]]


async def serve_http(
    handler: Handler,
    listeners: Sequence[trio.SocketListener],
    *,
    stall_timeout: float = math.inf,
    max_connections: int | None = None,
    max_body: int = MAX_BODY,
    may_skip_line: bool = False,
    on_bug: Callable[[Exception], None] | None = None,
    task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, then close the listeners and every connection at once.

    Args:
        handler: answers one request. It is not cancelled when the client goes, only when another takes its
            place.
        listeners: where connections come from.
        stall_timeout: seconds that a client may take to send a request, counted from the end of its last
            one, and seconds that it may take for each 256 KiB begun of an answer or of a piece of it.
        max_connections: how many connections there may be at once on all listeners. When one more comes, the
            one that has waited longest for a request is closed in its favour: an idle one, or one whose
            client is slow to ask; else the one that has been answered longest, whose client is slow to read.
            When all are streams, the new one gets a 503 that says when to try again. A few more are open
            for at most a second while they get that. None is no limit.
        max_body: how many bytes of a request's body are taken.
        may_skip_line: whether one empty line before a request is no part of it (RFC 9112, section 2.2); Go
            refuses it.
        on_bug: told what a handler raised, which then ends its connection only; by default it ends all.
        task_status: told the listeners at once.
    """
    server = _Server(
        handler,
        stall_timeout,
        max_body,
        may_skip_line,
        on_bug,
        _Places(math.inf if max_connections is None else max_connections),
        _Places(_MAX_TURNED_AWAY),
    )
    await trio.serve_listeners(server.serve, list(listeners), task_status=task_status)


@attrs.define(eq=False)
class _Places:
    """Places for connections; a new one gets that of who has waited, or has been answered, longest."""

    _limit: float
    _taken: set[Connection] = attrs.field(factory=set)
    _waiting: dict[Connection, trio.CancelScope] = attrs.field(factory=dict)  # longest first
    _answered: dict[Connection, trio.CancelScope] = attrs.field(factory=dict)  # longest first

    def take(self, connection: Connection) -> bool:
        """Take a place, if need be another's; return whether there was one."""
        if len(self._taken) >= self._limit:
            if not (others := self._waiting or self._answered):
                return False
            longest, scope = next(iter(others.items()))
            self.leave(longest)
            scope.cancel(reason="another connection needs the place")
        self._taken.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Free a place, unless it has been taken away already."""
        self._taken.discard(connection)
        self._waiting.pop(connection, None)
        self._answered.pop(connection, None)

    def waiting(self, connection: Connection) -> AbstractContextManager[trio.CancelScope]:
        """Wait for a request; the place may be taken away meanwhile, by cancelling this scope."""
        return self._lending(connection, self._waiting)

    def answered(self, connection: Connection) -> AbstractContextManager[trio.CancelScope]:
        """Answer a request; else as :meth:`waiting`, and where nobody waits."""
        return self._lending(connection, self._answered)

    @contextmanager
    def _lending(
        self, connection: Connection, lenders: dict[Connection, trio.CancelScope]
    ) -> Iterator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            lenders[connection] = scope
            try:
                yield scope
            finally:
                lenders.pop(connection, None)


@attrs.define(eq=False)
class _Server:
    _handler: Handler
    _stall_timeout: float
    _max_body: int
    _may_skip_line: bool
    _on_bug: Callable[[Exception], None] | None
    _places: _Places
    _turned_away: _Places

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        async with stream:
            connection = Connection(stream, self._stall_timeout, self._max_body, self._may_skip_line)
            has_place = self._places.take(connection)
            try:
                with contextlib.suppress(HangUp):
                    await (self._converse(connection) if has_place else self._turn_away(connection))
            except Exception as exc:
                if self._on_bug is None:
                    raise
                self._on_bug(exc)
            finally:
                self._places.leave(connection)
                self._turned_away.leave(connection)

    async def _converse(self, connection: Connection) -> None:
        may_go_on = True
        while may_go_on and (request := await self._next_request(connection)):
            may_go_on = await self._answer(connection, request)

    async def _answer(self, connection: Connection, request: Request) -> bool:
        """Answer a request; return whether another may follow."""
        response = None
        with self._places.answered(connection) as scope:
            response = await self._handler(request)
            if isinstance(response, Response):
                return await connection.answer(response)
        if not isinstance(response, StreamResponse):
            return False  # another needed the place
        if scope.cancel_called:
            response.finished.set()
            return False
        return await connection.answer(response)

    async def _next_request(self, connection: Connection) -> Request | None:
        request = None
        with self._places.waiting(connection) as scope:
            request = await connection.receive_request()
        return None if scope.cancel_called else request  # which may have come just before

    async def _turn_away(self, connection: Connection) -> None:
        self._turned_away.take(connection)
        with self._turned_away.waiting(connection):
            await connection.refuse(503, "too many connections, try again", [("Retry-After", "1")])
