"""The sandbox's CA on its own socket, and what tailscaled does while the CA is not there."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from conftest import EPOCH, A, B, virtual_clock
from raw_client import CutOffError, ask, ask_cert, open_exchange

from tscert_trio import RenewalInfoClient
from tscert_trio.certificate import CertChain
from tscert_trio.sandbox import VERSIONS, Fault, Stage, open_sandbox

DAY = 86400
AWAY = (
    "503 urn:ietf:params:acme:error:serverInternal: The service is down for maintenance or had an internal "
    "error. Check https://letsencrypt.status.io/ for more details."
)
DIAL = "dial tcp: lookup acme-v02.api.letsencrypt.org: i/o timeout"


@pytest.fixture(params=VERSIONS)
async def sandbox(request):
    """A sandbox of each release."""
    async with open_sandbox(request.param, cert_domains=[A, B], clock=virtual_clock) as sandbox:
        yield sandbox


@pytest.fixture
async def newest():
    """The newest release."""
    async with open_sandbox(cert_domains=[A, B], clock=virtual_clock) as sandbox:
        yield sandbox


async def ask_ca(sandbox, path, method="GET"):
    return await ask(sandbox.ca_socket_path, path, method, headers=[("Host", "ca.sandbox")])


async def ask_when_to_renew(sandbox, domain=A):
    return await ask_ca(sandbox, f"/renewal-info/{sandbox.certificate(domain).ari_id}")


async def half_close_after(sandbox, seconds, domain=A, query=""):
    async with open_exchange(sandbox.socket_path) as exchange:
        await exchange.send("GET", f"/localapi/v0/cert/{domain}{query}")
        await trio.sleep(seconds)
        await exchange.stream.send_eof()
        return await exchange.answer()


async def test_the_directory_says_where_renewal_information_is(newest):
    assert newest.directory_url == "http://ca.sandbox/directory"
    answer = await ask_ca(newest, "/directory")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "newOrder": "http://ca.sandbox/new-order",
        "renewalInfo": "http://ca.sandbox/renewal-info",
    }


async def test_the_identifier_of_a_certificate_is_the_one_that_is_read_from_it(newest):
    """Also where the first bit of the serial number's last octet is set."""
    for _ in range(20):
        chain = CertChain.from_pem((await ask_cert(newest, A, "?min_validity=9999h")).body)
        assert newest.certificate(A) == chain.leaf
        assert newest.certificate(A).ari_id is not None


async def test_the_ca_asks_for_renewal_round_two_thirds_of_the_life(autojump_clock, newest):
    await ask_cert(newest, A)
    answer = await ask_when_to_renew(newest)
    assert (answer.status, answer.headers["retry-after"]) == (200, "21600")
    window = {"start": "2026-02-28T12:00:00Z", "end": "2026-03-03T12:00:00Z"}  # days 58.5 and 61.5
    assert answer.json == {"suggestedWindow": window}


async def test_a_window_that_was_set_is_told_of_the_present_certificate_only(autojump_clock, newest):
    await ask_cert(newest, A)
    old = newest.certificate(A).ari_id
    start, end = EPOCH - timedelta(days=2), EPOCH - timedelta(days=1)
    newest.set_ari_window(A, start, end, "https://ca.sandbox/incident")
    assert (await ask_when_to_renew(newest)).json == {
        "suggestedWindow": {"start": "2025-12-30T00:00:00Z", "end": "2025-12-31T00:00:00Z"},
        "explanationURL": "https://ca.sandbox/incident",
    }
    await ask_cert(newest, A, "?min_validity=9999h")
    newest.set_ari_window(A, start, end)
    assert (await ask_when_to_renew(newest)).json["suggestedWindow"]["end"] == "2025-12-31T00:00:00Z"
    of_the_old = (await ask_ca(newest, f"/renewal-info/{old}")).json
    assert of_the_old["suggestedWindow"]["end"] == "2026-03-03T12:00:00Z"


async def test_the_ca_says_when_it_wants_to_be_asked_again():
    async with open_sandbox(cert_domains=[A], clock=virtual_clock, ari_retry_after=60) as sandbox:
        await ask_cert(sandbox, A)
        assert (await ask_when_to_renew(sandbox)).headers["retry-after"] == "60"


