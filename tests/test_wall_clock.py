"""The clock that goes with Trio's, and the one that notices where they part."""

import sys
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from tscert_trio.clock import system_clock
from tscert_trio.clock_watch import WatchedClock
from tscert_trio.wall_clock import default_clock

NOW = timedelta(seconds=30)  # what a slow machine may take for a test


async def test_by_default_it_is_the_systems(monkeypatch):
    assert default_clock() is system_clock
    monkeypatch.delitem(sys.modules, "trio.testing")
    assert default_clock() is system_clock


async def test_under_a_mock_clock_it_begins_now_and_goes_with_that(autojump_clock):
    await trio.sleep(86400)  # whatever Trio's clock shows already
    clock = default_clock()
    began = clock()
    assert began.tzinfo is UTC
    assert abs(began - datetime.now(UTC)) < NOW
    await trio.sleep(40 * 86400)
    assert abs(clock() - began - timedelta(days=40)) < timedelta(milliseconds=1)
    assert clock() == clock()


def stepping_clock(steps):
    """Return a clock that is ahead of Trio's by the sum of these seconds, and what jumps it has told."""
    began, zero, jumps = datetime(2026, 12, 1, tzinfo=UTC), trio.current_time(), []
    clock = WatchedClock(
        lambda: began + timedelta(seconds=trio.current_time() - zero + sum(steps)),
        lambda by: jumps.append(by.total_seconds()),
    )
    return clock, jumps


@pytest.mark.parametrize("step", [25, -25, 1, 90, -3600])
async def test_steps_of_the_clock_are_told_however_small_they_are_once_they_add_up(autojump_clock, step):
    steps = []
    clock, jumps = stepping_clock(steps)
    for _ in range(60):
        steps.append(step)
        await trio.sleep(300)
        clock()
        assert abs(sum(steps) - sum(jumps)) < 30.001
    assert len(jumps) == 60 // (30 // abs(step) + 1)


async def test_a_clock_that_goes_to_and_fro_by_little_has_not_jumped(autojump_clock):
    steps = []
    clock, jumps = stepping_clock(steps)
    for step in (20, -20, -20, 20) * 20:
        steps.append(step)
        await trio.sleep(300)
        clock()
    assert jumps == []
