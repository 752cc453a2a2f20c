"""What differs between the releases that the sandbox imitates: one table, asked from the outside."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
import trio
from conftest import A, B, virtual_clock
from raw_client import ask, ask_cert, watch

from tscert_trio.sandbox import VERSIONS, Fault, Stage, open_sandbox

RELEASES = list(VERSIONS)
NO_ACCOUNT = "your Tailscale account does not support getting TLS certs"
LIST = f'must be one of ["{A}"]'
MASKS = [
    2,
    16,
    18,
    8,
    24,
    256,
    264,
    274,
    258 | 16384,
    256 | 4096 | 32768,
    16384,
    65536,
    1 << 40,
    "x",
    "-1",
    2**64,
    "",
]
MIXED = "NotifyRateLimit is incompatible with new-style IPN bus subscription bits "
NO_RATE = "the NotifyRateLimit IPN bus subscription bit is no longer supported"
NO_MAP = (
    "the NotifyInitialNetMap IPN bus subscription bit is no longer supported; "
    "seed from NotifyInitialStatus instead"
)
IN_PROCESS = "NotifyInProcessNoDisconnect is only valid for in-process IPN bus subscribers"


@attrs.frozen(kw_only=True)
class Row:
    """What one release does. Each row says all of it, unlike the table it checks."""

    capability: int
    cert_domains: int
    stored_but_unlisted: tuple[int, str]
    without_netmap: str
    wildcard: str
    trailing_dot: int
    starred: str
    read_only: str
    invalid_order: str
    limited: tuple[int, str | None]
    change: list[set[str]]
    first_with_8: set[str] | None
    first_with_16384: set[str] | None
    refused_masks: dict[object, str]


BAD_MASKS: dict[object, str] = {"x": "bad mask", "-1": "bad mask", 2**64: "bad mask"}
PROBLEM = (
    f"; problem: 403 urn:ietf:params:acme:error:unauthorized: No TXT record found at _acme-challenge.{A}"
)
OLD = Row(
    capability=123,
    cert_domains=404,
    stored_but_unlisted=(200, ""),
    without_netmap=NO_ACCOUNT,
    wildcard=f'invalid domain "*.{A}"; {LIST}',
    trailing_dot=500,
    starred=f'invalid domain "x.*.net"; {LIST}',
    read_only="%!w(<nil>)",
    invalid_order="",
    limited=(500, None),
    change=[{"NetMap"}],
    first_with_8={"NetMap"},
    first_with_16384=None,
    refused_masks=BAD_MASKS,
)
TABLE = {
    "1.86.5": OLD,
    "1.98.10": attrs.evolve(
        OLD,
        capability=138,
        cert_domains=200,
        stored_but_unlisted=(500, NO_ACCOUNT),
        without_netmap="no netmap available",
        wildcard="wildcard certificates are not enabled for this node",
        starred="invalid domain",
        change=[{"NetMap", "SelfChange"}],
    ),
    "1.100.0": attrs.evolve(
        OLD,
        capability=141,
        cert_domains=200,
        stored_but_unlisted=(500, NO_ACCOUNT),
        without_netmap="no netmap available",
        wildcard="wildcard certificates are not enabled for this node",
        starred="invalid domain",
        change=[{"SelfChange"}, set()],
        first_with_8={"NetMap", "SelfChange"},
        first_with_16384={"InitialStatus"},
    ),
    "1.102.5": Row(
        capability=142,
        cert_domains=200,
        stored_but_unlisted=(500, NO_ACCOUNT),
        without_netmap="no netmap available",
        wildcard="wildcard certificates are not enabled for this node",
        trailing_dot=200,
        starred="invalid domain",
        read_only="no state with given ID",
        invalid_order=PROBLEM,
        limited=(429, "3600"),
        change=[{"SelfChange"}, set()],
        first_with_8={"NetMap", "SelfChange"},
        first_with_16384={"InitialStatus"},
        refused_masks={
            **BAD_MASKS,
            65536: IN_PROCESS,
            258 | 16384: f"{MIXED}ipn.NotifyInitialStatus",
            256 | 4096 | 32768: f"{MIXED}(ipn.NotifyPeerChanges | ipn.NotifyPeerPatches)",
        },
    ),
    "1.104.5": Row(
        capability=148,
        cert_domains=200,
        stored_but_unlisted=(500, NO_ACCOUNT),
        without_netmap="no netmap available",
        wildcard="wildcard certificates are not enabled for this node",
        trailing_dot=200,
        starred="invalid domain",
        read_only="no state with given ID",
        invalid_order=PROBLEM,
        limited=(429, "3600"),
        change=[{"SelfChange"}, set()],
        first_with_8=None,
        first_with_16384={"InitialStatus"},
        refused_masks={
            **BAD_MASKS,
            65536: IN_PROCESS,
            8: NO_MAP,
            24: NO_MAP,
            256: NO_RATE,
            264: NO_RATE,
            274: NO_RATE,
            258 | 16384: NO_RATE,
            256 | 4096 | 32768: NO_RATE,
        },
    ),
}


@pytest.fixture(params=RELEASES)
def release(request):
    return request.param


@pytest.fixture
def row(release):
    return TABLE[release]


@pytest.fixture
async def sandbox(release):
    async with open_sandbox(release, cert_domains=[A], clock=virtual_clock, peers=3) as sandbox:
        yield sandbox


async def test_each_answer_says_release_and_capability(sandbox, row, release):
    answer = await ask(sandbox.socket_path, "/localapi/v0/status?peers=false")
    assert int(answer.headers["tailscale-cap"]) == row.capability
    assert answer.headers["tailscale-version"].startswith(f"{release}-")
    assert answer.json["Version"] == answer.headers["tailscale-version"]


async def test_cert_domains_exist_from_1_98_on(sandbox, row):
    answer = await ask(sandbox.socket_path, "/localapi/v0/cert-domains")
    assert answer.status == row.cert_domains
    assert answer.text == (f'["{A}"]' if row.cert_domains == 200 else "404 page not found")


async def test_a_stored_certificate_of_a_name_that_is_no_longer_listed(sandbox, row):
    assert (await ask_cert(sandbox, A)).status == 200
    sandbox.set_cert_domains([])
    status, text = row.stored_but_unlisted
    answer = await ask_cert(sandbox, A)
    assert answer.status == status
    assert status == 200 or answer.text == text


async def test_without_a_netmap(sandbox, row):
    sandbox.logout()
    answer = await ask_cert(sandbox, A)
    assert (answer.status, answer.text) == (500, row.without_netmap)
    if row.cert_domains == 200:
        assert (await ask(sandbox.socket_path, "/localapi/v0/cert-domains")).text == "null"
    status = (await ask(sandbox.socket_path, "/localapi/v0/status?peers=false")).json
    assert (status["CertDomains"], status["CurrentTailnet"], status["BackendState"]) == (
        None,
        None,
        "NeedsLogin",
    )


async def test_names_that_no_certificate_is_given_for(sandbox, row):
    for domain, text in {
        B: f'invalid domain "{B}"; {LIST}',
        A.upper(): f'invalid domain "{A.upper()}"; {LIST}',
        f"*.{A}": row.wildcard,
        "x.*.net": row.starred,
        "nodot": "invalid domain",
        "a..b": "invalid domain",
        "a.b:443": "invalid domain",
        "a.b%2Fc": "invalid domain",
        "a.b%5Cc": "invalid domain",
        "": "invalid domain",
    }.items():
        answer = await ask_cert(sandbox, domain)
        assert (answer.status, answer.text) == (500, text), domain
    sandbox.set_cert_domains([])
    assert (await ask_cert(sandbox, A)).text == NO_ACCOUNT
    assert sandbox.orders == []


async def test_a_trailing_dot(sandbox, row):
    answer = await ask_cert(sandbox, f"{A}.")
    assert answer.status == row.trailing_dot
    assert answer.status == 200 or answer.text == f'invalid domain "{A}."; {LIST}'


async def test_read_only_share_mode_never_orders(sandbox, row):
    sandbox.set_read_only(True)
    answer = await ask_cert(sandbox, A)
    assert (answer.status, answer.text) == (
        500,
        "retrieving cached TLS certificate failed and cert store is configured in read-only mode, "
        f"not attempting to issue a new certificate: {row.read_only}",
    )
    sandbox.set_read_only(False)
    await ask_cert(sandbox, A)
    sandbox.set_read_only(True)
    assert (await ask_cert(sandbox, A, "?min_validity=9999h")).status == 200
    assert len(sandbox.orders) == 1


async def test_an_order_whose_record_was_not_found(sandbox, row):
    sandbox.add_fault(Fault.validation())
    assert (await ask_cert(sandbox, A)).text == f"acme: order  status: invalid{row.invalid_order}"
    assert len(sandbox.orders) == 1


async def test_a_rate_limit_that_tailscaled_does_not_wait_for(sandbox, row):
    sandbox.add_fault(Fault.rate_limited(retry_after=3600, hang=False))
    answer = await ask_cert(sandbox, A)
    assert (answer.status, answer.headers.get("retry-after")) == row.limited
    assert answer.text.startswith("403 urn:ietf:params:acme:error:rateLimited: too many certificates (5)")
    assert [order.refused for order in sandbox.orders] == [answer.text]


async def test_a_rate_limit_without_a_date(sandbox, row):
    sandbox.add_fault(Fault.rate_limited(retry_after=None, hang=False, detail="slow down"))
    answer = await ask_cert(sandbox, A)
    assert (answer.status, answer.headers.get("retry-after")) == (row.limited[0], None)
    assert answer.text == "403 urn:ietf:params:acme:error:rateLimited: slow down"


async def test_a_rate_limit_while_finalizing_is_an_error_like_others(sandbox, row):
    sandbox.add_fault(Fault.problem("rateLimited", "slow", retry_after=60, at=Stage.FINALIZE))
    answer = await ask_cert(sandbox, A)
    assert (answer.status, answer.headers.get("retry-after")) == (500, None)
    assert answer.text == "CreateOrder: 403 urn:ietf:params:acme:error:rateLimited: slow"


async def test_what_the_bus_says_at_a_change_of_cert_domains(sandbox, row):
    async with watch(sandbox) as bus:
        first = await bus.next()
        assert first.keys() == {"Version", "SessionID", "State"}
        assert first["State"] == 6
        for names in ([A, B], [A, B], []):  # changed or not
            sandbox.set_cert_domains(names)
            messages = [await bus.next() for _ in row.change]
            assert [message.keys() - {"Version"} for message in messages] == row.change
            if "NetMap" in messages[0]:
                assert messages[0]["NetMap"]["DNS"]["CertDomains"] == (names or None)
                assert len(messages[0]["NetMap"]["Peers"]) == 3


@pytest.mark.parametrize("mask", MASKS)
async def test_masks(sandbox, row, mask):
    answer_to = f"/localapi/v0/watch-ipn-bus?mask={mask}"
    if mask in row.refused_masks:
        answer = await ask(sandbox.socket_path, answer_to)
        assert (answer.status, answer.text) == (400, row.refused_masks[mask])
    else:
        async with watch(sandbox, mask):
            pass  # which has seen status 200


@pytest.mark.parametrize(("mask", "field"), [(8, "first_with_8"), (16384, "first_with_16384")])
async def test_first_messages(sandbox, row, mask, field):
    expected = getattr(row, field)
    if mask in row.refused_masks:
        assert expected is None
        return
    async with watch(sandbox, mask) as bus:
        if expected is None:
            sandbox.push({"State": 6})
            assert (await bus.next()).keys() - {"Version"} == {"State"}
        else:
            assert (await bus.next()).keys() - {"Version"} == expected


@pytest.mark.parametrize(("mask", "with_peers"), [(16384, {"1.100.0", "1.102.5"}), (16384 | 4096, None)])
async def test_the_initial_status_has_peers_where_a_release_puts_them(sandbox, release, mask, with_peers):
    sandbox.push({"State": 6})  # nothing before the watch is seen
    async with watch(sandbox, mask) as bus:
        sandbox.push({"ErrMessage": "the next"})
        status = (await bus.next()).get("InitialStatus", {"CertDomains": None, "Peer": None})
    assert (status["CertDomains"] == [A]) is (release not in {"1.86.5", "1.98.10"})
    expected = status["CertDomains"] and (with_peers is None or release in with_peers)
    assert len(status["Peer"] or ()) == (3 if expected else 0)


async def test_only_1_86_wants_mask_bit_16_from_callers_who_may_not_write(sandbox, release):
    sandbox.set_permissions(write=False, cert=False)
    answer_to = "/localapi/v0/watch-ipn-bus?mask=2"
    if release == "1.86.5":
        answer = await ask(sandbox.socket_path, answer_to)
        assert answer.status == 403
        assert answer.text.startswith("watch IPN bus access denied, must set ipn.NotifyNoPrivateKeys")
        async with watch(sandbox, 18):
            pass
    else:
        async with watch(sandbox, 2):
            pass


async def test_without_permissions(sandbox, row):
    sandbox.set_permissions(read=False, write=False, cert=False)
    expected = {
        f"cert/{A}": "cert access denied",
        "status": "status access denied",
        "serve-config": "serve config denied",
        "watch-ipn-bus?mask=18": "watch ipn bus access denied",
    }
    if row.cert_domains == 200:
        expected |= {"cert-domains": "cert-domains access denied", "dns-config": "dns-config access denied"}
    for target, text in expected.items():
        answer = await ask(sandbox.socket_path, f"/localapi/v0/{target}")
        assert (answer.status, answer.text) == (403, text)
    sandbox.set_permissions(read=False, write=False, cert=True)
    assert (await ask_cert(sandbox, A)).status == 200


async def test_only_from_1_102_on_a_domain_is_not_blocked_by_another_that_hangs(autojump_clock, release):
    async with open_sandbox(release, cert_domains=[A, B], clock=virtual_clock) as sandbox:
        sandbox.add_fault(Fault.hang(domain=A))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_cert, sandbox, A)
            await trio.sleep(1)
            with trio.move_on_after(60) as waiting:
                await ask_cert(sandbox, B)
            assert waiting.cancelled_caught is not VERSIONS[release].locks_per_domain
            nursery.cancel_scope.cancel()


async def test_a_netmap_of_1000_peers_has_the_size_seen_on_real_ones():
    sizes = {}
    for release in ("1.86.5", "1.98.10"):
        async with open_sandbox(release, cert_domains=[A], peers=1000) as sandbox, watch(sandbox, 16) as bus:
            sandbox.set_cert_domains([A])
            size = 0
            while True:
                data = (await bus.exchange.event()).data
                size += len(data)
                if data.endswith(b"\n"):
                    break
            sizes[release] = size
    assert sizes == {"1.86.5": pytest.approx(1.27e6, rel=0.02), "1.98.10": pytest.approx(1.08e6, rel=0.02)}


def test_the_table_has_a_row_for_each_release():
    assert TABLE.keys() == VERSIONS.keys()
    assert all(row.version == name for name, row in VERSIONS.items())


async def test_an_unknown_release_is_an_error_that_names_the_known():
    with pytest.raises(ValueError, match=r"1\.86\.5.*1\.104\.5"):
        async with open_sandbox("1.2.3", validity=timedelta(days=1)):
            pass
