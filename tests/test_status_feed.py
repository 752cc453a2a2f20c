"""Telling those who watch that something has changed."""

import pytest
import trio
from conftest import A, B, virtual_clock

from tscert_trio import ControlError, UnreachableError, open_cert_manager
from tscert_trio.sandbox import Fault
from tscert_trio.status.feed import Feed


class Watched:
    """A manager's feed, which counts how often the statistics are taken."""

    def __init__(self, manager):
        self.manager, self.looks = manager, 0
        self.feed = Feed(self)
        self.changes, self.watching = self.feed.changes, self.feed.watching

    def statistics(self):
        self.looks += 1
        return self.manager.statistics()


@pytest.fixture
async def feed(client, nursery):
    """The feed of a manager that has a certificate for A."""
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(10)
        watched = Watched(manager)
        nursery.start_soon(watched.feed.run)
        yield watched
        nursery.cancel_scope.cancel()


async def test_nobody_watching_costs_nothing(autojump_clock, feed):
    await trio.sleep(3600)
    assert feed.looks == 0


async def test_a_change_is_told_within_a_second(autojump_clock, feed):
    with feed.watching():
        await trio.sleep(2.5)
        seen = feed.changes.count
        feed.manager.ensure_domains([A, B])
        await trio.sleep(1)
        assert feed.changes.count == seen + 1


async def test_a_failure_is_told_within_a_second(autojump_clock, feed, sandbox):
    sandbox.add_fault(Fault.control("the DNS provider is away"))
    with feed.watching():
        await trio.sleep(2.5)
        seen = feed.changes.count
        feed.manager.renew(A, force=True)
        await trio.sleep(1.5)
        assert feed.manager.statistics()[A].failures == 1
        assert feed.changes.count > seen


async def test_who_watches_is_told_once_a_minute_that_time_has_passed(autojump_clock, feed):
    """What is "in 3 hours" on the page moves."""
    with feed.watching():
        await trio.sleep(120.5)
        assert feed.changes.count == 2


async def test_looking_ends_with_the_last_who_watches(autojump_clock, feed):
    with feed.watching():
        with feed.watching():
            await trio.sleep(5)
        looks = feed.looks
        await trio.sleep(5)
        assert feed.looks >= looks + 5  # one still watches
    await trio.sleep(1)
    looks = feed.looks
    await trio.sleep(100)
    assert feed.looks == looks


async def test_a_forced_renewal_that_failed_shows_until_the_next_look(autojump_clock, feed, sandbox):
    """A look right after it would find the good old certificate, and the person would never know."""
    sandbox.add_fault(Fault.control("the DNS provider is away"))
    feed.manager.renew(A, force=True)
    await trio.sleep(3600)
    assert isinstance(feed.manager.statistics()[A].last_error, ControlError)
    await trio.sleep(86400)
    assert feed.manager.statistics()[A].last_error is None


async def test_a_forced_renewal_that_tailscaled_never_saw_is_over_when_it_is_back(
    autojump_clock, feed, sandbox
):
    """Nothing is due, so nobody should be told for a day to start a tailscaled that runs."""
    await sandbox.stop()
    feed.manager.renew(A, force=True)
    await trio.sleep(20)
    assert isinstance(feed.manager.statistics()[A].last_error, UnreachableError)
    await sandbox.start()
    await trio.sleep(70)
    assert feed.manager.statistics()[A].last_error is None
