"""When the CA is asked about certificates, and what follows from its answers."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio
from conftest import EPOCH, A, B, cert_times, virtual_clock

from tscert_trio import (
    AlreadyReplacedError,
    DomainState,
    LocalClient,
    RenewalInfoClient,
    RetryPolicy,
    open_cert_manager,
)
from tscert_trio.localapi.transport import UnixTransport
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.schedule import DueReason

DAY, HOUR = 86400, 3600
PROBE = 300 + 5


@asynccontextmanager
async def open_both(*names, is_ca_known=True, **options):
    """Open a sandbox, and a manager that asks its CA."""
    async with (
        open_sandbox(cert_domains=names or [A, B], clock=virtual_clock, **options) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        RenewalInfoClient(
            sandbox.directory_url if is_ca_known else None,
            transport=UnixTransport(sandbox.ca_socket_path),
            clock=virtual_clock,
        ) as renewal_info,
        open_cert_manager(client, clock=virtual_clock, renewal_info=renewal_info) as manager,
    ):
        yield sandbox, manager


def after_epoch(moments):
    return [(moment - EPOCH).total_seconds() for moment in moments]


def asked_at(sandbox, domain=A):
    return after_epoch(at for at, name in sandbox.renewal_info_calls if name == domain)


def told(caplog, words):
    return [record for record in caplog.records if words in record.getMessage()]


async def test_the_ca_is_asked_about_a_new_certificate_at_once_and_then_when_it_wants_to_be(autojump_clock):
    async with open_both(ari_retry_after=4 * HOUR) as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(DAY)
        window = manager.statistics()[A].window
    first = asked_at(sandbox)[0]
    assert first <= 6
    assert asked_at(sandbox) == pytest.approx([first + 4 * HOUR * n for n in range(6)], abs=1)
    assert len(sandbox.directory_calls) == 1
    assert (window.end - window.start) == timedelta(days=3)


async def test_the_ca_is_asked_twice_a_day_even_if_it_wants_to_be_left_alone(autojump_clock):
    async with open_both(ari_retry_after=30 * DAY) as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(3 * DAY + 60)
    assert len(asked_at(sandbox)) == 7


async def test_each_renewed_certificate_is_asked_about(autojump_clock):
    async with open_both() as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(60)
        assert manager.statistics()[A].due_reason is DueReason.CA_WINDOW
        manager.renew(A, force=True)
        await trio.sleep(60)
        statistics = manager.statistics()[A]
        assert statistics.leaf.serial_number == sandbox.certificate(A).serial_number
        assert statistics.due_reason is DueReason.CA_WINDOW
    assert len(asked_at(sandbox)) == 2
    assert 60 <= asked_at(sandbox)[1] <= 66


async def test_a_certificate_whose_window_has_passed_is_renewed_as_soon_as_that_is_known(
    autojump_clock, caplog
):
    """So a CA asks for a certificate to be replaced that it is about to revoke."""
    async with open_both() as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(7 * HOUR)
        now = virtual_clock()
        sandbox.set_ari_window(A, now - timedelta(2), now - timedelta(1), "https://ca.example/incident")
        await trio.sleep(6 * HOUR)
        assert manager.statistics()[A].leaf.serial_number == sandbox.certificate(A).serial_number
    learnt_at = asked_at(sandbox)[2]
    assert 12 * HOUR <= learnt_at <= 12 * HOUR + 10
    first, renewal = after_epoch(order.at for order in sandbox.orders)
    assert (first, renewal) == (0, pytest.approx(learnt_at, abs=2))
    (line,) = told(caplog, "wants the certificate renewed now")
    assert line.getMessage().startswith(f"{A}: ")
    assert "https://ca.example/incident" in line.getMessage()


async def test_a_ca_that_is_away_is_told_once_and_changes_nothing(autojump_clock, caplog):
    async with open_both() as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(HOUR)
        before = manager.statistics()[A]
        sandbox.set_egress_shut()
        with caplog.at_level("INFO"):
            await trio.sleep(2 * DAY)
            after = manager.statistics()[A]
            assert (after.window, after.due_at, after.last_error) == (before.window, before.due_at, None)
            assert len(told(caplog, "cannot ask the CA when to renew")) == 1
            assert told(caplog, "the CA answers again") == []
            sandbox.set_egress_shut(False)
            await trio.sleep(HOUR + 60)
            assert len(told(caplog, "the CA answers again")) == 1
    assert cert_times(sandbox) == [0, DAY, 2 * DAY]
    assert all(
        later - earlier >= HOUR
        for earlier, later in zip(asked_at(sandbox), asked_at(sandbox)[1:], strict=False)
    )


async def test_the_ca_is_probed_every_five_minutes_only_while_a_failure_waits_for_it(autojump_clock):
    async with open_both() as (sandbox, manager):
        sandbox.add_fault(Fault.answer(500, "something that nobody has seen before", domain=A, count=8))
        manager.ensure_domains([A])
        await trio.sleep(5 * HOUR)
        assert manager.statistics()[A].failures == 0
    probes, success = after_epoch(sandbox.directory_calls), cert_times(sandbox)[-1]
    assert success == 15300
    gaps = [later - earlier for earlier, later in zip(probes, probes[1:], strict=False)]
    assert min(gaps) >= 5
    assert max(gaps) <= PROBE + 1
    assert success <= probes[-1] <= success + 6  # the last one belongs to the question about the certificate


@pytest.mark.parametrize(
    "fault", [Fault.answer(403, "cert access denied"), Fault.control("no DNS"), Fault.validation()]
)
async def test_the_ca_is_not_probed_for_a_failure_that_is_not_about_it(autojump_clock, fault):
    async with open_both() as (sandbox, manager):
        sandbox.add_fault(fault)
        manager.ensure_domains([A])
        await trio.sleep(DAY)
        assert manager.statistics()[A].last_error is not None
    assert sandbox.directory_calls == sandbox.renewal_info_calls == []


async def test_a_ca_that_did_not_issue_the_certificates_is_left_alone(autojump_clock):
    """Let's Encrypt, that is, which would have to be asked over the network."""
    async with open_both(is_ca_known=False) as (sandbox, manager):
        sandbox.add_fault(Fault.answer(500, "something that nobody has seen before", domain=B))
        manager.ensure_domains([A, B])
        await trio.sleep(2 * DAY)
        statistics = manager.statistics()
        assert statistics[A].window is None
        assert statistics[B].failures > 10
    assert sandbox.directory_calls == sandbox.renewal_info_calls == []


