"""Hints are levels: one that came while nobody waited is not lost."""

import trio

from tscert_trio.hints import Hints


async def test_a_hint_that_came_before_the_wait_ends_it_at_once(autojump_clock):
    hints = Hints()
    seen = hints.count
    hints.give()
    await hints.wait(seen)
    assert trio.current_time() == 0


async def test_a_wait_without_a_hint_ends_at_its_time(autojump_clock):
    hints = Hints()
    await hints.wait(hints.count, at_most=30)
    assert trio.current_time() == 30


async def test_a_hint_wakes_everyone_who_waits(autojump_clock):
    hints, woken_at = Hints(), []

    async def waiter():
        await hints.wait(hints.count)
        woken_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(waiter)
        await trio.sleep(7)
        hints.give()
    assert woken_at == [7, 7, 7]
