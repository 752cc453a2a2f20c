"""The life of one name, at exact times: when it asks, and when it does not."""

import logging
from datetime import timedelta
from itertools import accumulate

import pytest
import trio
import trio.testing
from conftest import A, B, C, calls_of, cert_times, virtual_clock

from tscert_trio import (
    AccessDeniedError,
    DomainState,
    IssuanceTimeoutError,
    Journal,
    LocalClient,
    NotACertDomainError,
    RetryPolicy,
    UnreachableError,
    open_cert_manager,
)
from tscert_trio.sandbox import Fault, open_sandbox

DAY = 86400
# What Go's seed does, without its overflow: 1 minute doubling to a day, counted from the first call.
FAILING = list(accumulate([0, 60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720, 61440, DAY, DAY]))


def open_manager(client, **options):
    return open_cert_manager(client, clock=virtual_clock, **options)


def counted(**options):
    """A failure that counts."""
    return Fault.answer(500, "something that nobody has seen before", **options)


async def run_for(client, seconds, *domains, **options):
    """Run cert loops for a while; return the last statistics."""
    async with open_manager(client, **options) as manager:
        manager.ensure_domains(domains or [A])
        await trio.sleep(seconds)
        return manager.statistics()


async def test_a_certificate_is_asked_for_at_once_and_every_24_hours(autojump_clock, sandbox, client):
    statistics = (await run_for(client, 3 * DAY + 1))[A]
    assert cert_times(sandbox) == [0, DAY, 2 * DAY, 3 * DAY]
    assert (statistics.state, statistics.attempts, statistics.failures) == (DomainState.ISSUED, 4, 0)
    assert statistics.leaf.names == (A,)
    assert len(sandbox.orders) == 1


async def test_only_the_certificate_is_asked_for_not_the_key(autojump_clock, sandbox, client):
    await run_for(client, 1)
    assert [call.query for call in sandbox.calls if "/cert/" in call.path] == [
        {"type": "crt", "min_validity": "1.000000s"}
    ]


async def test_failures_are_retried_after_1_minute_doubling_to_24_hours(autojump_clock, sandbox, client):
    sandbox.add_fault(counted())
    statistics = (await run_for(client, FAILING[-1] + 1))[A]
    assert cert_times(sandbox) == FAILING
    assert (statistics.state, statistics.failures) == (DomainState.FAILED, 14)


async def test_the_wait_stays_24_hours_after_failures_29_and_54(autojump_clock, sandbox, client):
    """Go's seed asked without any wait from failure 54 on."""
    sandbox.add_fault(counted())
    await run_for(client, 70 * DAY)
    times = cert_times(sandbox)
    assert len(times) > 70
    assert {later - earlier for earlier, later in zip(times[12:], times[13:], strict=False)} == {DAY}


async def test_a_success_resets_the_schedule(autojump_clock, sandbox, client):
    sandbox.add_fault(counted(count=3))
    async with open_manager(client, refresh_interval=timedelta(hours=1)) as manager:
        manager.ensure_domains([A])
        await trio.sleep(421)
        assert manager.statistics()[A].failures == 0
        assert manager.statistics()[A].last_error is None
        sandbox.add_fault(counted(count=2))
        await trio.sleep(4000)
    assert cert_times(sandbox) == [0, 60, 180, 420, 4020, 4080, 4200]


async def test_the_policy_is_the_users(autojump_clock, sandbox, client):
    sandbox.add_fault(counted())
    policy = RetryPolicy(initial=timedelta(seconds=10), factor=10, maximum=timedelta(seconds=500))
    await run_for(client, 2000, retry_policy=policy)
    assert cert_times(sandbox) == [0, 10, 110, 610, 1110, 1610]


async def test_waits_count_from_the_end_of_an_attempt(autojump_clock):
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock, issue_delay=10) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
    ):
        sandbox.add_fault(Fault.storage(count=1))
        await run_for(client, DAY + 100)
    assert cert_times(sandbox) == [0, 10 + 60, 10 + 60 + 10 + DAY]


