"""Servers in Python present the newest certificate; what they set on their context stays."""

import gc
import logging
import os
import re
import ssl
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from certs import key_pem, make_cert, make_key
from conftest import EPOCH, A, B, C, virtual_clock
from cryptography.hazmat.primitives.asymmetric import rsa
from test_cert_loop import tasks_named
from test_readme import code_blocks
from tls import NO_CHECK_TIME, Connection, ask, client_context, connect

from tscert_trio import CertPair, LocalClient, open_cert_manager
from tscert_trio.sandbox import Fault, open_sandbox

DAY, SECOND = 86400, timedelta(seconds=1)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
async def manager(client):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        yield manager


async def context_of(manager, kind, *names):
    """Return a context of one kind for the first of these names."""
    manager.ensure_domains(names or [A])
    return await (manager.ssl_context(A) if kind == "name" else manager.sni_context(default=A))


async def renew(manager, domain=A):
    """Have a new certificate, and give the contexts a second."""
    manager.renew(domain, force=True)
    await trio.sleep(1)


def pairs_asked(sandbox):
    return [(call.at - EPOCH).total_seconds() for call in sandbox.calls if call.query.get("type") == "pair"]


both_kinds = pytest.mark.parametrize("kind", ["name", "sni"])
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


# The life of a context.


@both_kinds
async def test_a_first_context_waits_until_its_certificate_is_issued(autojump_clock, kind):
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock, issue_delay=30) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=virtual_clock) as manager,
    ):
        context = await context_of(manager, kind)
        assert 30 <= trio.current_time() <= 31
        assert (
            connect(context, client_context(sandbox), A).serial_number == sandbox.certificate(A).serial_number
        )


async def test_two_that_ask_at_once_get_contexts_of_their_own_by_one_request(
    autojump_clock, sandbox, manager
):
    contexts = []

    async def get():
        contexts.append(await manager.ssl_context(A))

    manager.ensure_domains([A])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get)
        nursery.start_soon(get)
    one, other = contexts
    one.set_alpn_protocols(["h2"])
    clients = client_context(sandbox, alpn=["h2"])
    assert connect(one, clients, A).client.selected_alpn_protocol() == "h2"
    assert connect(other, clients, A).client.selected_alpn_protocol() is None
    assert len(pairs_asked(sandbox)) == 1


@both_kinds
async def test_the_wait_for_a_context_can_be_cancelled_and_leaves_nothing(
    autojump_clock, sandbox, manager, kind
):
    sandbox.add_fault(Fault.hang())
    with trio.move_on_after(5) as scope:
        await context_of(manager, kind)
    assert scope.cancelled_caught
    gc.collect()
    sandbox.clear_faults()
    await trio.sleep(1000)
    assert sandbox.certificate(A)
    assert pairs_asked(sandbox) == []


async def test_without_a_context_there_is_no_task_and_no_key_is_asked_for(autojump_clock, sandbox, manager):
    manager.ensure_domains([A])
    await trio.sleep(1)
    await renew(manager)
    assert manager._live is None
    assert not tasks_named("live contexts")
    assert pairs_asked(sandbox) == []


async def test_the_key_is_asked_for_once_a_certificate_and_only_for_the_names_of_contexts(
    autojump_clock, sandbox, manager
):
    manager.ensure_domains([A, B])
    context = await manager.ssl_context(A)
    await trio.sleep(2 * DAY)
    await renew(manager, B)
    await renew(manager)
    assert [call.domain for call in sandbox.calls if call.query.get("type") == "pair"] == [A, A]
    assert connect(context, client_context(sandbox), A).serial_number == sandbox.certificate(A).serial_number
    assert {call.query["min_validity"] for call in sandbox.calls if call.query.get("type") == "pair"} == {
        "1.000000s"
    }
    del context
    gc.collect()
    await renew(manager)
    assert len(pairs_asked(sandbox)) == 2