async def test_many_names_are_asked_about_one_after_the_other(autojump_clock):
    names = [f"n{number}.tail1234.ts.net" for number in range(100)]
    async with open_both(*names) as (sandbox, manager):
        manager.ensure_domains(names)
        await trio.sleep(13 * HOUR)
    times = after_epoch(at for at, _ in sandbox.renewal_info_calls)
    assert len(times) == 3 * len(names)
    assert min(later - earlier for earlier, later in zip(times, times[1:], strict=False)) >= 0.499
    assert {name for _, name in sandbox.renewal_info_calls} == set(names)


@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(urgency=True)], ids=["plain", "urgent"])
async def test_after_a_lost_renewal_the_next_comes_within_seconds_of_the_end(
    autojump_clock, sandbox, client, policy
):
    """Until then the CA refuses: what an order replaces is replaced (RFC 9773, section 5)."""
    async with open_cert_manager(client, clock=virtual_clock, retry_policy=policy) as manager:
        manager.ensure_domains([A])
        await trio.sleep(59 * DAY)
        end = sandbox.certificate(A).not_after
        sandbox.add_fault(Fault.storage(count=1))
        await trio.sleep(89.9 * DAY - trio.current_time())
        assert type(manager.statistics()[A].last_error) is AlreadyReplacedError
        await trio.sleep((end - virtual_clock()).total_seconds() + 5)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert end < sandbox.orders[-1].at <= end + timedelta(seconds=2)
