"""What goes wrong in the sandbox, and what its client sees of it."""

from __future__ import annotations

import pytest
import trio
from conftest import EPOCH, A, B, virtual_clock
from raw_client import CutOffError, EndOfBusError, ask, ask_cert, open_exchange, watch

from tscert_trio.sandbox import VERSIONS, Fault, FaultKind, Stage, open_sandbox

RATE = "urn:ietf:params:acme:error:rateLimited: slow down"


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


async def half_close_after(sandbox, seconds, domain=A):
    """Ask for a certificate, close one's own side after a while, and return the answer."""
    async with open_exchange(sandbox.socket_path) as exchange:
        await exchange.send("GET", f"/localapi/v0/cert/{domain}")
        await trio.sleep(seconds)
        await exchange.stream.send_eof()
        return await exchange.answer()


@pytest.mark.parametrize("retry_after", [3600, None])
async def test_a_429_of_the_ca_is_told_when_the_client_closes_its_side(autojump_clock, sandbox, retry_after):
    sandbox.add_fault(Fault.rate_limited(retry_after=retry_after, detail="slow down"))
    answer = await half_close_after(sandbox, 300)
    assert trio.current_time() == 300
    is_new = sandbox.version.version in {"1.102.5", "1.104.5"}
    assert (answer.status, answer.text) == (429 if is_new else 500, f"429 {RATE}")
    assert answer.headers.get("retry-after") == (str(retry_after) if is_new and retry_after else None)


async def test_a_503_of_the_ca_hangs_the_same_and_is_told_as_500(autojump_clock, sandbox):
    sandbox.add_fault(Fault.problem("serverInternal", "down", status=503))
    answer = await half_close_after(sandbox, 300)
    assert (answer.status, answer.text) == (500, "503 urn:ietf:params:acme:error:serverInternal: down")
    # 1, 2, 4, 8, then every 10 s
    times = [(order.at - EPOCH).total_seconds() for order in sandbox.orders]
    assert times == [0, 1, 3, 7, *range(15, 300, 10)]


async def test_tailscaled_asks_again_after_retry_after(autojump_clock, sandbox):
    sandbox.add_fault(Fault.rate_limited(retry_after=3600, count=2))
    assert (await ask_cert(sandbox, A)).status == 200
    assert [(order.at - EPOCH).total_seconds() for order in sandbox.orders] == [0, 3600, 7200]
    assert [order.refused is None for order in sandbox.orders] == [False, False, True]
    assert "retry after 2026-01-01 01:00:00 UTC" in sandbox.orders[0].refused


async def test_repairing_ends_a_hang_at_the_next_try(autojump_clock, newest):
    newest.add_fault(Fault.rate_limited(retry_after=10))
    async with trio.open_nursery() as nursery:

        async def repair():
            await trio.sleep(15)
            newest.clear_faults()

        nursery.start_soon(repair)
        assert (await ask_cert(newest, A)).status == 200
    assert trio.current_time() == 20


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault.hang(), "context canceled"),
        (Fault.hang(at=Stage.ACCOUNT), "acme.Register: context canceled"),
        (Fault.hang(at=Stage.VALIDATE), "context canceled"),
        (Fault.hang(at=Stage.FINALIZE), "CreateOrder: context canceled"),
        (Fault.hang(at=Stage.REQUEST), "context canceled"),
        (Fault.delay(900), "context canceled"),
    ],
)
async def test_what_hangs_answers_when_the_client_closes_its_side(autojump_clock, newest, fault, text):
    newest.add_fault(fault)
    answer = await half_close_after(newest, 300)
    assert (answer.status, answer.text, trio.current_time()) == (500, text, 300)


async def test_a_control_server_that_hangs_is_named_in_the_answer(autojump_clock, newest):
    newest.add_fault(Fault.hang(at=Stage.SET_DNS))
    text = (await half_close_after(newest, 300)).text
    assert text.startswith(f'SetDNS "_acme-challenge.{A}" => "')
    assert text.endswith('machine/set-dns": context canceled')