@both_kinds
@both_versions
async def test_a_renewal_is_seen_by_new_connections_within_a_second_and_not_by_open_ones(
    autojump_clock, sandbox, manager, kind, version
):
    context, clients = await context_of(manager, kind), client_context(sandbox, version)
    old = connect(context, clients, A)
    await renew(manager)
    new = connect(context, clients, A)
    assert new.client.version() == f"TLSv{version.name[-3:].replace('_', '.')}"
    assert old.serial_number != new.serial_number == sandbox.certificate(A).serial_number
    assert old.echo().serial_number != new.serial_number


@both_kinds
@both_versions
@pytest.mark.parametrize("steps", [2, 3])
async def test_a_handshake_that_has_begun_ends_well_with_the_certificate_it_began_with(
    autojump_clock, sandbox, manager, kind, version, steps
):
    context, clients = await context_of(manager, kind), client_context(sandbox, version)
    before = sandbox.certificate(A).serial_number
    connection = Connection(context, clients, A)
    for _ in range(steps):
        assert not connection.step()
    await renew(manager)
    assert connection.finish().echo().serial_number == before != sandbox.certificate(A).serial_number


@both_kinds
@both_versions
async def test_handshakes_among_reloads_never_see_a_certificate_with_another_ones_key(
    autojump_clock, sandbox, client, manager, kind, version
):
    context, clients = await context_of(manager, kind), client_context(sandbox, version)
    pairs = [await client.cert_pair(A, min_validity=SECOND)]
    await renew(manager)
    pairs.append(await client.cert_pair(A, min_validity=SECOND))
    seen = set()
    for number in range(200):
        connection, steps = Connection(context, clients, A), 0
        while not connection.step():
            steps += 1
            context.put(A, pairs[(number + steps) % 2])
        seen.add(connection.echo().serial_number)
    assert seen == {pair.leaf.serial_number for pair in pairs}


@both_kinds
@both_versions
async def test_sessions_are_resumed_over_a_renewal(autojump_clock, sandbox, manager, kind, version):
    context, clients = await context_of(manager, kind), client_context(sandbox, version)
    first = connect(context, clients, A)
    assert not first.client.session_reused
    await renew(manager)
    assert first.client.session.has_ticket
    again = connect(context, clients, A, first.client.session)
    assert again.client.session_reused
    assert again.server.session_reused


@both_kinds
async def test_a_server_that_wants_no_tickets_gives_none(autojump_clock, sandbox, manager, kind):
    context = await context_of(manager, kind)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    await renew(manager)
    for version in VERSIONS:
        session = connect(context, client_context(sandbox, version), A).client.session
        assert not (session and session.has_ticket)


# What the server sets.


@both_kinds
@both_versions
async def test_protocols_that_the_server_offers_stay(autojump_clock, sandbox, manager, kind, version):
    context = await context_of(manager, kind)
    clients = client_context(sandbox, version, alpn=["h2", "http/1.1"])
    assert connect(context, clients, A).client.selected_alpn_protocol() is None
    context.set_alpn_protocols(iter(["http/1.1"]))
    assert connect(context, clients, A).client.selected_alpn_protocol() == "http/1.1"
    await renew(manager)
    assert connect(context, clients, A).server.selected_alpn_protocol() == "http/1.1"
    manager.ensure_domains([A, B])
    await trio.sleep(1)
    if kind == "sni":
        assert connect(context, clients, B).client.selected_alpn_protocol() == "http/1.1"


@both_kinds
async def test_ciphers_versions_and_the_key_log_stay(autojump_clock, sandbox, manager, kind, tmp_path):
    context = await context_of(manager, kind)
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.keylog_filename = str(tmp_path / "keys")
    for _ in range(2):
        connection = connect(context, client_context(sandbox), A)
        assert connection.client.cipher()[:2] == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2")
        await renew(manager)
    assert context.keylog_filename == str(tmp_path / "keys")
    lines = (tmp_path / "keys").read_text().splitlines()
    assert len([line for line in lines if line.startswith("CLIENT_RANDOM")]) == 2


