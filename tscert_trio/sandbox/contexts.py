"""Go's contexts: who asked for a piece of work, and whether he still wants it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..http_server import Request

__all__ = ["BackgroundContext", "ContextError", "RequestContext"]


class ContextError(Exception):
    """``context canceled`` or ``context deadline exceeded``."""


@attrs.define(eq=False)
class RequestContext:
    """Ends when the client closes its side of the connection, or half of it."""

    request: Request

    async def sleep(self, seconds: float) -> None:
        """Wait, at most until the context ends.

        Raises:
            ContextError: it has ended.
        """
        with trio.move_on_after(seconds):
            await self.request.wait_until_gone()
        self.check()

    def check(self) -> None:
        """Raise :exc:`ContextError` if the context is known to have ended."""
        if self.request.is_gone:
            raise ContextError("context canceled")

    @asynccontextmanager
    async def holding(self, lock: trio.Lock) -> AsyncIterator[None]:
        """Hold a lock. As in tailscaled, a client that leaves goes on queueing."""
        try:
            lock.acquire_nowait()
        except trio.WouldBlock:
            await self._queue(lock)
        try:
            yield
        finally:
            lock.release()

    async def _queue(self, lock: trio.Lock) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.request.wait_until_gone)
            await lock.acquire()
            nursery.cancel_scope.cancel(reason="the lock is ours")


@attrs.define(eq=False)
class BackgroundContext:
    """Ends at its deadline only, if it has one."""

    deadline: float = math.inf
    """On Trio's clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait, at most until the context ends.

        Raises:
            ContextError: it has ended.
        """
        await trio.sleep_until(min(trio.current_time() + seconds, self.deadline))
        self.check()

    def check(self) -> None:
        """Raise :exc:`ContextError` if the context has ended."""
        if trio.current_time() >= self.deadline:
            raise ContextError("context deadline exceeded")

    @asynccontextmanager
    async def holding(self, lock: trio.Lock) -> AsyncIterator[None]:
        """Hold a lock."""
        async with lock:
            yield