async def test_a_slow_ca_may_be_left_too(autojump_clock):
    async with open_sandbox(cert_domains=[A], clock=virtual_clock, issue_delay=60) as sandbox:
        assert (await half_close_after(sandbox, 30)).text == "context canceled"
        assert (await ask_cert(sandbox, A)).status == 200
        assert trio.current_time() == 90
        assert len(sandbox.orders) == 2


async def test_who_queues_behind_a_lock_learns_only_at_its_end_that_he_has_left(autojump_clock):
    async with open_sandbox("1.100.0", cert_domains=[A, B], clock=virtual_clock) as sandbox:
        sandbox.add_fault(Fault.delay(100, at=Stage.ORDER, domain=A))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_cert, sandbox, A)
            await trio.sleep(1)
            answer = await half_close_after(sandbox, 10, B)
        assert (answer.text, trio.current_time()) == ("acme.GetReg: context canceled", 100)
        assert [order.domain for order in sandbox.orders] == [A]


async def test_a_client_that_has_gone_frees_the_lock(autojump_clock, sandbox):
    sandbox.add_fault(Fault.hang(count=1))
    with trio.move_on_after(10):
        await ask_cert(sandbox, A)
    assert (await ask_cert(sandbox, A)).status == 200
    assert trio.current_time() == 10


async def test_a_slow_account_call_holds_up_first_issues_of_every_name_and_no_reads(autojump_clock, newest):
    await ask_cert(newest, A)
    newest.add_fault(Fault.delay(8, at=Stage.ACCOUNT, domain=B))
    newest.set_cert_domains([A, B, "c.d"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_cert, newest, B)
        await trio.sleep(1)
        await ask_cert(newest, A)
        assert trio.current_time() == 1
        await ask_cert(newest, "c.d")
        assert trio.current_time() == 8


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            Fault.problem("malformed", "no", at=Stage.ACCOUNT, status=400),
            "acme.Register: 400 urn:ietf:params:acme:error:malformed: no",
        ),
        (Fault.account_status(), 'unexpected ACME account status "deactivated"'),
        (Fault.problem("caa", "forbidden"), "403 urn:ietf:params:acme:error:caa: forbidden"),
        (
            Fault.account_mismatch(),
            "403 urn:ietf:params:acme:error:unauthorized: While validating order as a replacement an error "
            "occurred :: requester account did not request the certificate being replaced by this order",
        ),
        (
            Fault.validation("wrong record", type="dns"),
            "acme: order  status: invalid; problem: 403 urn:ietf:params:acme:error:dns: wrong record",
        ),
        (
            Fault.problem("badCSR", "no", at=Stage.FINALIZE),
            "CreateOrder: 403 urn:ietf:params:acme:error:badCSR: no",
        ),
        (Fault.storage("read-only file system"), "read-only file system"),
        (Fault.answer(500, "acme.GetReg: EOF"), "acme.GetReg: EOF"),
    ],
)
async def test_error_texts(newest, fault, text):
    newest.add_fault(fault)
    answer = await ask_cert(newest, A)
    assert (answer.status, answer.text) == (500, text)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["tailscale-cap"] == "148"


async def test_an_account_that_is_known_is_asked_for_and_not_registered(newest):
    await ask_cert(newest, A)
    newest.add_fault(Fault.problem("rateLimited", "slow down", at=Stage.ACCOUNT, retry_after=60))
    answer = await ask_cert(newest, B)
    assert (answer.status, answer.text) == (429, f"acme.GetReg: 403 {RATE}")
    assert answer.headers["retry-after"] == "60"


async def test_1_86_asks_for_the_account_before_it_looks_at_the_list():
    async with open_sandbox("1.86.5", cert_domains=[A], clock=virtual_clock) as sandbox:
        sandbox.add_fault(Fault.account_status("revoked"))
        assert (await ask_cert(sandbox, B)).text == 'unexpected ACME account status "revoked"'