@both_kinds
@both_versions
async def test_client_certificates_are_asked_for_and_verified_as_the_server_says(
    autojump_clock, sandbox, manager, kind, version, tmp_path
):
    key = make_key()
    cert = make_cert(key, "someone")
    (tmp_path / "client.pem").write_bytes(key_pem(key) + cert)
    context, clients = await context_of(manager, kind), client_context(sandbox, version)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=cert.decode())
    context.verify_flags |= NO_CHECK_TIME
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            connect(context, clients, A)
        await renew(manager)
    clients.load_cert_chain(tmp_path / "client.pem")
    assert connect(context, clients, A).server.getpeercert()["subjectAltName"] == (("DNS", "someone"),)


# By SNI.

WILD = f"*.{A}"


@pytest.fixture
async def wildcards():
    async with open_sandbox(cert_domains=[A, B], clock=virtual_clock, wildcards=True) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (A, A),
        (B, B),
        (B.upper(), B),
        (f"{B}.", B),
        (f"x.{A}", WILD),
        (f"X.{A}.", WILD),
        (f"x.y.{A}", A),
        (f"x.{B}", A),
        ("b", B),
        ("B", B),
        ("nobody", A),
        ("example.com", A),
        (None, A),
    ],
)
@both_versions
async def test_the_certificate_is_that_of_the_name_asked_for_or_of_the_first(
    autojump_clock, wildcards, asked, shown, version
):
    async with (
        LocalClient(wildcards.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=virtual_clock) as manager,
    ):
        manager.ensure_domains([B])  # not the first, since the next ones are sorted before it
        manager.ensure_domains([A])
        manager.ensure_domains([A, WILD, B])
        context = await manager.sni_context()
        await trio.sleep(1)
        connection = connect(context, client_context(wildcards, version, check=False), asked)
        assert connection.serial_number == wildcards.certificate(shown).serial_number


async def test_a_default_can_be_named_and_is_waited_for(autojump_clock, sandbox, manager):
    sandbox.add_fault(Fault.delay(20, domain=B, count=1))
    manager.ensure_domains([A, B])
    context = await manager.sni_context(default="b")
    assert trio.current_time() >= 20
    assert connect(context, client_context(sandbox, check=False), "x.org").serial_number == (
        sandbox.certificate(B).serial_number
    )


async def test_a_wildcard_covers_its_own_name_where_nothing_else_does(autojump_clock, wildcards):
    async with (
        LocalClient(wildcards.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=virtual_clock) as manager,
    ):
        manager.ensure_domains([B, WILD])
        context = await manager.sni_context(default=B)
        await trio.sleep(1)
        shown = connect(context, client_context(wildcards), A).serial_number
        assert shown == wildcards.certificate(WILD).serial_number


async def test_names_that_come_are_served_and_those_that_go_are_forgotten(autojump_clock, sandbox, manager):
    manager.ensure_domains([A])
    context, clients = await manager.sni_context(), client_context(sandbox)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(context, clients, B)
    manager.ensure_domains([A, B])
    await trio.sleep(1)
    kept = connect(context, clients, B)
    manager.ensure_domains([A])
    await trio.sleep(1)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(context, clients, B)
    kept.echo()
    assert list(context.leaves) == [A]
    manager.ensure_domains([])
    await trio.sleep(1)
    refused = Connection(context, clients, A)
    with pytest.raises(ssl.SSLError):
        refused.finish()
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized[ _]name"):
        refused.client.do_handshake()
    manager.ensure_domains([A])
    await trio.sleep(1)
    connect(context, clients, A)


async def test_a_context_for_a_name_that_is_gone_keeps_its_certificate_until_the_name_returns(
    autojump_clock, sandbox, client, manager
):
    context, clients = await context_of(manager, "name"), client_context(sandbox)
    manager.ensure_domains([B])
    await client.cert(A, min_validity=timedelta(days=90))  # by another program
    await trio.sleep(DAY)
    assert connect(context, clients, A).serial_number != sandbox.certificate(A).serial_number
    manager.ensure_domains([A])
    await trio.sleep(1)
    assert connect(context, clients, A).serial_number == sandbox.certificate(A).serial_number


