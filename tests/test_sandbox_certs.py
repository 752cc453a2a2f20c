"""When the sandbox gives which certificate, orders a new one, and says what: as tailscaled does."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from conftest import EPOCH, A, B, virtual_clock
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtensionOID
from raw_client import ask, ask_cert

from tscert_trio.sandbox import VERSIONS, Fault, Stage, open_sandbox

DAY = 86400
DUE, LIFE = 60 * DAY, 90 * DAY  # two thirds of the life


@pytest.fixture(params=VERSIONS)
async def sandbox(request):
    """A sandbox of each release that orders for A and B."""
    async with open_sandbox(request.param, cert_domains=[A, B], clock=virtual_clock) as sandbox:
        yield sandbox


@pytest.fixture
async def newest():
    """The newest release."""
    async with open_sandbox(cert_domains=[A, B], clock=virtual_clock) as sandbox:
        yield sandbox


def serial(answer):
    assert answer.status == 200, answer
    return x509.load_pem_x509_certificate(answer.body).serial_number


async def test_what_is_issued_is_a_chain_that_verifies_with_its_key(autojump_clock, newest):
    chain = (await ask_cert(newest, A, "?type=crt")).body
    key = (await ask_cert(newest, A, "?type=key")).body
    assert (await ask_cert(newest, A, "?type=pair")).body == key + chain
    assert (await ask_cert(newest, A, "?type=cert")).body == (await ask_cert(newest, A)).body == chain
    assert key.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
    leaf, issuer = x509.load_pem_x509_certificates(chain)
    leaf.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(x509.load_pem_x509_certificate(newest.root_pem))
    assert load_pem_private_key(key, None).public_key() == leaf.public_key()
    names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert names.get_values_for_type(x509.DNSName) == [A]
    identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (EPOCH, EPOCH + timedelta(days=90))
    facts = newest.certificate(A)
    assert (facts.serial_number, facts.names, facts.not_after) == (
        leaf.serial_number,
        (A,),
        leaf.not_valid_after_utc,
    )
    assert facts.issuer == leaf.issuer.rfc4514_string()
    assert [(order.at, order.domain, order.replaces) for order in newest.orders] == [(EPOCH, A, None)]
    assert newest.certificate(B) is None


async def test_a_bad_type_is_told_after_the_order(newest):
    answer = await ask_cert(newest, A, "?type=bogus")
    assert (answer.status, answer.text) == (400, 'invalid type; want "cert" (default), "key", or "pair"')
    assert len(newest.orders) == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("30d", 'time: unknown unit "d" in duration "30d"'),
        ("30", 'time: missing unit in duration "30"'),
        ("h", 'time: invalid duration "h"'),
        ("-", 'time: invalid duration "-"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
async def test_a_bad_min_validity_is_refused_in_gos_words(newest, text, error):
    answer = await ask_cert(newest, A, f"?min_validity={text}")
    assert (answer.status, answer.text) == (400, f"invalid validity parameter: {error}")
    assert newest.orders == []


@pytest.mark.parametrize("text", ["", "0", "1ns", "720h", "1h30m", "1.5h", "-5m", "90s", "20ms"])
async def test_a_min_validity_in_gos_syntax_is_taken(newest, text):
    assert (await ask_cert(newest, A, f"?min_validity={text}")).status == 200


async def test_a_due_certificate_is_given_and_renewed_behind_the_callers_back(autojump_clock, sandbox):
    old = serial(await ask_cert(sandbox, A))
    await trio.sleep(DUE)
    assert serial(await ask_cert(sandbox, A)) == old  # due only after this very moment
    await trio.sleep(1)
    assert len(sandbox.orders) == 1
    assert serial(await ask_cert(sandbox, A)) == old
    await trio.sleep(1)
    assert serial(await ask_cert(sandbox, A)) != old
    assert [order.replaces for order in sandbox.orders] == [None, old]


async def test_a_background_renewal_fails_silently_and_lets_the_ca_refuse_the_next(autojump_clock, sandbox):
    old = serial(await ask_cert(sandbox, A))
    await trio.sleep(DUE + 1)
    sandbox.add_fault(Fault.control("no DNS today", count=1))
    for _ in range(3):
        assert serial(await ask_cert(sandbox, A)) == old
        await trio.sleep(1)
    renewals = sandbox.orders[1:]
    assert [order.replaces for order in renewals] == [old] * 3
    assert renewals[0].refused is None
    assert all("409 urn:ietf:params:acme:error:alreadyReplaced: " in order.refused for order in renewals[1:])
    answer = await ask_cert(sandbox, A, "?min_validity=2000h")
    assert answer.status == 500
    assert answer.text == renewals[1].refused
    assert f'"{old:036x}"' in answer.text


async def test_a_pending_order_expires_and_blocks_no_more(autojump_clock, newest):
    old = serial(await ask_cert(newest, A))
    newest.add_fault(Fault.control("no DNS today", count=1))
    assert (await ask_cert(newest, A, "?min_validity=9999h")).status == 500
    await trio.sleep(7 * DAY - 1)
    assert (await ask_cert(newest, A, "?min_validity=9999h")).status == 500
    await trio.sleep(1)
    assert serial(await ask_cert(newest, A, "?min_validity=9999h")) != old


async def test_an_order_that_became_invalid_blocks_nothing(newest):
    old = serial(await ask_cert(newest, A))
    newest.add_fault(Fault.validation(count=1))
    assert (await ask_cert(newest, A, "?min_validity=9999h")).status == 500
    assert serial(await ask_cert(newest, A, "?min_validity=9999h")) != old


async def test_a_certificate_that_could_not_be_stored_blocks_until_the_old_one_has_expired(
    autojump_clock, newest
):
    old = serial(await ask_cert(newest, A))
    newest.add_fault(Fault.storage(count=1))
    answer = await ask_cert(newest, A, "?min_validity=9999h")
    assert (answer.status, answer.text.rpartition(": ")[2]) == (500, "no space left on device")
    await trio.sleep(LIFE)
    assert "alreadyReplaced" in (await ask_cert(newest, A, "?min_validity=1h")).text
    await trio.sleep(1)
    assert serial(await ask_cert(newest, A)) != old
    assert [order.replaces for order in newest.orders] == [None, old, old, None]


async def test_min_validity_renews_in_the_foreground_with_the_true_error(autojump_clock, sandbox):
    old = serial(await ask_cert(sandbox, A))
    await trio.sleep(LIFE - 3600)
    sandbox.add_fault(Fault.control("no DNS today", count=1))
    assert serial(await ask_cert(sandbox, A, "?min_validity=1h")) == old  # exactly what is left
    answer = await ask_cert(sandbox, A, "?min_validity=3601s")
    assert answer.status == 500
    assert answer.text.startswith(f'SetDNS "_acme-challenge.{A}" => "')
    assert answer.text.endswith('": set-dns response: 500 Internal Server Error, no DNS today')


async def test_a_min_validity_above_the_life_orders_at_every_call(sandbox):
    serials = {serial(await ask_cert(sandbox, A, "?min_validity=9999h")) for _ in range(3)}
    assert len(serials) == len(sandbox.orders) == 3


async def test_min_validity_of_a_second_is_a_pure_probe(autojump_clock, sandbox):
    """No ARI, no renewal, and not blocked by what hangs."""
    sandbox.set_ari_window(A, EPOCH, EPOCH + timedelta(seconds=1))
    old = serial(await ask_cert(sandbox, A, "?min_validity=1s"))
    sandbox.add_fault(Fault.hang(at=Stage.ACCOUNT))
    sandbox.add_fault(Fault.hang(at=Stage.ARI))
    await trio.sleep(LIFE - 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_cert, sandbox, A)
        nursery.start_soon(ask_cert, sandbox, B)
        await trio.sleep(0.5)
        start = trio.current_time()
        assert serial(await ask_cert(sandbox, A, "?min_validity=1s")) == old
        assert trio.current_time() == start
        nursery.cancel_scope.cancel()
    assert len(sandbox.orders) == 1


async def test_the_ari_window_is_asked_for_once_in_a_process(autojump_clock, sandbox):
    old = serial(await ask_cert(sandbox, A))
    await ask_cert(sandbox, A)  # the first plain call that finds a certificate
    sandbox.set_ari_window(A, EPOCH, EPOCH + timedelta(seconds=1))
    await trio.sleep(DAY)
    await ask_cert(sandbox, A)
    await trio.sleep(1)
    assert serial(await ask_cert(sandbox, A)) == old
    await sandbox.stop()
    await sandbox.start()
    assert serial(await ask_cert(sandbox, A)) == old
    await trio.sleep(1)
    assert serial(await ask_cert(sandbox, A)) != old
    await trio.sleep(1)
    await ask_cert(sandbox, A)
    await trio.sleep(1)
    assert len(sandbox.orders) == 2  # the window was the old certificate's


async def test_a_renewal_time_is_a_point_in_the_window(autojump_clock, newest):
    newest.set_ari_window(A, EPOCH + timedelta(days=10), EPOCH + timedelta(days=20))
    old = serial(await ask_cert(newest, A))
    await trio.sleep(10 * DAY)
    assert serial(await ask_cert(newest, A)) == old
    await trio.sleep(10 * DAY)
    await ask_cert(newest, A)
    await trio.sleep(1)
    assert serial(await ask_cert(newest, A)) != old


async def test_an_ari_server_that_hangs_stalls_plain_calls_of_every_name_5_seconds(autojump_clock, newest):
    for domain in (A, B):
        await ask_cert(newest, domain, "?min_validity=1s")
    newest.add_fault(Fault.hang(at=Stage.ARI, domain=A))
    ended = {}

    async def plain_call(domain):
        await ask_cert(newest, domain)
        ended[domain] = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(plain_call, A)
        await trio.sleep(0.5)
        nursery.start_soon(plain_call, B)
    assert ended == {A: 5, B: 5}
    await ask_cert(newest, A)
    assert trio.current_time() == 5


async def test_an_expired_certificate_is_replaced_in_the_foreground(autojump_clock, sandbox):
    old = serial(await ask_cert(sandbox, A))
    await trio.sleep(LIFE + 1)
    assert serial(await ask_cert(sandbox, A, "?min_validity=1s")) != old
    assert [order.replaces for order in sandbox.orders] == [None, None]


async def test_a_lost_certificate_is_ordered_anew(newest):
    old = serial(await ask_cert(newest, A))
    newest.lose_certificate(A)
    assert serial(await ask_cert(newest, A)) != old


async def test_certificates_may_live_for_seconds(autojump_clock):
    async with open_sandbox(cert_domains=[A], clock=virtual_clock, validity=timedelta(seconds=60)) as sandbox:
        old = serial(await ask_cert(sandbox, A))
        await trio.sleep(40.1)
        await ask_cert(sandbox, A)
        await trio.sleep(0.1)
        assert serial(await ask_cert(sandbox, A)) != old


async def test_ten_first_calls_at_once_make_one_order(autojump_clock):
    async with open_sandbox("1.104.5", cert_domains=[A], clock=virtual_clock, issue_delay=2) as sandbox:
        serials = set()

        async def call():
            serials.add(serial(await ask_cert(sandbox, A)))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(call)
        assert (len(serials), len(sandbox.orders), trio.current_time()) == (1, 1, 2)


@pytest.mark.parametrize("release", VERSIONS)
async def test_only_from_1_102_on_one_background_renewal_at_a_time(autojump_clock, release):
    async with open_sandbox(release, cert_domains=[A], clock=virtual_clock) as sandbox:
        await ask_cert(sandbox, A)
        await trio.sleep(DUE + 1)
        sandbox.add_fault(Fault.delay(60, at=Stage.SET_DNS, count=1))
        sandbox.add_fault(Fault.control("no DNS today"))
        for _ in range(3):
            await ask_cert(sandbox, A)
        sandbox.clear_faults()
        await trio.sleep(120)
        assert len(sandbox.orders) == 2  # those that queued found a new certificate


async def test_wildcards_where_they_are_allowed():
    async with open_sandbox(cert_domains=[A], wildcards=True, clock=virtual_clock) as sandbox:
        answer = await ask_cert(sandbox, f"*.{A}")
        names = x509.load_pem_x509_certificate(answer.body).extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        )
        assert f"*.{A}" in names.value.get_values_for_type(x509.DNSName)
        assert (await ask_cert(sandbox, f"*.{B}")).text == (
            f'invalid domain "*.{B}"; wildcard certificates are not enabled for this domain'
        )


async def test_health_tells_what_is_being_ordered_from_1_100_on(autojump_clock, sandbox):
    sandbox.add_fault(Fault.hang())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_cert, sandbox, A)
        await trio.sleep(1)
        health = (await ask(sandbox.socket_path, "/localapi/v0/status?peers=false")).json["Health"]
        nursery.cancel_scope.cancel()
    knows = sandbox.version.version in {"1.100.0", "1.102.5", "1.104.5"}
    assert health == ([f"Fetching TLS certificate via ACME for: {A}"] if knows else None)


@pytest.mark.parametrize("release", VERSIONS)
async def test_its_own_hourly_renewal_from_1_100_on(autojump_clock, release):
    async with open_sandbox(
        release, cert_domains=[A], clock=virtual_clock, background_renewal=True
    ) as sandbox:
        await trio.sleep(10)
        config = {
            "Web": {f"{A}:443": {}},
            "Services": {"svc:b": {"TCP": {"9": {"TerminateTLS": B}}}, "svc:c": None},
        }
        sandbox.set_serve_config(config)
        await trio.sleep(10)
        sandbox.set_cert_domains([A, B])  # a name that comes while it runs waits for the next pass
        await trio.sleep(3600)
        sandbox.set_serve_config({})
        sandbox.lose_certificate(A)
        await trio.sleep(2 * 3600)
        orders = [(order.domain, (order.at - EPOCH).total_seconds()) for order in sandbox.orders]
        has_loop = release in {"1.100.0", "1.102.5", "1.104.5"}
        assert orders == ([(A, 10), (B, 3610)] if has_loop else [])
        assert sandbox.calls == []


async def test_its_own_renewal_of_a_name_gives_up_after_2_minutes(autojump_clock):
    async with open_sandbox(
        "1.104.5", cert_domains=[A], clock=virtual_clock, background_renewal=True
    ) as sandbox:
        sandbox.add_fault(Fault.rate_limited(retry_after=60))
        sandbox.set_serve_config({"TCP": {"443": {"TerminateTLS": A}}})
        await trio.sleep(3599)
        assert [(order.at - EPOCH).total_seconds() for order in sandbox.orders] == [0, 60]
        await trio.sleep(2)
        assert len(sandbox.orders) == 3
