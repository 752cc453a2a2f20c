"""Tells those who watch that something has changed. Nobody watching costs nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio
from trio_util import AsyncValue

from ..hints import Hints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..cert_manager import CertManager
    from ..statistics import CertManagerStatistics

__all__ = ["Feed"]

_LOOK_SECONDS = 1
_TICK_LOOKS = 60
"""After so many looks without a change those who watch are told, too: what is "in 3 hours" moves."""


@attrs.define(eq=False)
class Feed:
    """Compares the statistics once a second while somebody watches. :meth:`run` does the work."""

    _manager: CertManager
    changes: Hints = attrs.field(factory=Hints, init=False)
    """Given after each change."""
    _watchers: AsyncValue[int] = attrs.field(factory=lambda: AsyncValue(0), init=False)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the feed going while the context lasts."""
        self._watchers.value += 1
        try:
            yield
        finally:
            self._watchers.value -= 1

    async def run(self) -> NoReturn:
        """Look, until cancelled."""
        before, looks = None, 0
        while True:
            await self._watchers.wait_value(lambda count: count > 0)
            now = _what_shows(self._manager.statistics())
            looks += 1
            if before is not None and (now != before or looks >= _TICK_LOOKS):
                self.changes.give()
                looks = 0
            before = now
            await trio.sleep(_LOOK_SECONDS)


def _what_shows(statistics: CertManagerStatistics) -> CertManagerStatistics:
    return attrs.evolve(statistics, requests=(), outcomes={})
