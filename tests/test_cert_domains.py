"""CertDomains are followed with one bus watch, whatever the bus does."""

import logging

import pytest
import trio
from conftest import A, B, C, calls_of, cert_times, virtual_clock

from tscert_trio import DomainState, LocalClient, open_cert_manager
from tscert_trio.sandbox import VERSIONS, Fault, open_sandbox


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_new_cert_domain_is_seen_at_once_on_every_release(autojump_clock, version):
    async with (
        open_sandbox(version, cert_domains=[A], clock=virtual_clock, peers=10) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=virtual_clock) as manager,
    ):
        manager.ensure_domains([A, B])
        await trio.sleep(10)
        sandbox.set_cert_domains([A, B])
        await trio.sleep(1)
        assert {each.state for each in manager.statistics().domains} == {DomainState.ISSUED}
        assert (cert_times(sandbox, A), cert_times(sandbox, B)) == ([0], [10])
    assert len(calls_of(sandbox, "watch-ipn-bus")) == 1


async def test_a_storm_of_messages_costs_one_question_a_second(autojump_clock, sandbox, client):
    async with open_cert_manager(client, clock=virtual_clock):
        await trio.sleep(1)
        for _ in range(100):
            sandbox.push({"SelfChange": {"ID": 1}})
            await trio.sleep(0.1)
    assert len(calls_of(sandbox, "cert-domains")) <= 12


async def test_a_lost_message_costs_minutes_at_most(autojump_clock, sandbox, client):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([C])
        await trio.sleep(10)
        sandbox.drop_next_message()
        sandbox.set_cert_domains([C])
        await trio.sleep(300)
        assert manager.statistics()[C].state is DomainState.ISSUED


async def test_a_bus_that_ends_is_watched_again_and_what_changed_meanwhile_is_seen(
    autojump_clock, sandbox, client
):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([C])
        await trio.sleep(10)
        sandbox.drop_watchers()
        sandbox.set_cert_domains([C])
        await trio.sleep(2)
        assert manager.statistics()[C].state is DomainState.ISSUED
        assert manager.statistics().bus_connected
    assert calls_of(sandbox, "watch-ipn-bus") == [0, 11]


async def test_a_bus_that_ends_again_and_again_is_watched_again_less_and_less_often(
    autojump_clock, sandbox, client, caplog
):
    with caplog.at_level(logging.INFO):
        async with open_cert_manager(client, clock=virtual_clock):
            for _ in range(3600):
                await trio.sleep(1)
                sandbox.drop_watchers(clean=True)
    watches = calls_of(sandbox, "watch-ipn-bus")
    assert 60 <= len(watches) <= 70
    assert watches[-1] - watches[-2] >= 60
    assert "IPN bus" not in caplog.text


async def test_without_an_answer_for_a_minute_each_waiting_name_goes_on_to_an_attempt(
    autojump_clock, sandbox, client, caplog
):
    """Waiting is best effort, as in Go: the certificate can be had, and only the question fails."""
    sandbox.add_fault(Fault.answer(500, "no answer today", endpoint="cert-domains"))
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(59)
        assert manager.statistics()[A].state is DomainState.WAITING
        await trio.sleep(66)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert "trying without knowing them" in caplog.text


async def test_a_bus_and_a_question_that_are_denied_are_told_once_with_who_may_ask(
    autojump_clock, sandbox, client, caplog
):
    sandbox.set_permissions(read=False)
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(3600)
        assert manager.statistics()[A].state is DomainState.ISSUED  # blind, but it may have certificates
    told = [record.getMessage() for record in caplog.records if "TS_PERMIT_CERT_UID" in record.getMessage()]
    assert len(told) == 2
    assert any("cannot watch the IPN bus" in line for line in told)
    assert any("cannot learn the node's CertDomains" in line for line in told)


async def test_a_name_that_waits_for_long_is_told_once_with_what_to_do(
    autojump_clock, sandbox, client, caplog
):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A, C])
        await trio.sleep(9)
        assert caplog.text == ""
        await trio.sleep(3600)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{C}: waiting, since it is not among this node's CertDomains ({A}, {B}).")
    assert "enable HTTPS" in message


async def test_being_blind_ends_when_tailscaled_is_away(autojump_clock, sandbox, client):
    """A tailscaled that cannot be reached at all is waited for."""
    sandbox.add_fault(Fault.answer(500, "no answer today", endpoint="cert-domains"))
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        await trio.sleep(130)
        await sandbox.stop()
        await trio.sleep(60)
        manager.ensure_domains([A])
        await trio.sleep(600)
        assert manager.statistics()[A].attempts == 0


async def test_a_wildcard_waits_for_the_name_it_is_had_for(autojump_clock):
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock, wildcards=True) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=virtual_clock) as manager,
    ):
        manager.ensure_domains([f"*.{A}", f"*.{B}"])
        await trio.sleep(1)
        assert manager.statistics()[f"*.{A}"].state is DomainState.ISSUED
        assert manager.statistics()[f"*.{B}"].state is DomainState.WAITING


async def test_a_killed_tailscaled_ends_the_watch_without_alarm(autojump_clock, sandbox, client, caplog):
    """The bus breaks off in the middle of a chunk; that is no protocol error."""
    with caplog.at_level(logging.INFO):
        async with open_cert_manager(client, clock=virtual_clock) as manager:
            await trio.sleep(10)
            await sandbox.stop(killed=True)
            await trio.sleep(10)
            await sandbox.start()
            await trio.sleep(61)
            assert manager.statistics().bus_connected
    told = [record.getMessage() for record in caplog.records]
    assert "connection refused" in told[-2]
    assert told[-1] == "tailscaled answers"
    assert "cannot watch" not in caplog.text


async def test_a_tailscaled_that_is_away_is_told_once_and_its_return_too(
    autojump_clock, sandbox, client, caplog
):
    await sandbox.stop()
    with caplog.at_level(logging.INFO):
        async with open_cert_manager(client, clock=virtual_clock) as manager:
            manager.ensure_domains([A])
            await trio.sleep(3600)
            (away,) = [record.getMessage() for record in caplog.records]
            assert "no such socket" in away
            assert "systemctl start tailscaled" in away
            await sandbox.start()
            await trio.sleep(61)
    assert "tailscaled answers" in caplog.text
