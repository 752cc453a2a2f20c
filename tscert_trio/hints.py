"""Something may have changed: look again, and look soon."""

from __future__ import annotations

import math

import trio
from trio_util import AsyncValue

__all__ = ["Hints"]


class Hints:
    """Counts the occasions to look again.

    A level, not an edge: who remembers :attr:`count` before it looks, and waits for another value
    afterwards, misses nothing that came meanwhile.
    """

    def __init__(self) -> None:
        self._count = AsyncValue(0)

    @property
    def count(self) -> int:
        """How many hints there were."""
        return self._count.value

    def give(self) -> None:
        """Tell everyone who waits to look again."""
        self._count.value += 1

    async def wait(self, seen: int, *, at_most: float = math.inf) -> None:
        """Wait for a hint later than ``seen``.

        Args:
            seen: the count before the last look.
            at_most: seconds after which to return without one.
        """
        with trio.move_on_after(at_most):
            await self._count.wait_value(lambda count: count != seen)