async def test_what_the_ca_does_not_have(newest):
    answer = await ask_ca(newest, "/renewal-info/abc.def")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json["type"] == "urn:ietf:params:acme:error:malformed"
    assert (await ask_ca(newest, "/nonsense")).status == 404
    assert (await ask_ca(newest, "/directory", "POST")).status == 405


async def test_what_the_ca_is_asked_is_noted_answered_or_not(autojump_clock, newest):
    await ask_cert(newest, A)
    await ask_when_to_renew(newest)
    await trio.sleep(10)
    newest.set_ca_away()
    await ask_ca(newest, "/renewal-info/abc.def")
    newest.set_egress_shut()
    with pytest.raises(CutOffError):
        await ask_ca(newest, "/directory")
    assert newest.renewal_info_calls == [(EPOCH, A), (EPOCH + timedelta(seconds=10), None)]
    assert newest.directory_calls == [EPOCH + timedelta(seconds=10)]


async def test_the_ca_is_there_while_tailscaled_is_stopped_and_until_the_sandbox_is_closed():
    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:
        path = Path(folder) / "tailscaled.sock"
        async with open_sandbox(socket_path=path) as sandbox:
            assert sandbox.ca_socket_path == Path(folder) / "tailscaled.ca.sock"
            await sandbox.stop()
            assert (await ask_ca(sandbox, "/directory")).status == 200
        assert list(Path(folder).iterdir()) == []
    async with open_sandbox() as sandbox:
        assert sandbox.ca_socket_path == sandbox.socket_path.parent / "ca.sock"


async def test_a_ca_that_is_away_hangs_an_issuance_until_its_client_leaves(autojump_clock, sandbox):
    sandbox.set_ca_away()
    answer = await half_close_after(sandbox, 300)
    assert (answer.status, answer.text, trio.current_time()) == (500, f"acme.Register: {AWAY}", 300)
    assert sandbox.orders == []


async def test_a_ca_that_comes_back_is_found_at_the_next_try(autojump_clock, newest):
    newest.set_ca_away()
    async with trio.open_nursery() as nursery:

        async def come_back():
            await trio.sleep(20)
            newest.set_ca_away(False)

        nursery.start_soon(come_back)
        assert (await ask_cert(newest, A)).status == 200
    assert trio.current_time() == 25  # after 1, 2, 4, 8 and 10 s


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (Stage.ORDER, AWAY),
        (Stage.SET_DNS, f"Accept: {AWAY}"),
        (Stage.VALIDATE, f"CreateOrder: {AWAY}"),
    ],
)
async def test_a_ca_that_goes_away_in_the_middle_hangs_the_next_step(autojump_clock, newest, stage, text):
    newest.add_fault(Fault.delay(60, at=stage))
    if stage is Stage.ORDER:
        newest.clear_faults()
        newest.add_fault(Fault.rate_limited(retry_after=60))
    async with trio.open_nursery() as nursery:

        async def go_away():
            await trio.sleep(30)
            newest.set_ca_away()

        nursery.start_soon(go_away)
        answer = await half_close_after(newest, 300)
    assert (answer.status, answer.text) == (500, text)


async def test_a_fault_waits_until_the_ca_is_back(autojump_clock, newest):
    newest.set_ca_away()
    newest.add_fault(Fault.problem("caa", "forbidden", count=1))
    await half_close_after(newest, 10)
    newest.set_ca_away(False)
    assert (await ask_cert(newest, A)).text.endswith("caa: forbidden")


async def test_a_ca_that_is_away_says_so_on_its_socket_too(newest):
    newest.set_ca_away()
    for path in ("/directory", "/renewal-info/abc.def", "/nonsense"):
        answer = await ask_ca(newest, path)
        assert (answer.status, answer.json["type"]) == (503, "urn:ietf:params:acme:error:serverInternal")