# Names.


@pytest.mark.parametrize("name", [A, A.upper(), f"{A}.", "a", "A"])
async def test_a_name_may_be_written_in_capitals_with_a_dot_and_short(autojump_clock, sandbox, manager, name):
    manager.ensure_domains([A, B])
    connect(await manager.ssl_context(name), client_context(sandbox), A)


@pytest.mark.parametrize("name", [C, "c", "", "a.", f"x.{A}", "tail1234.ts.net", "*"])
async def test_a_name_without_a_loop_is_refused_at_once(autojump_clock, manager, name):
    manager.ensure_domains([B, "a.tail1234.ts.net.example.org"])
    await trio.sleep(1)
    with pytest.raises(KeyError):
        await manager.ssl_context(name)
    with pytest.raises(KeyError):
        await manager.sni_context(default=name)


async def test_a_short_name_means_one_in_the_nodes_tailnets_only(autojump_clock, sandbox, manager):
    sandbox.set_cert_domains([A, B])
    manager.ensure_domains([A, "a.example.org"])
    with pytest.raises(KeyError, match=r"a may be a\.example\.org or a\.tail1234\.ts\.net: write the whole"):
        await manager.ssl_context("a")  # the tailnet is not known yet
    await trio.sleep(1)
    connect(await manager.ssl_context("a"), client_context(sandbox), A)


async def test_a_short_name_that_may_mean_two_is_refused_with_both(autojump_clock, sandbox, manager):
    other = "a.tail99.ts.net"
    sandbox.set_cert_domains([A, other])
    manager.ensure_domains([A, other])
    await trio.sleep(1)
    with pytest.raises(KeyError, match=f"a may be {A} or {other}: write the whole name"):
        await manager.ssl_context("a")


@both_kinds
async def test_who_waits_for_a_name_that_goes_or_for_a_manager_that_ends_is_told(
    autojump_clock, sandbox, client, kind
):
    sandbox.add_fault(Fault.hang())
    errors = []

    async def wait_for_context(manager):
        try:
            await context_of(manager, kind)
        except (KeyError, trio.ClosedResourceError) as exc:
            errors.append(type(exc))

    async with trio.open_nursery() as nursery:
        async with open_cert_manager(client, clock=virtual_clock) as manager:
            nursery.start_soon(wait_for_context, manager)
            await trio.sleep(10)
            manager.ensure_domains([B])
            await trio.sleep(1)
            nursery.start_soon(wait_for_context, manager)
            await trio.sleep(1)
    assert errors == [KeyError, trio.ClosedResourceError]
    with pytest.raises(trio.ClosedResourceError):
        await manager.sni_context()


# What goes wrong.


@both_kinds
async def test_a_tailscaled_that_is_away_as_it_renewed_is_asked_again_when_it_is_back(
    autojump_clock, sandbox, manager, kind, caplog
):
    caplog.set_level(logging.DEBUG)
    context, clients = await context_of(manager, kind), client_context(sandbox)
    old = connect(context, clients, A)
    manager.news.give()  # the next look at news is a fifth of a second later
    manager.renew(A, force=True)
    await trio.sleep(0.1)
    await sandbox.stop()
    assert old.serial_number != sandbox.certificate(A).serial_number
    asked = len(pairs_asked(sandbox))
    await trio.sleep(1000)
    assert connect(context, clients, A).serial_number == old.serial_number
    told = [record for record in caplog.records if "servers here cannot" in record.message]
    assert len([record for record in told if record.levelno > logging.DEBUG]) == 1
    assert 15 <= len(told) <= 25
    await sandbox.start()
    back_at = trio.current_time()
    await trio.sleep(61)
    assert connect(context, clients, A).serial_number == sandbox.certificate(A).serial_number
    assert pairs_asked(sandbox)[-1] - back_at <= 60
    assert len(pairs_asked(sandbox)) == asked + 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault.connection_reset(),
        Fault.cut_body(),
        Fault.garbage_body(),
        Fault.answer(403, "cert access denied"),
    ],
    ids=["reset", "cut", "garbage", "denied"],
)
async def test_a_fetch_that_fails_is_tried_again_with_a_backoff_told_once_and_orders_nothing(
    autojump_clock, sandbox, manager, fault, caplog
):
    manager.ensure_domains([A])
    await trio.sleep(10)
    sandbox.add_fault(fault)
    with trio.move_on_after(300):
        await manager.ssl_context(A)
    times = [at - 10 for at in pairs_asked(sandbox)]
    assert times == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123, 183, 243], abs=0.3)
    told = [record for record in caplog.records if record.message.startswith(f"{A}: servers here cannot")]
    assert [record.levelno for record in told].count(logging.WARNING) == 1
    sandbox.clear_faults()
    connect(await manager.ssl_context(A), client_context(sandbox), A)
    assert len(sandbox.orders) == 1


