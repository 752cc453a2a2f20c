"""What went wrong once, or nearly: rare meetings of two events, each with its exact times."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio
from conftest import EPOCH, A, B, cert_times, virtual_clock

from tscert_trio import (
    NO_LIMITS,
    ConnectionLostError,
    ControlError,
    Journal,
    LocalClient,
    Mode,
    RenewalInfoClient,
    RetryPolicy,
    open_cert_manager,
)
from tscert_trio.localapi.transport import UnixTransport
from tscert_trio.sandbox import Fault, open_sandbox

DAY, HOUR, MINUTE = 86400, 3600, 60
SLOW = RetryPolicy(initial=timedelta(hours=20))


class Leaping:
    """A wall clock that may leap."""

    leap = timedelta(0)

    def __call__(self):
        return virtual_clock() + self.leap


@asynccontextmanager
async def open_both(*, names=(A, B), clock=virtual_clock, journal=None, manage=None, **options):
    """Open a sandbox, and a manager that asks its CA."""
    async with (
        open_sandbox(cert_domains=names, clock=virtual_clock, **options) as sandbox,
        LocalClient(sandbox.socket_path, clock=clock) as client,
        RenewalInfoClient(
            sandbox.directory_url, transport=UnixTransport(sandbox.ca_socket_path), clock=clock
        ) as renewal_info,
        open_cert_manager(
            client, clock=clock, renewal_info=renewal_info, journal=journal, **(manage or {})
        ) as manager,
    ):
        yield sandbox, manager


async def test_a_tailscaled_that_dies_in_each_issuance_is_kept_within_the_limits_of_the_ca(autojump_clock):
    """Each may have been ordered, even issued: five at first, and then one each quarter of an hour."""
    async with open_both(issue_delay=20) as (sandbox, manager):
        manager.ensure_domains([A])

        async def kill_again_and_again():
            while True:
                if len(cert_times(sandbox)) > killed[0]:
                    killed[0] += 1
                    await trio.sleep(10)
                    await sandbox.stop(killed=True)
                    await trio.sleep(5)
                    await sandbox.start()
                await trio.sleep(1)

        killed = [0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_again_and_again)
            await trio.sleep(3 * HOUR)
            nursery.cancel_scope.cancel()
        assert type(manager.statistics()[A].last_error) is ConnectionLostError
        assert manager.statistics()[A].failures == killed[0]
    assert 5 < killed[0] <= 5 + 12


async def test_a_restart_of_tailscaled_in_an_issuance_costs_a_minute(autojump_clock):
    async with open_both(issue_delay=20) as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(10)
        await sandbox.stop(killed=True)
        await trio.sleep(5)
        await sandbox.start()
        await trio.sleep(90)
        assert manager.statistics()[A].leaf is not None
    first, second = cert_times(sandbox)
    assert 60 <= second - first - 10 <= 66


async def test_the_ca_is_asked_about_a_name_that_comes_long_after_the_start(autojump_clock, tmp_path):
    with Journal(tmp_path / "journal") as journal:
        async with open_both() as (sandbox, manager):
            manager.ensure_domains([A])
            await trio.sleep(20)
            leaf = sandbox.certificate(A)
            async with open_cert_manager(
                LocalClient(sandbox.socket_path), clock=virtual_clock, journal=journal
            ) as other:
                other.ensure_domains([A])
                await trio.sleep(20)
            calls = len(sandbox.renewal_info_calls)
            async with (
                RenewalInfoClient(
                    sandbox.directory_url,
                    transport=UnixTransport(sandbox.ca_socket_path),
                    clock=virtual_clock,
                ) as renewal_info,
                open_cert_manager(
                    LocalClient(sandbox.socket_path),
                    clock=virtual_clock,
                    journal=journal,
                    renewal_info=renewal_info,
                ) as third,
            ):
                await trio.sleep(HOUR)
                third.ensure_domains([A])
                await trio.sleep(20)
                assert third.statistics()[A].window is not None
            assert len(sandbox.renewal_info_calls) == calls + 1
            assert sandbox.certificate(A) == leaf


async def test_a_ca_that_wants_each_new_certificate_replaced_gets_fewer_and_fewer_orders(
    autojump_clock, caplog
):
    """Its windows are wrong, then. Without limits nothing else would end it."""
    async with open_both(ari_retry_after=60, manage={"limits": NO_LIMITS}) as (sandbox, manager):

        async def keep_window_past():
            while True:
                now = virtual_clock()
                sandbox.set_ari_window(A, now - timedelta(days=2), now - timedelta(days=1))
                await trio.sleep(30)

        manager.ensure_domains([A])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_window_past)
            await trio.sleep(8 * HOUR)
            nursery.cancel_scope.cancel()
    times = [(order.at - EPOCH).total_seconds() for order in sandbox.orders]
    assert times[1] < 200
    assert times[2] < 300
    assert times[3] - times[2] == pytest.approx(90 * DAY / 2000, abs=200)
    assert times[4] - times[3] == pytest.approx(90 * DAY / 1000, abs=200)
    assert len(times) <= 6
    assert "wants the certificate renewed now, as it did the one before" in caplog.text


async def test_a_name_that_comes_back_after_its_certificate_has_ended_is_issued_one_in_peace(autojump_clock):
    """What was planned when it went away, a look, would give an order up after ten seconds."""
    async with open_both(issue_delay=20, validity=timedelta(hours=30)) as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(30)
        sandbox.add_fault(
            Fault.answer(500, 'invalid domain "x"; must be one of []', endpoint="cert", count=1)
        )
        sandbox.set_cert_domains([B])
        await trio.sleep(40 * HOUR)
        sandbox.set_cert_domains([A, B])
        await trio.sleep(30)
        assert manager.statistics()[A].leaf.not_after > virtual_clock()
    assert len(sandbox.orders) == 2


async def test_a_guest_in_a_queue_does_not_look_at_a_certificate_that_is_ending(autojump_clock):
    names = [f"n{number}.tail1234.ts.net" for number in range(40)]
    async with open_both(names=names) as (sandbox, manager):
        manager.ensure_domains(names)
        await trio.sleep(MINUTE)
        end = (sandbox.certificate(names[0]).not_after - virtual_clock()).total_seconds()
        manager.ensure_domains([])
        async with open_cert_manager(
            LocalClient(sandbox.socket_path), clock=virtual_clock, mode_of=lambda _domain: Mode.GUEST
        ) as guests:
            guests._records |= {name: manager._records[name] for name in names}
            await trio.sleep(end - 90)
            orders = len(sandbox.orders)
            sandbox.add_fault(Fault.delay(9, endpoint="cert"))
            guests.ensure_domains(names)
            await trio.sleep(10 * MINUTE)
            assert len(sandbox.orders) == orders


async def test_a_certificate_that_is_lost_when_it_is_due_is_issued_in_the_same_attempt(autojump_clock):
    async with open_both(issue_delay=20) as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(2 * DAY)
        due = (manager.statistics()[A].due_at - virtual_clock()).total_seconds()
        await trio.sleep(due - 1)
        sandbox.lose_certificate(A)
        await trio.sleep(MINUTE)
        statistics = manager.statistics()[A]
        assert statistics.last_error is None
        assert statistics.leaf.not_after - virtual_clock() > timedelta(days=89)


async def test_a_retry_after_that_comes_just_after_the_clock_was_set_back_stays_as_long_as_it_is(
    autojump_clock,
):
    clock = Leaping()
    async with open_both(clock=clock) as (sandbox, manager):
        manager.ensure_domains([B])
        await trio.sleep(HOUR)
        clock.leap = -timedelta(hours=8)
        sandbox.add_fault(Fault.rate_limited(retry_after=6 * HOUR, hang=False, count=1))
        await trio.sleep(30)
        manager.ensure_domains([A, B])
        await trio.sleep(10 * HOUR)
    first, second = cert_times(sandbox)
    assert second - first == pytest.approx(6 * HOUR, abs=1)


async def test_a_restart_does_not_end_the_backoff_of_what_may_pass_with_tailscaled(
    autojump_clock, sandbox, client, tmp_path
):
    """That our own watch connects is no change of tailscaled."""
    sandbox.add_fault(Fault.control("away"))
    for _ in range(20):
        with Journal(tmp_path / "journal") as journal:
            async with open_cert_manager(
                client, clock=virtual_clock, journal=journal, retry_policy=SLOW
            ) as manager:
                manager.ensure_domains([A])
                await trio.sleep(2 * MINUTE)
                assert type(manager.statistics()[A].last_error) is ControlError
    assert cert_times(sandbox) == [0]


async def test_a_machine_that_boots_in_1970_keeps_the_retry_after_until_it_knows_the_time(
    autojump_clock, sandbox, client, tmp_path
):
    clock = Leaping()
    sandbox.add_fault(Fault.rate_limited(retry_after=DAY, hang=False, count=1))
    with Journal(tmp_path / "journal") as journal:
        async with open_cert_manager(client, clock=clock, journal=journal) as manager:
            manager.ensure_domains([A])
            await trio.sleep(HOUR)
    clock.leap = -timedelta(days=56 * 365)
    with Journal(tmp_path / "journal") as journal:
        async with open_cert_manager(client, clock=clock, journal=journal) as manager:
            manager.ensure_domains([A])
            await trio.sleep(5)
            clock.leap = timedelta(0)
            await trio.sleep(2 * DAY)
    assert cert_times(sandbox)[1] == pytest.approx(DAY, abs=1)


async def test_a_certificate_that_the_ca_does_not_know_says_nothing_of_the_ca(autojump_clock, caplog):
    async with open_both() as (sandbox, manager):
        manager.ensure_domains([A, B])
        await trio.sleep(20)
        del sandbox._ca.issued[sandbox.certificate(A).ari_id]
        await trio.sleep(3 * DAY)
    assert "cannot ask the CA" not in caplog.text
    assert "answers again" not in caplog.text
    assert caplog.text.count(f"{A}: the CA does not say when to renew") == 1


async def test_a_ca_that_comes_back_during_an_attempt_is_not_forgotten(autojump_clock):
    """The attempt may fail yet, with what went wrong before."""
    async with open_both(manage={"retry_policy": SLOW}) as (sandbox, manager):
        sandbox.set_egress_shut()
        manager.ensure_domains([A])
        await trio.sleep(9 * MINUTE)  # it is seen to be away
        sandbox.set_egress_shut(False)
        sandbox.add_fault(Fault.hang(count=1))
        manager.renew(A)
        await trio.sleep(10 * MINUTE)
        assert manager.statistics()[A].leaf is not None
    assert len(cert_times(sandbox)) == 3


async def test_a_first_certificate_that_came_behind_a_failure_is_counted(autojump_clock):
    async with open_both() as (sandbox, manager):
        sandbox.add_fault(Fault.cut_body(endpoint="cert", count=1))
        manager.ensure_domains([A])
        await trio.sleep(10 * MINUTE)
        assert manager.statistics()[A].leaf is not None
        record = manager._records[A]
        bucket = manager._context.ledger.limits.certificates_per_name
        assert bucket.used(record.certificates_full_at, virtual_clock()) == 1
    assert len(sandbox.orders) == 1


async def test_a_clock_that_is_set_far_ahead_for_a_while_costs_no_memory(
    autojump_clock, sandbox, client, tmp_path
):
    clock = Leaping()
    with Journal(tmp_path / "journal") as journal:
        async with open_cert_manager(client, clock=clock, journal=journal) as manager:
            manager.ensure_domains([A])
            await trio.sleep(2 * DAY)
            clock.leap = timedelta(days=600)
            await trio.sleep(10 * MINUTE)
            clock.leap = timedelta(0)
            await trio.sleep(10 * MINUTE)
            assert journal.attempts(A)[0].started_at == EPOCH


async def test_a_journal_begun_anew_meanwhile_is_told_again_how_names_stand(
    autojump_clock, sandbox, client, tmp_path
):
    with Journal(tmp_path / "journal") as journal:
        async with open_cert_manager(client, clock=virtual_clock, journal=journal) as manager:
            manager.ensure_domains([A, B])
            await trio.sleep(MINUTE)
            journal._begin_anew(Exception("a disk went bad"))
            await trio.sleep(6 * MINUTE)
    with Journal(tmp_path / "journal") as journal:
        assert {name: each.leaf for name, each in journal.load().records.items()} == {
            name: sandbox.certificate(name) for name in (A, B)
        }


async def test_after_a_suspend_the_ca_is_asked_within_minutes(autojump_clock):
    clock = Leaping()
    async with open_both(clock=clock) as (sandbox, manager):
        manager.ensure_domains([A])
        await trio.sleep(HOUR)
        before = len(sandbox.renewal_info_calls)
        clock.leap = timedelta(days=10)
        await trio.sleep(310)
        assert len(sandbox.renewal_info_calls) == before + 1
