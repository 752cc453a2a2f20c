"""Clients that say malformed things to an HTTP server, or are slow; many, since they need no sockets."""

from __future__ import annotations

import random
import re

import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tscert_trio.http_server import Request, Response, serve_http

STALL_TIMEOUT = 30
LINGERING = 1

GOOD = (
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /domains/a%20b?x=1&y=%ff HTTP/1.1\r\nHost: localhost:9410\r\nAccept: */*\r\nCookie: a=b\r\n\r\n",
    b"GET http://h:80/metrics?x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD /livez HTTP/1.0\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /renew HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: t\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
)
TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b"\r\n ", b":", b",", b"%", b"%00", b"%c3%28"),
    *(b"\xff", b"*", b"http://evil/", b"CONNECT ", b"HEAD ", b"HTTP/0.9", b"HTTP/2.0", b"/../", b"//", b"?"),
    *(b"\r\nHost: evil", b"\r\nContent-Length: 0", b"\r\nContent-Length: 1, 1", b"\r\nContent-Length: -1"),
    *(b"\r\nContent-Length: 99999999999999999999", b"\r\nTransfer-Encoding: chunked"),
    *(b"\r\nTransfer-Encoding: x", b"\r\nExpect: 100-continue", b"\r\nConnection: upgrade\r\nUpgrade: h2c"),
    *(b"\r\nX: " + b" " * 5000 + b"\x01", b"x" * 20_000, b"\r\nA: b" * 2000),
)  # fmt: skip
REFUSALS = {400, 411, 413, 431, 501, 505}
ANSWER = re.compile(
    rb"HTTP/1\.1 (?:(100) \r\n\r\n"
    rb"|(\d{3}) \r\n(?:[A-Z][A-Za-z-]*: [^\r\n]+\r\n)+\r\n(?:[ -~]+\n)?)"  # one line, or none after a HEAD
)


def flip(rng, data):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def truncate(rng, data):
    return data[: rng.randrange(len(data)) + 1]


def insert(rng, data):
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(TOKENS) + data[at:]


def remove(rng, data):
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 6) :] or b"x"


def repeat(rng, data):
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    return b"\r\n".join([*lines[:at], *[lines[at]] * rng.choice((2, 3, 50)), *lines[at:]])


def follow(rng, data):
    return data + rng.choice(GOOD)


MUTATIONS = (flip, flip, truncate, insert, insert, remove, repeat, follow)


def malformed(rng):
    """Return what a client might send: mostly a good request that was damaged, sometimes noise."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(1, 300))
    data = rng.choice(GOOD)
    for _ in range(rng.randrange(1, 5)):
        data = rng.choice(MUTATIONS)(rng, data)
    return data


def check(sent, received):
    """Check that this is nothing or a row of whole answers, of which only the last refuses."""
    statuses, end = [], 0
    while match := ANSWER.match(received, end):
        statuses.append(int(match[1] or match[2]))
        end = match.end()
    assert end == len(received), (sent, received)
    assert set(statuses[:-1]) <= {100, 200}, (sent, received)
    assert not statuses or statuses[-1] in REFUSALS | {100, 200}, (sent, received)


class Scripted(trio.abc.HalfCloseableStream):
    """The server's end of a connection whose client says these pieces, and then leaves or stalls."""

    def __init__(self, pieces, *, stalls, on_close):
        self.pieces, self.stalls, self.on_close = list(reversed(pieces)), stalls, on_close
        self.received, self.opened = b"", trio.current_time()

    async def receive_some(self, max_bytes=None):
        await trio.lowlevel.checkpoint()
        if not self.pieces and self.stalls:
            await trio.sleep_forever()
        piece = self.pieces.pop() if self.pieces else b""
        if len(piece) > max_bytes:
            self.pieces.append(piece[max_bytes:])
        return piece[:max_bytes]

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        self.received += data

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def send_eof(self):
        await trio.lowlevel.checkpoint()

    async def aclose(self):
        on_close, self.on_close = self.on_close, lambda _: None
        on_close(self)
        await trio.lowlevel.checkpoint()


class Crowd(trio.abc.Listener):
    """Clients that say malformed things, fifty at a time."""

    def __init__(self, rng, count):
        self.rng, self.to_come, self.to_go = rng, count, count
        self.places, self.all_gone = trio.Semaphore(50), trio.Event()

    async def accept(self):
        await self.places.acquire()
        if not self.to_come:
            await trio.sleep_forever()
        self.to_come -= 1
        sent = malformed(self.rng)
        cut = self.rng.randrange(len(sent))
        pieces = [piece for piece in (sent[:cut], sent[cut:]) if piece]

        def on_close(stream):
            check(sent, stream.received)
            assert trio.current_time() - stream.opened <= STALL_TIMEOUT + LINGERING, sent
            self.places.release()
            self.to_go -= 1
            if not self.to_go:
                self.all_gone.set()

        return Scripted(pieces, stalls=self.rng.random() < 0.1, on_close=on_close)

    async def aclose(self):
        await trio.lowlevel.checkpoint()


class MemoryListener(trio.abc.Listener):
    """Connections without sockets, so that no limit on open files is met."""

    def __init__(self):
        self.sender, self.receiver = trio.open_memory_channel(1000)

    def connect(self):
        ours, theirs = memory_stream_pair()
        self.sender.send_nowait(theirs)
        return ours

    async def accept(self):
        return await self.receiver.receive()

    async def aclose(self):
        await trio.lowlevel.checkpoint()


async def fine(request: Request) -> Response:
    assert request.path.startswith("/")
    assert request.peer_uid is None
    assert not request.is_local
    return Response(body=b"fine\n")


def connections(nursery):
    """Return how many connections the one server in this nursery has."""
    (server,) = nursery.child_tasks
    (tasks,) = server.child_nurseries
    return len(tasks.child_tasks) - 2  # the listeners


async def fuzz(seed, count):
    """Serve that many malformed requests, and then a good one."""
    crowd, honest = Crowd(random.Random(seed), count), MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_http(
                fine,
                [crowd, honest],
                stall_timeout=STALL_TIMEOUT,
                may_skip_line=bool(seed % 2),
                task_status=task_status,
            )
        )
        await crowd.all_gone.wait()
        await wait_all_tasks_blocked()
        assert connections(nursery) == 0
        client = honest.connect()
        await client.send_all(GOOD[0])
        assert (await client.receive_some()).endswith(b"\r\n\r\nfine\n")
        nursery.cancel_scope.cancel()