async def test_an_attempt_has_300_seconds_counted_from_when_it_is_sent(autojump_clock):
    """On a tailscaled with one lock the second name queues here, and still has its whole time."""
    async with (
        open_sandbox("1.100.0", cert_domains=[A, B], clock=virtual_clock) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
    ):
        sandbox.add_fault(Fault.hang())
        statistics = await run_for(client, 601, A, B)
    first, second = sorted([cert_times(sandbox, A), cert_times(sandbox, B)])
    assert first == [0, 600]  # its retry was due at 360, and queued behind the other
    assert second == [300]
    for domain in (A, B):
        assert isinstance(statistics[domain].last_error, IssuanceTimeoutError)
        assert statistics[domain].failures == 1


async def test_a_hidden_rate_limit_is_learnt_when_the_time_is_up(autojump_clock, sandbox, client):
    sandbox.add_fault(Fault.rate_limited(retry_after=3600, hang=True))
    statistics = (await run_for(client, 301))[A]
    assert "rateLimited" in str(statistics.last_error)
    assert statistics.last_error.retry_after == timedelta(hours=1)


async def test_access_that_is_denied_is_asked_for_every_five_minutes_and_not_counted(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(Fault.answer(403, "cert access denied"))
    statistics = (await run_for(client, 901))[A]
    assert cert_times(sandbox) == [0, 300, 600, 900]
    assert (type(statistics.last_error), statistics.failures) == (AccessDeniedError, 0)


async def test_an_uncounted_failure_leaves_the_count_of_the_others(autojump_clock, sandbox, client):
    sandbox.add_fault(counted(count=2))
    sandbox.add_fault(Fault.answer(403, "cert access denied", count=1))
    sandbox.add_fault(counted(count=1))
    await run_for(client, 721)
    assert cert_times(sandbox) == [0, 60, 180, 480, 720]


async def test_a_name_waits_until_it_is_a_cert_domain(autojump_clock, sandbox, client):
    async with open_manager(client) as manager:
        manager.ensure_domains([C])
        await trio.sleep(100)
        assert cert_times(sandbox, C) == []
        assert manager.statistics()[C].state is DomainState.WAITING
        sandbox.set_cert_domains([A, B, C])
        await trio.sleep(1)
        assert manager.statistics()[C].state is DomainState.ISSUED
    assert cert_times(sandbox, C) == [100]


async def test_a_name_that_is_looked_at_for_the_first_time_waits_for_nothing(autojump_clock, sandbox, client):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        manager.ensure_domains([])
        manager._records[A].looked_at = None  # as after a restart
        sandbox.add_fault(Fault.delay(5, endpoint="cert"))
        manager.ensure_domains([A])
        await trio.sleep(2)
        assert manager.statistics()[A].state is DomainState.QUEUED
        await trio.sleep(5)
        assert manager.statistics()[A].state is DomainState.ISSUED


async def test_a_name_withdrawn_waits_for_its_return(autojump_clock, sandbox, client):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        sandbox.set_cert_domains([B])
        await trio.sleep(3 * DAY)
        statistics = manager.statistics()[A]
        assert statistics.state is DomainState.WAITING
        assert (type(statistics.last_error), statistics.failures) == (NotACertDomainError, 0)
        assert cert_times(sandbox) == [0, DAY]
        sandbox.set_cert_domains([A, B])
        await trio.sleep(1)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert cert_times(sandbox) == [0, DAY, 3 * DAY + 1]


async def test_a_tailscaled_that_is_away_is_waited_for_and_found_when_it_comes(
    autojump_clock, sandbox, client
):
    """No attempt is made meanwhile, and nothing is counted."""
    await sandbox.stop()
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1000)
        assert manager.statistics()[A].attempts == 0
        await sandbox.start()
        await trio.sleep(61)
        assert manager.statistics()[A].state is DomainState.ISSUED