@both_kinds
async def test_a_new_certificate_is_fetched_at_once_even_where_the_one_before_could_not_be_had(
    autojump_clock, sandbox, manager, kind
):
    context, clients = await context_of(manager, kind), client_context(sandbox)
    manager.news.give()
    manager.renew(A, force=True)
    await trio.sleep(0.1)
    sandbox.add_fault(Fault.connection_reset())
    await trio.sleep(200)
    sandbox.clear_faults()
    assert connect(context, clients, A).serial_number != sandbox.certificate(A).serial_number
    await renew(manager)
    assert len(sandbox.orders) == 3
    assert connect(context, clients, A).serial_number == sandbox.certificate(A).serial_number


async def test_a_certificate_that_tailscaled_has_lost_is_ordered_by_the_loop_and_not_by_contexts(
    autojump_clock, sandbox, manager
):
    context, clients = await context_of(manager, "name"), client_context(sandbox)
    sandbox.lose_certificate(A)
    sandbox.add_fault(Fault.validation())
    with trio.move_on_after(3600):
        await manager.ssl_context(A)
    # One order by the look that found it lost; all others by the loop, at its times.
    assert len(pairs_asked(sandbox)) == 2
    assert manager.statistics()[A].failures == len(sandbox.orders) - 1
    connect(context, clients, A)
    sandbox.clear_faults()
    manager.renew(A)
    await trio.sleep(1)
    assert connect(context, clients, A).serial_number == sandbox.certificate(A).serial_number


async def test_in_the_last_minute_of_a_certificate_nothing_is_asked_since_that_might_order(autojump_clock):
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock, validity=timedelta(hours=6)) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=virtual_clock) as manager,
    ):
        manager.ensure_domains([A])
        await trio.sleep(1)
        sandbox.set_egress_shut()
        end = (sandbox.certificate(A).not_after - EPOCH).total_seconds()
        await trio.sleep_until(end - 59)
        with trio.move_on_after(50) as scope:
            await manager.ssl_context(A)
        assert scope.cancelled_caught
        assert pairs_asked(sandbox) == []
        sandbox.set_egress_shut(False)
        connect(await manager.ssl_context(A), client_context(sandbox), A)


async def test_after_a_restart_the_key_is_asked_for_only_once_the_loop_has_seen_the_certificate(
    autojump_clock, sandbox, client, manager
):
    manager.ensure_domains([A])
    await trio.sleep(10)
    running = manager._running[A].loop
    running.record.looked_at = None  # as a restart leaves it
    asked = len(sandbox.calls)
    running.plan_again()
    connect(await manager.ssl_context(A), client_context(sandbox), A)
    assert [call.query["type"] for call in sandbox.calls[asked:]] == ["crt", "pair"]
    assert trio.current_time() < 11


def made_pair(key, *, key_of=None):
    return CertPair.from_pem(key_pem(key_of or key) + make_cert(key, A))