@pytest.mark.parametrize("has_account", [False, True])
async def test_behind_a_shut_firewall_an_issuance_fails_at_once(autojump_clock, sandbox, has_account):
    if has_account:
        await ask_cert(sandbox, B)
    orders = len(sandbox.orders)
    sandbox.set_egress_shut()
    sandbox.add_fault(Fault.control("no DNS today"))
    answer = await ask_cert(sandbox, A)
    step = "acme.GetReg" if has_account else "acme.Register"
    text = f'{step}: Get "https://acme-v02.api.letsencrypt.org/directory": {DIAL}'
    assert (answer.status, answer.text, trio.current_time()) == (500, text, 0)
    assert len(sandbox.orders) == orders
    with pytest.raises(CutOffError):
        await ask_ca(sandbox, "/directory")
    sandbox.set_egress_shut(False)
    sandbox.clear_faults()
    assert (await ask_cert(sandbox, A)).status == 200


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (Stage.ORDER, f'Post "https://acme-v02.api.letsencrypt.org/acme/new-order": {DIAL}'),
        (Stage.SET_DNS, f'Accept: Post "https://acme-v02.api.letsencrypt.org/acme/chall/1/1/1": {DIAL}'),
        (
            Stage.VALIDATE,
            f'CreateOrder: Post "https://acme-v02.api.letsencrypt.org/acme/finalize/1/1": {DIAL}',
        ),
    ],
)
async def test_a_firewall_that_shuts_in_the_middle_ends_the_next_step(autojump_clock, newest, stage, text):
    newest.add_fault(Fault.delay(60, at=stage))
    if stage is Stage.ORDER:
        newest.clear_faults()
        newest.add_fault(Fault.rate_limited(retry_after=60))
    async with trio.open_nursery() as nursery:

        async def shut():
            await trio.sleep(30)
            newest.set_egress_shut()

        nursery.start_soon(shut)
        answer = await ask_cert(newest, A)
    assert (answer.status, answer.text, trio.current_time()) == (500, text, 60)


@pytest.mark.parametrize(("switch", "seconds"), [("set_ca_away", 5), ("set_egress_shut", 0)])
async def test_tailscaled_that_cannot_ask_for_the_window_renews_at_two_thirds(
    autojump_clock, newest, switch, seconds
):
    """It never asks again; a CA that answers with 503 keeps the first plain call waiting for 5 s."""
    newest.set_ari_window(A, EPOCH, EPOCH + timedelta(seconds=1))
    await ask_cert(newest, A, "?min_validity=1s")
    getattr(newest, switch)()
    await ask_cert(newest, A)
    assert trio.current_time() == seconds
    getattr(newest, switch)(False)
    await trio.sleep_until(60 * DAY)
    await ask_cert(newest, A)
    await trio.sleep(1)
    assert len(newest.orders) == 1
    await ask_cert(newest, A)
    await trio.sleep(1)
    assert len(newest.orders) == 2


async def test_failed_validations_are_noted(autojump_clock, newest):
    newest.add_fault(Fault.validation(count=2))
    newest.add_fault(Fault.control("no DNS today", count=1))
    for domain in (A, B, A):
        await ask_cert(newest, domain)
        await trio.sleep(60)
    assert newest.failed_validations == [(EPOCH, A), (EPOCH + timedelta(seconds=60), B)]


async def test_a_certificate_of_the_future_is_not_valid(autojump_clock):
    """The machine's clock was a day ahead when it was issued."""
    ahead = timedelta(days=1)
    async with open_sandbox(cert_domains=[A], clock=lambda: virtual_clock() + ahead) as sandbox:
        await ask_cert(sandbox, A)
        ahead = timedelta(0)
        await trio.sleep(DAY - 1)
        assert len({(await ask_cert(sandbox, A)).body for _ in range(2)}) == 1
        assert [(order.at, order.replaces) for order in sandbox.orders] == [
            (EPOCH + timedelta(days=1), None),
            (EPOCH + timedelta(days=1, seconds=-1), None),
        ]


async def test_a_ca_with_a_port_says_over_tcp_when_to_renew(autojump_clock):
    """For a service in another process: its option --ca-directory is a URL."""
    async with open_sandbox(cert_domains=[A], clock=virtual_clock, ca_port=0) as sandbox:
        await ask_cert(sandbox, A)
        assert sandbox.directory_url.startswith("http://127.0.0.1:")
        async with RenewalInfoClient(sandbox.directory_url, clock=virtual_clock) as client:
            info = await client.fetch(sandbox.certificate(A))
    assert info.window.start < info.window.end
