"""Who is let through, how many at once, and in which order."""

import pytest
import trio
import trio.testing

from tscert_trio.issuance_gate import IssuanceGate, slots_of


@pytest.mark.parametrize(("capability", "slots"), [(None, 1), (123, 1), (141, 1), (142, 8), (148, 8)])
def test_one_slot_before_v1_102_and_eight_from_then_on(capability, slots):
    assert slots_of(capability) == slots


def priority(failures):
    return (True, failures, False, 0.0)


async def test_slots_go_by_priority_then_by_arrival(autojump_clock):
    gate, order = IssuanceGate(lambda: 1), []

    async def task(name, failures):
        async with gate.slot(priority(failures)):
            order.append(name)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for name, failures in [("first", 9), ("c", 3), ("a", 1), ("b1", 2), ("b2", 2)]:
            nursery.start_soon(task, name, failures)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["first", "a", "b1", "b2", "c"]
    assert trio.current_time() == 5


async def test_never_more_than_the_slots_even_when_their_number_changes(autojump_clock):
    slots, inside, most = 1, 0, []

    async def task():
        nonlocal inside
        async with gate.slot(priority(0)):
            inside += 1
            most.append(inside)
            await trio.sleep(1)
            inside -= 1

    gate = IssuanceGate(lambda: slots)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(task)
        await trio.sleep(3.5)
        assert max(most) == 1
        slots = 8
    assert max(most) == 8


async def test_a_cancelled_waiter_takes_no_slot_and_a_cancelled_holder_gives_it_back(autojump_clock):
    gate = IssuanceGate(lambda: 1)
    holder, waiter = trio.CancelScope(), trio.CancelScope()
    entered = []

    async def hold(name, scope):
        with scope:
            async with gate.slot(priority(0)):
                entered.append(name)
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, "holder", holder)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, "waiter", waiter)
        await trio.testing.wait_all_tasks_blocked()
        waiter.cancel()
        await trio.testing.wait_all_tasks_blocked()
        holder.cancel()
        await trio.testing.wait_all_tasks_blocked()
        async with gate.slot(priority(0)):
            entered.append("last")
    assert entered == ["holder", "last"]


async def test_a_waiter_cancelled_just_as_its_turn_comes_passes_the_slot_on(autojump_clock):
    gate = IssuanceGate(lambda: 1)
    scope = trio.CancelScope()

    async def cancelled_waiter():
        with scope:
            async with gate.slot(priority(0)):
                pytest.fail("was cancelled before it could enter")

    async with trio.open_nursery() as nursery:
        async with gate.slot(priority(0)):
            nursery.start_soon(cancelled_waiter)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
        # The slot was handed to the waiter, and the cancellation is delivered to it.
        await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(1):
        async with gate.slot(priority(0)):
            pass