@both_kinds
async def test_a_pair_that_openssl_does_not_take_leaves_the_one_before(
    autojump_clock, sandbox, manager, kind
):
    context, clients = await context_of(manager, kind), client_context(sandbox)
    old, good = connect(context, clients, A), made_pair(make_key())
    other = made_pair(make_key())
    mismatched = CertPair(chain_pem=good.chain_pem, key_pem=other.key_pem, leaf=good.leaf)
    with pytest.raises(ssl.SSLError, match=r"(?i)key.values.mismatch") as caught:
        context.put(A, mismatched)
    assert "PRIVATE" not in repr(caught.value)
    assert connect(context, clients, A).serial_number == old.serial_number
    assert context.leaves[A].serial_number == old.serial_number


async def test_a_context_that_cannot_be_loaded_keeps_no_other_from_its_certificate(
    autojump_clock, sandbox, manager, tmp_path
):
    manager.ensure_domains([A])
    contexts = [await manager.sni_context() for _ in range(4)]
    (tmp_path / "ca.pem").write_bytes(sandbox.root_pem)
    for context in contexts[1::2]:
        context.load_verify_locations(tmp_path / "ca.pem")
    (tmp_path / "ca.pem").unlink()
    old = sandbox.certificate(A).serial_number
    await renew(manager)
    new = sandbox.certificate(A).serial_number
    clients = client_context(sandbox)
    assert [connect(context, clients, A).serial_number for context in contexts] == [new, old, new, old]
    (tmp_path / "ca.pem").write_bytes(sandbox.root_pem)
    await trio.sleep(5)
    assert [connect(context, clients, A).serial_number for context in contexts] == [new] * 4


async def test_a_certificate_lost_while_an_order_is_under_way_is_not_asked_for_again_and_again(
    autojump_clock, sandbox, manager
):
    context = await context_of(manager, "name")
    sandbox.add_fault(Fault.hang(count=2))
    manager.renew(A, force=True)  # its look hangs, while the loop has a request under way
    await trio.sleep(1)
    with trio.move_on_after(60):
        await manager.ssl_context(A)
    assert len(pairs_asked(sandbox)) <= 3
    await trio.sleep(3600)
    assert connect(context, client_context(sandbox), A).serial_number == sandbox.certificate(A).serial_number


async def test_a_pair_that_openssl_does_not_take_is_told_and_asked_for_again(
    autojump_clock, sandbox, manager, caplog
):
    manager.ensure_domains([A])
    await trio.sleep(1)
    key = rsa.generate_private_key(65537, 1024)  # too short for OpenSSL's default security level
    sandbox.add_fault(Fault.answer(200, key_pem(key) + make_cert(key, A), count=2))
    connect(await manager.ssl_context(A), client_context(sandbox), A)
    told = [record.message for record in caplog.records if "it cannot be loaded" in record.message]
    assert len(told) == 1
    assert re.search("(?i)key.too.small", told[0])
    assert len(pairs_asked(sandbox)) == 3


@both_kinds
async def test_a_certificate_with_another_kind_of_key_replaces_the_one_before_too(
    autojump_clock, sandbox, client, manager, kind
):
    """One context holds a certificate for each kind; a client would still be shown the old one."""
    context, clients = await context_of(manager, kind), client_context(sandbox, alpn=["h2"])
    context.set_alpn_protocols(["h2"])
    key = rsa.generate_private_key(65537, 2048)
    context.put(A, CertPair.from_pem(key_pem(key) + make_cert(key, A, serial=77)))
    clients.load_verify_locations(cadata=make_cert(key, A, serial=77).decode())
    connection = connect(context, clients, A)
    assert connection.serial_number == 77
    assert connection.client.selected_alpn_protocol() == "h2"
    context.put(A, await client.cert_pair(A, min_validity=SECOND))
    assert connect(context, clients, A).serial_number == sandbox.certificate(A).serial_number


# The key.


@both_kinds
async def test_the_key_is_in_no_log_and_no_object_that_can_be_found(
    autojump_clock, sandbox, client, manager, kind, caplog
):
    caplog.set_level(logging.DEBUG)
    context = await context_of(manager, kind)
    await renew(manager)
    gc.collect()
    pairs = [each for each in gc.get_objects() if isinstance(each, CertPair)]
    assert not [pair for pair in pairs if A in pair.leaf.names]
    key = (await client.cert_pair(A, min_validity=SECOND)).key_pem.decode().splitlines()[1]
    assert key not in caplog.text
    assert "PRIVATE KEY" not in caplog.text + repr(context) + repr(vars(context))


