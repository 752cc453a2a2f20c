"""The sandbox as a daemon: its doors, its bus, its states, its end and its return."""

from __future__ import annotations

import hashlib
import json
import socket
import tempfile
from datetime import timedelta
from pathlib import Path

import h11
import pytest
import trio
from conftest import EPOCH, A, B, virtual_clock
from raw_client import CutOffError, EndOfBusError, ask, ask_cert, open_exchange, watch

from tscert_trio.sandbox import VERSIONS, Fault, open_sandbox

API = "/localapi/v0/"
CONFIG = {"Web": {f"{A}:443": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:1?a&b"}}}}}


@pytest.fixture
async def sandbox():
    async with open_sandbox(cert_domains=[A, B], clock=virtual_clock) as sandbox:
        yield sandbox


async def api(sandbox, target, method="GET", **options):
    return await ask(sandbox.socket_path, f"{API}{target}", method, **options)


async def test_every_request_is_noted_in_order(autojump_clock, sandbox):
    await trio.sleep(5)
    await ask_cert(sandbox, A, "?type=pair&min_validity=1s")
    await api(sandbox, "status?peers=false")
    await ask(sandbox.socket_path, "/nonsense", "PUT")
    cert, status, nonsense = sandbox.calls
    assert cert.at == EPOCH + timedelta(seconds=5)
    assert (cert.method, cert.path, cert.domain) == ("GET", f"{API}cert/{A}", A)
    assert cert.target == f"{API}cert/{A}?type=pair&min_validity=1s"
    assert cert.query == {"type": "pair", "min_validity": "1s"}
    assert (status.path, status.domain, status.query) == (f"{API}status", None, {"peers": "false"})
    assert (nonsense.method, nonsense.path) == ("PUT", "/nonsense")


@pytest.mark.parametrize(
    "target", ["/", "/nonsense", f"{API}nonsense", f"{API}cert", f"{API}status/x", "/localapi/v1/status"]
)
async def test_what_does_not_exist(sandbox, target):
    answer = await ask(sandbox.socket_path, target)
    assert (answer.status, answer.text) == (404, "404 page not found")
    assert answer.headers["tailscale-cap"] == "148"


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "localhost")],
        [("Host", "local-tailscaled.sock:80")],
        [("Host", "local-tailscaled.sock"), ("Origin", "http://x")],
        [("Host", "local-tailscaled.sock"), ("Referer", "http://x")],
    ],
)
async def test_a_browser_is_refused(sandbox, headers):
    answer = await api(sandbox, "status", headers=headers)
    assert (answer.status, answer.text) == (403, "invalid localapi request")
    assert "tailscale-cap" not in answer.headers


async def test_an_empty_host_is_fine(sandbox):
    assert (await api(sandbox, "status", headers=[("Host", "")])).status == 200


async def test_status_tells_the_node(sandbox):
    status = (await api(sandbox, "status?peers=false")).json
    assert status["BackendState"] == "Running"
    assert status["Self"]["DNSName"] == f"{A}."
    assert status["MagicDNSSuffix"] == status["CurrentTailnet"]["MagicDNSSuffix"] == "tail1234.ts.net"
    assert status["CertDomains"] == [A, B]
    assert status["Peer"] is None


async def test_cert_domains_are_sorted_and_null_when_there_are_none(sandbox):
    sandbox.set_cert_domains([B, A])
    assert sandbox.cert_domains == (B, A)
    assert (await api(sandbox, "cert-domains")).body == f'["{A}","{B}"]\n'.encode()
    assert (await api(sandbox, "dns-config")).json["CertDomains"] == [B, A]
    sandbox.set_cert_domains([])
    assert (await api(sandbox, "cert-domains")).body == b"null\n"
    assert (await api(sandbox, "status?peers=false")).json["CertDomains"] is None
    sandbox.logout()
    assert (await api(sandbox, "dns-config")).status == 503


async def test_the_serve_config_and_its_etag(sandbox):
    for config, body in ((None, b"null"), (CONFIG, None), ({}, b"{}")):
        sandbox.set_serve_config(config)
        answer = await api(sandbox, "serve-config")
        assert answer.headers["etag"] == hashlib.sha256(answer.body).hexdigest()
        assert answer.json == config
        assert body in {None, answer.body}
    sandbox.set_serve_config(CONFIG)
    assert b"?a\\u0026b" in (await api(sandbox, "serve-config")).body  # as Go escapes it