async def test_a_tailscaled_that_comes_back_is_asked_at_once_not_at_the_end_of_a_wait(
    autojump_clock, sandbox, client
):
    policy = RetryPolicy(initial=timedelta(hours=5))
    async with open_manager(client, retry_policy=policy, refresh_interval=timedelta(minutes=10)) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        await sandbox.stop()
        await trio.sleep(1000)
        statistics = manager.statistics()[A]
        assert (type(statistics.last_error), statistics.failures) == (UnreachableError, 0)
        await sandbox.start()
        await trio.sleep(61)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert 1001 <= cert_times(sandbox)[-1] <= 1062


async def test_renew_ends_the_sleep_and_one_that_comes_during_an_attempt_is_not_lost(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(Fault.delay(10, count=1))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(5)
        manager.renew(A)  # during the attempt
        await trio.sleep(100)
        manager.renew(A)  # during the sleep
        await trio.sleep(1)
        with pytest.raises(KeyError):
            manager.renew(B)
    assert cert_times(sandbox) == [0, pytest.approx(10), 105]


async def test_a_hint_during_an_attempt_does_not_cut_the_wait_after_a_counted_failure(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(Fault.connection_reset(count=1))
    sandbox.add_fault(Fault.hang())
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(70)
        sandbox.set_cert_domains(sandbox.cert_domains)
        await trio.sleep(400)
    first, second, third = cert_times(sandbox)
    assert second - first <= 60
    assert third - second == 300 + 60


async def test_renew_while_queued_asks_once(autojump_clock):
    async with (
        open_sandbox("1.100.0", cert_domains=[A, B], clock=virtual_clock, issue_delay=10) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client) as manager,
    ):
        manager.ensure_domains([A, B])
        await trio.sleep(5)
        for domain in (A, B):
            if manager.statistics()[domain].state is DomainState.QUEUED:
                queued = domain
        manager.renew(queued)
        await trio.sleep(100)
    assert cert_times(sandbox, queued) == [10]


async def test_a_name_that_is_listed_and_refused_is_asked_for_once_a_minute_however_much_the_bus_talks(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(Fault.answer(500, "wildcard certificates are not enabled for this node"))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        for _ in range(600):
            await trio.sleep(1)
            sandbox.set_cert_domains(sandbox.cert_domains)
    assert len(cert_times(sandbox)) == 10


async def test_no_failure_is_followed_by_another_try_within_a_second_whatever_wakes_the_loop(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(Fault.answer(500, "no netmap available"))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        for _ in range(50):
            await trio.sleep(0.1)
            manager.renew(A)
            sandbox.set_cert_domains(sandbox.cert_domains)
    times = cert_times(sandbox)
    assert len(times) == 5
    assert all(later - earlier >= 1 for earlier, later in zip(times, times[1:], strict=False))


async def test_a_machine_that_slept_catches_up_within_five_minutes(autojump_clock, sandbox, client):
    """Trio's clock stands still meanwhile, the wall clock does not."""
    slept = timedelta(0)
    async with open_cert_manager(client, clock=lambda: virtual_clock() + slept) as manager:
        manager.ensure_domains([A])
        await trio.sleep(2 * 3600 + 60)
        slept = timedelta(hours=23)
        await trio.sleep(3600)
    assert cert_times(sandbox) == [0, 7500]


async def test_a_clock_set_back_delays_nothing(autojump_clock, sandbox, client):
    back = timedelta(0)
    async with open_cert_manager(client, clock=lambda: virtual_clock() - back) as manager:
        manager.ensure_domains([A])
        await trio.sleep(3600)
        back = timedelta(hours=1)
        await trio.sleep(DAY)
    assert cert_times(sandbox) == [0, DAY]


async def test_every_failure_is_logged_with_name_count_reason_and_next_time(
    autojump_clock, sandbox, client, caplog
):
    sandbox.add_fault(counted(count=2))
    with caplog.at_level(logging.INFO):
        await run_for(client, 200)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    for retry, wait, message in zip((1, 2), ("1m", "2m"), warnings, strict=True):
        assert message.startswith(f"{A}: ")
        assert f"(retry {retry})" in message
        assert "nobody has seen" in message
        assert "The certificate could not be had." in message
        assert f"in {wait}." in message
        assert "\n" not in message
    assert f"{A}: certificate valid until " in caplog.text


async def test_an_unchanged_failure_that_does_not_count_is_told_once(autojump_clock, sandbox, client, caplog):
    sandbox.add_fault(Fault.answer(403, "cert access denied"))
    await run_for(client, 3600)
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert message.startswith(f"{A}: request failed: cert access denied")


async def test_the_journal_has_each_attempt_from_its_start_with_what_came_of_it(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(counted(count=1))
    sandbox.add_fault(Fault.delay(10, count=1))
    journal = Journal()
    async with open_manager(client, journal=journal) as manager:
        manager.ensure_domains([A])
        await trio.sleep(65)
        failed, under_way = journal.attempts()
        assert (failed.outcome, failed.text) == ("IssuanceError", "something that nobody has seen before")
        assert (under_way.ended_at, under_way.outcome) == (None, None)
        await trio.sleep(10)
        issued = journal.attempts()[1]
        assert (issued.outcome, issued.request) == ("issued", "issue")
        assert issued.fingerprint == manager.statistics()[A].leaf.fingerprint
        assert (issued.ended_at - issued.started_at).total_seconds() == pytest.approx(10)


def holding(state):
    """What keeps a loop in a state."""
    return {
        DomainState.WAITING: lambda sandbox: sandbox.set_cert_domains([B]),
        DomainState.REQUESTING: lambda sandbox: sandbox.add_fault(Fault.hang()),
        DomainState.ISSUED: lambda _sandbox: None,
        DomainState.FAILED: lambda sandbox: sandbox.add_fault(counted()),
        DomainState.LIMITED: lambda sandbox: sandbox.add_fault(Fault.rate_limited(hang=False)),
    }[state]


@pytest.mark.parametrize("state", [s for s in DomainState if s is not DomainState.QUEUED])
async def test_cancelling_a_loop_ends_it_at_once_wherever_it_is(autojump_clock, sandbox, client, state):
    holding(state)(sandbox)
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(30)
        assert manager.statistics()[A].state is state
        calls = len(sandbox.calls)
        manager.ensure_domains([])
        await trio.testing.wait_all_tasks_blocked()
        assert not tasks_named(f"cert loop {A}")
        assert trio.current_time() == 30
        await trio.sleep(2 * DAY)
    assert not [call for call in sandbox.calls[calls:] if "/cert/" in call.path]


async def test_cancelling_a_queued_loop_leaves_the_queue_in_order(autojump_clock):
    async with (
        open_sandbox("1.86.5", cert_domains=[A, B, C], clock=virtual_clock) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client) as manager,
    ):
        sandbox.add_fault(Fault.delay(10))
        manager.ensure_domains([A, B, C])
        await trio.sleep(1)
        states = {each.domain: each.state for each in manager.statistics().domains}
        (asking,) = [domain for domain, state in states.items() if state is DomainState.REQUESTING]
        queued = sorted(states.keys() - {asking})
        assert {states[domain] for domain in queued} == {DomainState.QUEUED}
        manager.ensure_domains([asking, queued[1]])
        await trio.sleep(30)
        assert cert_times(sandbox, queued[0]) == []
        assert cert_times(sandbox, queued[1]) == [pytest.approx(10)]


def tasks_named(name):
    """Return the living tasks of this name."""
    tasks, found = [trio.lowlevel.current_root_task()], []
    for task in tasks:
        found += [task] if task.name == name else []
        for nursery in task.child_nurseries:
            tasks.extend(nursery.child_tasks)
    return found


async def test_failing_certificates_cause_no_questions_for_cert_domains(autojump_clock, sandbox, client):
    sandbox.add_fault(counted())
    await run_for(client, DAY)
    assert len(calls_of(sandbox, "watch-ipn-bus")) == 1
    assert len(calls_of(sandbox, "cert-domains")) == 2