@pytest.mark.parametrize("without", ["memfd", "proc"])
async def test_without_files_in_memory_the_key_is_in_a_file_of_ones_own_for_a_moment(
    autojump_clock, sandbox, manager, without, tmp_path, monkeypatch
):
    seen = []

    def load_cert_chain(context, path):
        file = Path(path)
        seen.append((path, file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777))
        real(context, path)

    real = ssl.SSLContext.load_cert_chain
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_cert_chain)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if without == "memfd":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    else:
        exists = os.path.exists
        monkeypatch.setattr(os.path, "exists", lambda path: "/proc/" not in str(path) and exists(path))
    context = await context_of(manager, "name")
    connect(context, client_context(sandbox), A)
    assert {mode[1:] for mode in seen} == {(0o600, 0o700)}
    assert all(path.startswith(str(tmp_path)) for path, *_ in seen)
    assert list(tmp_path.iterdir()) == []


async def test_no_file_stays_open(autojump_clock, sandbox, manager):
    context = await context_of(manager, "name")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        await renew(manager)
    assert len(list(Path("/dev/fd").iterdir())) == before
    connect(context, client_context(sandbox), A)


# Servers.


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


@both_kinds
async def test_serve_ssl_over_tcp_shows_the_new_certificate_while_old_connections_go_on(kind):
    async with (
        open_sandbox(cert_domains=[A]) as sandbox,
        LocalClient(sandbox.socket_path) as client,
        open_cert_manager(client) as manager,
        trio.open_nursery() as nursery,
    ):
        context, clients = await context_of(manager, kind), client_context(sandbox)
        serve = partial(trio.serve_ssl_over_tcp, echo, 0, context, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        old, _, old_stream = await ask(port, clients, A)
        await renew(manager)
        new, answer, new_stream = await ask(port, clients, A)
        assert old != new == sandbox.certificate(A).serial_number
        assert answer == b"ping"
        await old_stream.send_all(b"still here")
        assert await old_stream.receive_some() == b"still here"
        for stream in (old_stream, new_stream):
            await stream.aclose()
        nursery.cancel_scope.cancel()


@both_kinds
async def test_hypercorn_shows_the_new_certificate(kind):
    """Its configuration makes the context, so the README has one that takes ours."""
    serve = pytest.importorskip("hypercorn.trio").serve
    namespace = {}
    exec(next(block for block in code_blocks() if "hypercorn" in block), namespace)

    async def app(scope, receive, send):
        assert scope["type"] in {"http", "lifespan"}
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["http_version"].encode()})
            return
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    async with (
        open_sandbox(cert_domains=[A]) as sandbox,
        LocalClient(sandbox.socket_path) as client,
        open_cert_manager(client) as manager,
        trio.open_nursery() as nursery,
    ):
        config = namespace["LiveConfig"]()
        config.bind = ["127.0.0.1:0"]
        config.context = await context_of(manager, kind)
        stop = trio.Event()
        (bound,) = await nursery.start(partial(serve, app, config, shutdown_trigger=stop.wait))
        request = f"GET / HTTP/1.1\r\nHost: {A}\r\n\r\n".encode()
        shown = []
        for alpn in (["http/1.1"], ["h2", "http/1.1"]):
            clients = client_context(sandbox, alpn=alpn)
            serial_number, answer, stream = await ask(int(bound.rpartition(":")[2]), clients, A, request)
            shown.append(serial_number)
            assert stream.selected_alpn_protocol() == alpn[0]
            assert answer.startswith(b"HTTP/1.1 200") == (alpn[0] == "http/1.1")
            await trio.aclose_forcefully(stream)
            await renew(manager)
        assert len(set(shown)) == 2
        stop.set()