async def test_posting_a_serve_config(sandbox):
    body = json.dumps(CONFIG).encode()
    etag = (await api(sandbox, "serve-config")).headers["etag"]
    host = ("Host", "local-tailscaled.sock")
    first = await api(sandbox, "serve-config", "POST", body=body, headers=[host, ("If-Match", etag)])
    assert (first.status, first.body) == (200, b"")
    assert (await api(sandbox, "serve-config")).json == CONFIG
    second = await api(sandbox, "serve-config", "POST", body=b"{}", headers=[host, ("If-Match", etag)])
    assert (second.status, second.text) == (412, "etag mismatch")
    assert (await api(sandbox, "serve-config", "POST", body=b"{}")).status == 200
    for bad in (b"{", b"[]"):
        answer = await api(sandbox, "serve-config", "POST", body=bad)
        assert (answer.status, answer.json["error"][:16]) == (500, "decoding config:")
    assert (await api(sandbox, "serve-config")).text == "{}"
    assert (await api(sandbox, "serve-config", "DELETE")).status == 405
    sandbox.set_permissions(write=False)
    assert (await api(sandbox, "serve-config", "POST", body=body)).status == 403


async def test_a_new_serve_config_is_echoed_on_the_bus_unless_told_not_to(sandbox):
    async with watch(sandbox) as bus:
        await bus.next()
        sandbox.set_serve_config(CONFIG, echo=False)
        sandbox.push({"State": 4})
        assert (await bus.next())["State"] == 4
        await api(sandbox, "serve-config", "POST", body=b"{}")
        assert "SelfChange" in await bus.next()


async def test_without_a_bit_for_it_there_is_no_first_message(sandbox):
    async with watch(sandbox, 16) as bus:
        sandbox.push({"SelfChange": {"ID": 7}})
        assert (await bus.next())["SelfChange"] == {"ID": 7}


async def test_the_first_message_may_have_the_prefs(sandbox):
    async with watch(sandbox, 4) as bus:
        assert (await bus.next())["Prefs"] == {"WantRunning": True, "LoggedOut": False}


async def test_every_message_has_the_old_fields_even_when_they_are_null():
    for release, has_netmap in {"1.86.5": True, "1.102.5": True, "1.104.5": False}.items():
        async with open_sandbox(release) as sandbox, watch(sandbox) as bus:
            raw = json.loads((await bus.exchange.event()).data)
            assert raw.keys() >= {"ErrMessage", "LoginFinished", "State", "Prefs", "Engine", "BrowseToURL"}
            assert ("NetMap" in raw) is has_netmap


async def test_the_bus_stays_through_logout_and_login(sandbox):
    async with watch(sandbox) as bus:
        await bus.next()
        sandbox.logout()
        assert [(await bus.next())["State"] for _ in range(3)] == [4, 0, 2]
        sandbox.set_cert_domains([A])  # without a netmap nobody hears of it
        sandbox.login()
        assert (await bus.next())["State"] == 5
        assert "SelfChange" in await bus.next()
        await bus.next()
        assert (await bus.next())["State"] == 6
    assert (await api(sandbox, "cert-domains")).json == [A]


async def test_certificates_are_to_be_had_while_it_is_down(sandbox):
    sandbox.down()
    assert (await api(sandbox, "status?peers=false")).json["BackendState"] == "Stopped"
    assert (await ask_cert(sandbox, A)).status == 200
    sandbox.up()
    assert (await api(sandbox, "status?peers=false")).json["BackendState"] == "Running"


async def test_a_message_may_get_lost(sandbox):
    async with watch(sandbox) as bus:
        await bus.next()
        sandbox.drop_next_message()
        sandbox.push({"State": 4})
        sandbox.push({"State": 5})
        assert (await bus.next())["State"] == 5


@pytest.mark.parametrize("release", VERSIONS)
async def test_a_watcher_that_does_not_read(autojump_clock, release):
    """Until 1.100 it loses messages silently; later it is told and cut off."""
    filler = b'"' + b"x" * 10_000 + b'"\n'  # so that the socket's buffer is full soon
    async with open_sandbox(release) as sandbox, watch(sandbox) as bus:
        await bus.next()
        for _ in range(900):
            sandbox.push(filler)
            await trio.lowlevel.checkpoint()
        if VERSIONS[release].ends_lagging_watch:
            received = 0
            while (event := await bus.exchange.event()) and isinstance(event, h11.Data):
                received += event.data.count(b"\n")
                last = bytes(event.data)
            assert received < 900
            assert json.loads(last)["ErrMessage"] == "IPN bus consumer fell behind; closing watch"
        else:
            received = await count_lines(bus)
            assert 128 <= received < 900
            sandbox.push({"State": 4})
            assert (await bus.next())["State"] == 4


