"""Malformed requests by the thousand, and hundreds of slow clients: the HTTP server minds none of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import trio
from http_fuzz import GOOD, STALL_TIMEOUT, MemoryListener, connections, fine, fuzz
from raw_client import ask
from trio.testing import wait_all_tasks_blocked

from tscert_trio.http_server import Response, serve_http
from tscert_trio.unix_listener import open_unix_listener

SLOW_CLIENTS = 500
SLOWLY = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 100


@pytest.mark.parametrize("seed", range(4))
async def test_malformed_requests_are_answered_or_cut_off_and_harm_nobody(autojump_clock, seed):
    await fuzz(seed, 5_000)


async def dribble(stream):
    """Send a byte every five seconds until the server has had enough."""
    try:
        for byte in SLOWLY:
            await stream.send_all(bytes([byte]))
            await trio.sleep(5)
    except trio.BrokenResourceError:
        return
    raise AssertionError("nobody has cut off a client this slow")


async def test_hundreds_of_slow_clients_delay_nobody_and_are_gone_in_time(autojump_clock):
    slow, honest = MemoryListener(), MemoryListener()
    async with trio.open_nursery() as nursery, trio.open_nursery() as clients:
        nursery.start_soon(lambda: serve_http(fine, [slow, honest], stall_timeout=STALL_TIMEOUT))
        for _ in range(SLOW_CLIENTS):
            clients.start_soon(dribble, slow.connect())
        for second in range(STALL_TIMEOUT):
            await trio.sleep_until(second)
            await wait_all_tasks_blocked()
            assert connections(nursery) == SLOW_CLIENTS
            client = honest.connect()
            await client.send_all(GOOD[0])
            assert (await client.receive_some()).endswith(b"fine\n")
            await client.aclose()
            assert trio.current_time() == second
        await trio.sleep_until(STALL_TIMEOUT + 0.1)
        assert connections(nursery) == 0
        clients.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def test_slow_clients_that_take_every_place_do_not_keep_an_honest_one_out(autojump_clock):
    async def answer(request):
        return Response(body=b"fine\n")

    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:
        path = Path(folder) / "s"
        async with open_unix_listener(path) as listener, trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: serve_http(answer, [listener], stall_timeout=STALL_TIMEOUT, max_connections=20)
            )
            async with trio.open_nursery() as clients:

                async def come_again():
                    while True:
                        async with await trio.open_unix_socket(str(path)) as stream:
                            await dribble(stream)

                for _ in range(SLOW_CLIENTS):
                    clients.start_soon(come_again)
                for second in range(60):
                    await trio.sleep_until(second)
                    assert (await ask(path, "/")).body == b"fine\n"
                    assert trio.current_time() == second
                clients.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
