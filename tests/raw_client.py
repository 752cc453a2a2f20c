"""Plain HTTP over a Unix socket, on h11: what a test of a server needs, and none of our own client."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

HOST = ("Host", "local-tailscaled.sock")


class CutOffError(Exception):
    """The answer ended before it was whole."""


@attrs.frozen
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body without its line feed."""
        return self.body.decode().removesuffix("\n")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define(eq=False)
class Exchange:
    """A request that was sent, and its answer as it comes."""

    stream: trio.SocketStream
    _h11: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    async def send(
        self, method: str, target: str, headers: Iterable[tuple[str, str]] = (HOST,), body: bytes = b""
    ) -> None:
        head = [*headers, ("Content-Length", str(len(body)))] if body else list(headers)
        data = self._h11.send(h11.Request(method=method, target=target, headers=head))
        data += self._h11.send(h11.Data(data=body)) if body else b""
        await self.stream.send_all(data + self._h11.send(h11.EndOfMessage()))

    async def event(self) -> Any:
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                self._h11.receive_data(await self.stream.receive_some(65536))
        except (h11.RemoteProtocolError, trio.BrokenResourceError) as exc:
            raise CutOffError(str(exc)) from None
        if isinstance(event, h11.ConnectionClosed):
            raise CutOffError("nothing was answered")
        return event

    async def answer(self) -> Answer:
        head, body = await self.event(), b""
        while isinstance(event := await self.event(), h11.Data):
            body += event.data
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, headers, body)

    def start_next(self) -> None:
        self._h11.start_next_cycle()


@asynccontextmanager
async def open_exchange(socket_path: Path) -> AsyncIterator[Exchange]:
    async with await trio.open_unix_socket(str(socket_path)) as stream:
        yield Exchange(stream)


async def ask(socket_path: Path, target: str, method: str = "GET", **options: Any) -> Answer:
    """Send one request and return its answer."""
    async with open_exchange(socket_path) as exchange:
        await exchange.send(method, target, **options)
        return await exchange.answer()


async def ask_cert(sandbox: Any, domain: str, query: str = "") -> Answer:
    return await ask(sandbox.socket_path, f"/localapi/v0/cert/{domain}{query}")


@attrs.define(eq=False)
class BusReader:
    """The messages of ``watch-ipn-bus``."""

    exchange: Exchange

    async def next(self) -> dict[str, Any]:
        """Return the next message without its empty fields; its clean end is an `EndOfBusError`."""
        text = b""
        while not text.endswith(b"\n"):
            event = await self.exchange.event()
            if isinstance(event, h11.EndOfMessage):
                raise EndOfBusError
            text += event.data
        return {name: value for name, value in json.loads(text).items() if value is not None}


class EndOfBusError(Exception):
    """The stream ended with its last chunk."""


@asynccontextmanager
async def watch(sandbox: Any, mask: int = 18) -> AsyncIterator[BusReader]:
    async with open_exchange(sandbox.socket_path) as exchange:
        await exchange.send("GET", f"/localapi/v0/watch-ipn-bus?mask={mask}")
        head = await exchange.event()
        assert (head.status_code, dict(head.headers)[b"content-type"]) == (200, b"application/json")
        yield BusReader(exchange)
