"""A Unix socket in front of tailscaled's that notes what goes through it."""

from __future__ import annotations

import contextlib
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CONNECTION_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@attrs.define(eq=False)
class Exchange:
    """One connection, which is one request."""

    target: str = ""
    """Such as ``/localapi/v0/status?peers=false``."""
    status: int | None = None
    """The HTTP status, once there is an answer."""
    began: float = attrs.field(factory=trio.current_time)
    answered: float = math.inf
    ended: float = math.inf

    @property
    def is_open(self) -> bool:
        """Whether client and server are connected."""
        return self.ended == math.inf


def most_at_once(exchanges: list[Exchange]) -> int:
    """Return how many of these were ever without an answer at once."""
    return max(sum(other.began <= one.began < other.answered for other in exchanges) for one in exchanges)


@attrs.define(eq=False)
class Wiretap:
    """What has gone through, oldest first."""

    socket_path: Path
    _upstream: Path
    exchanges: list[Exchange] = attrs.field(factory=list, init=False)

    def of(self, call: str) -> list[Exchange]:
        """Return the exchanges of one LocalAPI call, such as ``watch-ipn-bus`` or ``cert/a.tn.ts.net``."""
        return [
            exchange for exchange in self.exchanges if exchange.target.split("?")[0] == f"/localapi/v0/{call}"
        ]

    def open(self) -> list[Exchange]:
        """Return the exchanges under way."""
        return [exchange for exchange in self.exchanges if exchange.is_open]

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection, until the server has ended it or the client is gone."""
        exchange = Exchange()
        self.exchanges.append(exchange)
        try:
            async with client, await trio.open_unix_socket(str(self._upstream)) as server:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry_request, client, server, exchange)
                    await self._carry_answer(server, client, exchange)
                    nursery.cancel_scope.cancel()
        except OSError:
            pass  # tailscaled is not there: the client sees its connection end
        finally:
            exchange.ended = trio.current_time()

    async def _carry_request(
        self, client: trio.SocketStream, server: trio.SocketStream, exchange: Exchange
    ) -> None:
        with contextlib.suppress(*_CONNECTION_ENDED):
            async for data in client:
                if not exchange.target:  # the client sends the head as one piece
                    exchange.target = data.split(b" ")[1].decode()
                await server.send_all(data)
            await server.send_eof()

    async def _carry_answer(
        self, server: trio.SocketStream, client: trio.SocketStream, exchange: Exchange
    ) -> None:
        with contextlib.suppress(*_CONNECTION_ENDED):
            async for data in server:
                if exchange.status is None:
                    exchange.status = int(data.split(b" ")[1])
                    exchange.answered = trio.current_time()
                await client.send_all(data)


@contextlib.asynccontextmanager
async def open_wiretap(upstream: Path) -> AsyncIterator[Wiretap]:
    """Listen in front of ``upstream``, which may come and go, while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="ts") as folder:
        tap = Wiretap(Path(folder) / "s.sock", upstream)
        listening = trio.socket.socket(trio.socket.AF_UNIX)
        await listening.bind(str(tap.socket_path))
        listening.listen(64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, tap.serve, [trio.SocketListener(listening)])
            yield tap
            nursery.cancel_scope.cancel()
