"""The clock that goes with Trio's."""

import sys
from datetime import UTC, datetime, timedelta

import trio
import trio.testing

from tscert_trio.clock import system_clock
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