async def count_lines(bus):
    """Return how many lines come until the stream pauses."""
    lines = 0
    while True:
        with trio.move_on_after(0.2) as waiting:
            lines += (await bus.exchange.event()).data.count(b"\n")
        if waiting.cancelled_caught:
            return lines


async def test_a_clean_stop_ends_the_bus_and_takes_the_socket_away(sandbox):
    async with watch(sandbox) as bus:
        await bus.next()
        await sandbox.stop()
        with pytest.raises(EndOfBusError):
            await bus.next()
    assert not sandbox.is_running
    assert not sandbox.socket_path.exists()
    await sandbox.stop()  # once more changes nothing
    await sandbox.start()
    await sandbox.start()
    assert (await api(sandbox, "status")).status == 200


async def test_a_killed_daemon_leaves_its_socket_and_cuts_its_streams(sandbox):
    async with watch(sandbox) as bus:
        await bus.next()
        await sandbox.stop(killed=True)
        with pytest.raises(CutOffError):
            await bus.next()
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(sandbox.socket_path))
    await sandbox.start()
    assert (await api(sandbox, "status")).status == 200


async def test_a_stop_does_not_wait_for_what_hangs_nor_for_a_client_that_does_not_read(
    autojump_clock, sandbox
):
    sandbox.add_fault(Fault.hang())
    async with watch(sandbox) as bus, open_exchange(sandbox.socket_path) as exchange:
        await exchange.send("GET", f"{API}cert/{A}")
        await bus.next()
        sandbox.push(b"x" * 10_000_000)
        await trio.sleep(1)
        await sandbox.stop()
        assert trio.current_time() == 2
        with pytest.raises(CutOffError):
            await exchange.answer()


async def test_a_restart_keeps_certificates_and_authority(sandbox):
    before = (await ask_cert(sandbox, A)).body
    root = sandbox.root_pem
    await sandbox.stop()
    await sandbox.start()
    assert (await ask_cert(sandbox, A)).body == before
    assert sandbox.root_pem == root
    assert len(sandbox.orders) == 1


async def test_after_a_start_there_may_be_no_netmap_for_a_while(autojump_clock, sandbox):
    await sandbox.stop()
    await sandbox.start(no_netmap_for=2)
    assert (await ask_cert(sandbox, A)).text == "no netmap available"
    assert (await api(sandbox, "status?peers=false")).json["BackendState"] == "NoState"
    async with watch(sandbox) as bus:
        assert [(await bus.next()).get("State") for _ in range(5)] == [0, 5, None, None, 6]
    assert trio.current_time() == 2
    assert (await ask_cert(sandbox, A)).status == 200


async def test_it_listens_where_it_is_told_and_leaves_nothing_behind():
    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:
        path = Path(folder) / "s"
        async with open_sandbox(socket_path=path) as sandbox:
            assert sandbox.socket_path == path
            assert (await api(sandbox, "status")).status == 200
        assert not path.exists()
    async with open_sandbox() as sandbox:
        assert sandbox.socket_path.is_socket()
    assert not sandbox.socket_path.parent.exists()


async def test_an_error_in_the_body_comes_out_bare():
    with pytest.raises(ZeroDivisionError):
        async with open_sandbox():
            raise ZeroDivisionError


async def test_a_socket_that_cannot_be_bound_is_an_os_error():
    with pytest.raises(FileNotFoundError):
        async with open_sandbox(socket_path="/nonexistent/s"):
            pass


async def test_two_sandboxes_live_side_by_side():
    async with open_sandbox("1.86.5") as one, open_sandbox("1.104.5") as two:
        assert (await api(one, "cert-domains")).status == 404
        assert (await api(two, "cert-domains")).status == 200


async def test_no_key_is_shown_by_any_repr(sandbox):
    await ask_cert(sandbox, A)
    shown = repr([vars(sandbox) if hasattr(sandbox, "__dict__") else sandbox, sandbox.calls, sandbox.orders])
    assert "PRIVATE" not in shown + repr(sandbox._certs) + repr(sandbox._certs.stored)
