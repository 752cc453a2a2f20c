"""What a restart remembers, and what a name that comes back brings along."""

import logging
import sqlite3
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio
from conftest import EPOCH, A, B, cert_times, virtual_clock

from tscert_trio import (
    DomainState,
    IssuanceError,
    Journal,
    LocalClient,
    RateLimitedError,
    RenewalInfoClient,
    open_cert_manager,
)
from tscert_trio.localapi.transport import UnixTransport
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.schedule import Request

DAY, HOUR = 86400, 3600
FAILING = [0, 60, 180, 420, 900, 1860, 3780, 7620, 15300, 30660, 61380]


@pytest.fixture
def path(tmp_path):
    """The journal's file."""
    return tmp_path / "journal"


@asynccontextmanager
async def open_run(client, path, *domains, **options):
    """Run a manager, as a service does from its start to its end."""
    with Journal(path) as journal:
        async with open_cert_manager(client, clock=virtual_clock, journal=journal, **options) as manager:
            manager.ensure_domains(domains or [A])
            yield manager


async def run_for(client, path, seconds, *domains, **options):
    """Run a manager so long; return its last statistics."""
    async with open_run(client, path, *domains, **options) as manager:
        await trio.sleep(seconds)
        return manager.statistics()


def failing(**options):
    return Fault.answer(500, "something that nobody has seen before", **options)


async def test_restarts_change_neither_backoff_nor_count(autojump_clock, sandbox, client, path):
    sandbox.add_fault(failing())
    for _ in range(24):
        before = (await run_for(client, path, HOUR))[A]
        after = (await run_for(client, path, 0.5))[A]
        assert (after.failures, after.next_attempt_at) == (before.failures, before.next_attempt_at)
        assert str(after.last_error) == str(before.last_error)
        assert (after.last_attempt_at, type(after.last_error)) == (before.last_attempt_at, IssuanceError)
    assert cert_times(sandbox) == pytest.approx(FAILING)


async def test_a_restart_remembers_the_retry_after_even_if_a_person_wants_more(
    autojump_clock, sandbox, client, path
):
    sandbox.add_fault(Fault.rate_limited(retry_after=5 * HOUR, hang=False, count=1))
    before = (await run_for(client, path, HOUR))[A]
    async with open_run(client, path) as manager:
        manager.renew(A, force=True)
        await trio.sleep(1)
        after = manager.statistics()[A]
        assert type(after.last_error) is type(before.last_error) is RateLimitedError
        assert (after.last_error.retry_after, after.last_error.limit) == (
            timedelta(hours=5),
            before.last_error.limit,
        )
        assert (after.state, after.limit) == (DomainState.LIMITED, "the CA's Retry-After")
        await trio.sleep(5 * HOUR)
    assert cert_times(sandbox)[:2] == pytest.approx([0, 5 * HOUR])


async def test_a_restart_remembers_that_a_person_wants_a_new_certificate(
    autojump_clock, sandbox, client, path
):
    """It waits for the CA's limit, was promised, and comes once."""
    async with open_run(client, path) as manager:
        await trio.sleep(60)
        sandbox.add_fault(Fault.rate_limited(retry_after=5 * HOUR, hang=False, count=1))
        for _ in range(2):  # the first one is told of the limit
            manager.renew(A, force=True)
            await trio.sleep(1800)
        assert manager.statistics()[A].state is DomainState.LIMITED
    assert len(sandbox.orders) == 2  # the second one was refused
    async with open_run(client, path) as manager:
        await trio.sleep(2 * HOUR)
        assert manager.statistics()[A].state is DomainState.LIMITED
    after = await run_for(client, path, 3 * HOUR)
    assert (len(sandbox.orders), after[A].state) == (3, DomainState.ISSUED)
    await run_for(client, path, 2 * DAY)
    assert len(sandbox.orders) == 3


async def test_a_restart_remembers_how_many_certificates_the_week_has_left(
    autojump_clock, sandbox, client, path
):
    for _ in range(4):
        async with open_run(client, path) as manager:
            await trio.sleep(1)
            manager.renew(A, force=True)
            await trio.sleep(1)
    assert len(sandbox.orders) == 5
    async with open_run(client, path, refresh_interval=timedelta(days=2)) as manager:
        await trio.sleep(1)
        manager.renew(A, force=True)
        await trio.sleep(1)
        statistics = manager.statistics()[A]
        assert statistics.limit == "the limit on certificates for the same name"
        assert (statistics.next_attempt_at - EPOCH) / timedelta(hours=1) == pytest.approx(33.6, abs=0.01)
    assert len(sandbox.orders) == 5


async def test_a_restart_remembers_how_many_attempts_the_hour_has_left(autojump_clock, sandbox, client, path):
    sandbox.add_fault(Fault.validation())
    for _ in range(20):
        async with open_run(client, path) as manager:
            await trio.sleep(1)
            manager.renew(A)
            await trio.sleep(1)
    assert len(sandbox.failed_validations) == 5


