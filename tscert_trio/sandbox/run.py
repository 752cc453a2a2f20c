"""A daemon that listens, from its start to the stop after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from ..http_server import Request, Response, StreamResponse, serve_http
from ..unix_listener import bind_unix_listener

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Run"]


@attrs.define(eq=False)
class Run:
    """One run of a daemon."""

    _cancel_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def serve(
        self,
        socket_path: Path,
        handler: Callable[[Request], Awaitable[Response | StreamResponse]],
        begin: Callable[[trio.Nursery], None],
        task_status: trio.TaskStatus[Run] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until stopped.

        Args:
            socket_path: where.
            handler: answers requests.
            begin: given a nursery for what else belongs to the run.
            task_status: told this run when it listens.
        """
        listener = bind_unix_listener(socket_path)
        try:
            with self._cancel_scope:
                async with trio.open_nursery() as nursery:
                    begin(nursery)
                    await nursery.start(serve_http, handler, [listener])
                    task_status.started(self)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End everything of this run at once, and wait for that."""
        self._cancel_scope.cancel(reason="the sandbox was stopped")
        await self._ended.wait()