async def test_answers_cut_short_wrong_or_missing(newest):
    newest.add_fault(Fault.cut_body(count=1))
    newest.add_fault(Fault.connection_reset(count=1))
    for _ in range(2):
        with pytest.raises(CutOffError):
            await ask_cert(newest, A)
    newest.add_fault(Fault.garbage_body(count=1))
    newest.add_fault(Fault.large_body(3_000_000, count=1))
    newest.add_fault(Fault.answer(200, "nothing", {"X-More": "1"}, count=1))
    assert b"BEGIN" not in (await ask_cert(newest, A)).body
    assert len((await ask_cert(newest, A)).body) == 3_000_000
    assert (await ask_cert(newest, A)).headers["x-more"] == "1"
    assert b"BEGIN CERTIFICATE" in (await ask_cert(newest, A)).body


async def test_a_cut_bus_message(newest):
    newest.add_fault(Fault.cut_body(endpoint="watch-ipn-bus"))
    async with watch(newest) as bus:
        with pytest.raises(CutOffError):
            await bus.next()


async def test_faults_of_other_endpoints(autojump_clock, newest):
    newest.add_fault(Fault.answer(503, "not now", endpoint="cert-domains", count=1))
    newest.add_fault(Fault.hang(endpoint="status"))
    newest.add_fault(Fault.delay(5, endpoint="serve-config"))
    assert (await ask(newest.socket_path, "/localapi/v0/cert-domains")).status == 503
    assert (await ask(newest.socket_path, "/localapi/v0/cert-domains")).status == 200
    assert (await ask(newest.socket_path, "/localapi/v0/serve-config")).text == "null"
    assert trio.current_time() == 5
    with trio.move_on_after(60) as waiting:
        await ask(newest.socket_path, "/localapi/v0/status?peers=false")
    assert waiting.cancelled_caught
    assert (await ask_cert(newest, A)).status == 200


async def test_faults_happen_in_order_as_often_as_they_say_and_to_their_domain_only(newest):
    newest.add_fault(Fault.control("one", count=2))
    newest.add_fault(Fault.answer(500, "two", count=1))
    newest.add_fault(Fault.control("three", domain=B))
    texts = [(await ask_cert(newest, A)).text.rpartition(" ")[2] for _ in range(3)]
    assert texts == ["one", "one", "two"]
    assert (await ask_cert(newest, A)).status == 200
    assert (await ask_cert(newest, B)).text.endswith("three")
    newest.clear_faults()
    assert (await ask_cert(newest, B)).status == 200


async def test_a_request_meets_one_fault_at_most(autojump_clock, newest):
    newest.add_fault(Fault.delay(10, count=1))
    newest.add_fault(Fault.control("no DNS today", count=1))
    assert (await ask_cert(newest, A)).status == 200
    assert trio.current_time() == 10


async def test_a_fault_in_the_issuance_waits_for_an_issuance(newest):
    await ask_cert(newest, A)
    newest.add_fault(Fault.control("no DNS today", count=1))
    assert (await ask_cert(newest, A)).status == 200
    assert (await ask_cert(newest, A, "?min_validity=9999h")).text.endswith("no DNS today")


def test_a_fault_is_made_of_json():
    made = Fault.from_json({"make": "hang", "at": "order", "count": 1})
    assert made == Fault.hang(at=Stage.ORDER, count=1)
    fields = {"kind": "problem", "at": "order", "type": "caa", "text": "no", "count": 1, "domain": A}
    assert Fault.from_json(fields) == Fault.problem("caa", "no", count=1, domain=A, status=500)
    answer = Fault.from_json({"kind": "answer", "status": 418, "body": "tea", "headers": {"X": "1"}})
    assert (answer.kind, answer.body, dict(answer.headers)) == (FaultKind.ANSWER, b"tea", {"X": "1"})


@pytest.mark.parametrize(
    "fields",
    [{}, {"kind": "earthquake"}, {"kind": "hang", "at": "home"}, {"kind": "hang", "x": 1}, {"make": "fault"}],
)
def test_fields_that_make_no_fault(fields):
    with pytest.raises(ValueError, match=r"fault|valid"):
        Fault.from_json(fields)


async def test_the_bus_may_die_in_two_ways(newest):
    for clean, end in ((True, EndOfBusError), (False, CutOffError)):
        async with watch(newest) as bus:
            await bus.next()
            newest.drop_watchers(clean=clean)
            with pytest.raises(end):
                await bus.next()