async def test_a_restart_remembers_that_the_tailnet_has_no_new_names_left(autojump_clock, tmp_path, path):
    names = [f"n{number}.tail1234.ts.net" for number in range(60)]
    async with (
        open_sandbox(cert_domains=names, clock=virtual_clock, limits=True) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
    ):
        before = await run_for(client, path, HOUR, *names)
        orders = len(sandbox.orders)
        after = await run_for(client, path, HOUR, *names)
        assert len(sandbox.orders) == orders
    waiting = [each for each in after.domains if each.leaf is None]
    assert len(waiting) == 10
    limits = [each.limit for each in waiting]  # the one that the CA refused has its Retry-After besides
    assert limits.count("the limit on new names of the tailnet") >= 9
    assert None not in limits
    assert {each.next_attempt_at for each in waiting} == {
        each.next_attempt_at for each in before.domains if each.leaf is None
    }
    limit = after.limits[1]
    assert (limit.scope, limit.is_exceeded) == ("tail1234.ts.net", True)
    assert after.limits == before.limits


async def test_a_restart_remembers_the_window_and_so_the_due_time(autojump_clock, sandbox, client, path):
    async with RenewalInfoClient(
        sandbox.directory_url, transport=UnixTransport(sandbox.ca_socket_path), clock=virtual_clock
    ) as renewal_info:
        before = (await run_for(client, path, 60, renewal_info=renewal_info))[A]
    after = (await run_for(client, path, 1))[A]
    assert after.window is not None
    assert (after.window, after.due_at, after.leaf) == (before.window, before.due_at, before.leaf)


async def test_a_restart_looks_at_healthy_names_at_once(autojump_clock, sandbox, client, path):
    await run_for(client, path, HOUR)
    await run_for(client, path, HOUR)
    assert cert_times(sandbox) == [0, HOUR]
    assert len(sandbox.orders) == 1


async def test_an_attempt_that_is_cut_short_by_the_end_of_the_manager_is_no_failure(
    autojump_clock, sandbox, client, path
):
    sandbox.add_fault(Fault.hang(count=1))
    await run_for(client, path, 10)
    statistics = (await run_for(client, path, 1))[A]
    assert (statistics.state, statistics.failures) == (DomainState.ISSUED, 0)
    assert cert_times(sandbox) == [0, 10]
    with Journal(path) as journal:
        assert [attempt.outcome for attempt in journal.attempts()] == ["cancelled", "issued"]


async def test_an_attempt_that_was_under_way_at_a_kill_counts_as_failed_from_its_start(
    autojump_clock, sandbox, client, path
):
    with Journal(path) as journal:
        journal.begin(A, Request.ISSUE, virtual_clock())
    await trio.sleep(20)
    async with open_run(client, path) as manager:
        await trio.sleep(1)
        statistics = manager.statistics()[A]
        assert (statistics.state, statistics.failures) == (DomainState.FAILED, 1)
        assert "the service was killed during this request" in str(statistics.last_error)
        assert statistics.next_attempt_at == EPOCH + timedelta(seconds=60)
        await trio.sleep(60)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert cert_times(sandbox) == [60]
    with Journal(path) as journal:
        assert [attempt.outcome for attempt in journal.attempts()] == ["IssuanceError", "issued"]


async def test_a_service_that_is_killed_again_and_again_backs_off_like_one_that_fails(
    autojump_clock, sandbox, client, path
):
    times = []
    for _ in range(7):
        with Journal(path) as journal:
            journal.begin(A, Request.ISSUE, virtual_clock())
        times.append(trio.current_time())
        statistics = (await run_for(client, path, 1))[A]
        assert statistics.failures == len(times)
        await trio.sleep((statistics.next_attempt_at - virtual_clock()).total_seconds())
    assert times == pytest.approx(FAILING[:7])
    assert cert_times(sandbox) == []


async def test_a_journal_that_cannot_be_written_any_more_ends_nothing(
    autojump_clock, sandbox, client, path, caplog
):
    sandbox.add_fault(failing(domain=A))
    async with open_run(client, path, A, B) as manager:
        await trio.sleep(1)
        journal = manager._context.journal
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        await trio.sleep(40 * DAY)
        statistics = manager.statistics()
    assert cert_times(sandbox, A)[: len(FAILING)] == pytest.approx(FAILING)
    assert statistics[A].failures == len(cert_times(sandbox, A)) > 40
    assert cert_times(sandbox, B) == [day * DAY for day in range(41)]
    lines = {record.getMessage() for record in caplog.records if record.levelno == logging.ERROR}
    assert len(lines) == 1
    assert "disk is full" in lines.pop()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_a_name_that_leaves_and_comes_back_keeps_its_count_and_its_waits(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(failing(domain=A))
    sandbox.add_fault(Fault.rate_limited(retry_after=5 * HOUR, hang=False, domain=B, count=1))
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A, B])
        await trio.sleep(500)
        for _ in range(40):
            manager.ensure_domains([])
            await trio.sleep(10)
            manager.ensure_domains([A, B])
            await trio.sleep(5)
        assert manager.statistics()[A].failures == 5
        await trio.sleep(6 * HOUR)
    assert cert_times(sandbox, A)[:8] == pytest.approx(FAILING[:8], abs=15)
    assert cert_times(sandbox, B)[:2] == pytest.approx([0, 5 * HOUR])
