"""Scripting the sandbox from another process, over its own socket."""

from __future__ import annotations

import json

import pytest
import trio
from conftest import A, B, virtual_clock
from raw_client import EndOfBusError, ask, ask_cert, watch

from tscert_trio.sandbox import open_sandbox


@pytest.fixture
async def sandbox():
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        yield sandbox


async def admin(sandbox, method, path, value=None):
    """Do one thing, as curl would, which says ``Host: localhost``."""
    body = b"" if value is None else json.dumps(value).encode()
    return await ask(
        sandbox.socket_path, f"/sandbox/v0/{path}", method, headers=[("Host", "localhost")], body=body
    )


async def test_cert_domains_and_serve_config_are_replaced(sandbox):
    assert (await admin(sandbox, "PUT", "cert-domains", [A, B])).text == "null"
    assert sandbox.cert_domains == (A, B)
    await admin(sandbox, "PUT", "serve-config", {"Web": {}})
    assert (await ask(sandbox.socket_path, "/localapi/v0/serve-config")).json == {"Web": {}}


async def test_faults_come_and_go(sandbox):
    await admin(sandbox, "POST", "faults", {"kind": "error", "at": "set-dns", "text": "no DNS today"})
    assert (await ask_cert(sandbox, A)).text.endswith("no DNS today")
    await admin(sandbox, "DELETE", "faults")
    assert (await ask_cert(sandbox, A)).status == 200


async def test_calls_and_orders_are_listed_without_those_of_the_admin(autojump_clock, sandbox):
    await ask_cert(sandbox, A)
    (call,) = (await admin(sandbox, "GET", "calls")).json
    (order,) = (await admin(sandbox, "GET", "orders")).json
    assert (call["domain"], call["at"][:19]) == (A, "2026-01-01T00:00:00")
    assert (order["domain"], order["refused"]) == (A, None)


async def test_an_ari_window_is_set(autojump_clock, sandbox):
    window = {"domain": A, "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    await admin(sandbox, "POST", "ari-window", window)
    for _ in range(3):
        await ask_cert(sandbox, A)
        await trio.sleep(1)
    assert len(sandbox.orders) == 2


async def test_the_ca_and_the_way_to_it_are_taken_away_and_given_back(sandbox):
    await admin(sandbox, "PUT", "egress-shut", {"shut": True})
    assert "i/o timeout" in (await ask_cert(sandbox, A)).text
    await admin(sandbox, "PUT", "egress-shut", {"shut": False})
    await admin(sandbox, "PUT", "ca-away", {"away": True})
    assert (await ask(sandbox.ca_socket_path, "/directory")).status == 503
    await admin(sandbox, "PUT", "ca-away", {"away": False})
    assert (await ask_cert(sandbox, A)).status == 200


async def test_the_bus_is_scripted(sandbox):
    async with watch(sandbox) as bus:
        await bus.next()
        await admin(sandbox, "POST", "drop-next-message")
        await admin(sandbox, "POST", "push", {"State": 4})
        await admin(sandbox, "POST", "push", {"State": 5})
        assert (await bus.next())["State"] == 5
        await admin(sandbox, "POST", "logout")
        assert [(await bus.next())["State"] for _ in range(3)] == [4, 0, 2]
        await admin(sandbox, "POST", "login")
        assert (await bus.next())["State"] == 5
        for _ in range(3):
            await bus.next()
        await admin(sandbox, "POST", "drop-watchers", {"clean": True})
        with pytest.raises(EndOfBusError):
            await bus.next()


@pytest.mark.parametrize("killed", [False, True])
async def test_it_stops_and_starts_again_after_it_has_answered(autojump_clock, sandbox, killed):
    assert (await admin(sandbox, "POST", "stop", {"killed": killed, "seconds": 5})).status == 200
    await trio.sleep(1)
    assert not sandbox.is_running
    assert sandbox.socket_path.exists() is killed
    await trio.sleep(5)
    assert (await ask_cert(sandbox, A)).status == 200


async def test_it_stops_for_good(autojump_clock, sandbox):
    await admin(sandbox, "POST", "stop")
    await trio.sleep(1000)
    assert not sandbox.is_running


@pytest.mark.parametrize(
    ("method", "path", "value", "status"),
    [
        ("GET", "nonsense", None, 404),
        ("GET", "faults", None, 404),
        ("POST", "faults", {"kind": "earthquake"}, 400),
        ("POST", "faults", [], 400),
        ("PUT", "cert-domains", 7, 400),
        ("PUT", "serve-config", 7, 400),
        ("POST", "ari-window", {"domain": A}, 400),
        ("POST", "ari-window", {"domain": A, "start": "soon", "end": "later"}, 400),
        ("PUT", "ca-away", {}, 400),
        ("PUT", "egress-shut", [], 400),
        ("POST", "stop", [], 400),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(sandbox, method, path, value, status):
    assert (await admin(sandbox, method, path, value)).status == status
    assert sandbox.cert_domains == (A,)
    assert (await ask_cert(sandbox, A)).status == 200
