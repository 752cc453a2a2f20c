"""How many certificates are asked for at once, and who goes first."""

from __future__ import annotations

import heapq
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .schedule import SlotPriority

__all__ = ["IssuanceGate", "slots_of"]

_FIRST_CAP_WITH_LOCK_PER_DOMAIN = 142  # v1.102.0
_FIRST_COME: SlotPriority = (False, 0, False, 0.0)


def slots_of(capability: int | None) -> int:
    """Return how many issuances a tailscaled works on at once, at the most eight.

    Before v1.102 a global lock of tailscaled lets one through, and the time of the others would run
    out while they queue there.

    Args:
        capability: its ``Tailscale-Cap``; ``None`` where not known yet.
    """
    return 8 if capability is not None and capability >= _FIRST_CAP_WITH_LOCK_PER_DOMAIN else 1


@attrs.define(eq=False, order=False)
class _Waiter:
    turn: trio.Event = attrs.field(factory=trio.Event)
    has_left: bool = False


class IssuanceGate:
    """A limit on requests under way, with a queue sorted by priority.

    (:class:`trio.CapacityLimiter` is first come, first served.)

    Args:
        slots: returns the limit; asked anew each time, since tailscaled may be upgraded meanwhile.
    """

    def __init__(self, slots: Callable[[], int]) -> None:
        self._slots = slots
        self._taken = 0
        self._queue: list[tuple[SlotPriority, int, _Waiter]] = []
        self._order = count()

    @asynccontextmanager
    async def slot(self, priority: SlotPriority = _FIRST_COME) -> AsyncIterator[None]:
        """Hold a slot while the context lasts; wait for one first.

        Cancelling the wait gives the place in the queue up, or the slot where it came just then.

        Args:
            priority: the smallest goes first; among equals, and where none is given, who came first.
        """
        waiter = _Waiter()
        heapq.heappush(self._queue, (priority, next(self._order), waiter))
        self._hand_out()
        try:
            await waiter.turn.wait()
            yield
        finally:
            if waiter.turn.is_set():
                self._taken -= 1
                self._hand_out()
            else:
                waiter.has_left = True

    def _hand_out(self) -> None:
        while self._queue and self._taken < self._slots():
            _priority, _order, waiter = heapq.heappop(self._queue)
            if not waiter.has_left:
                self._taken += 1
                waiter.turn.set()
