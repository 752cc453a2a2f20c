"""Notices that the machine was suspended, or its clock set, since Trio's clock does not show it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from .clock import describe_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .clock import Clock

__all__ = ["CLOCK_LOOK_SECONDS", "WatchedClock"]

_logger = logging.getLogger(__name__)

CLOCK_LOOK_SECONDS = 300
"""How often to look at the clock where nobody else does."""
_SLACK_SECONDS = 30


class WatchedClock:
    """A :data:`Clock` that compares itself with Trio's at every call, so that nothing is noted in between.

    Args:
        clock: the present time.
        on_jump: told, before the new time is returned, by how much the wall clock went further than
            Trio's since it was told last, where that is more than half a minute, at once or bit by bit; less
            than nothing: it was set back.
    """

    def __init__(self, clock: Clock, on_jump: Callable[[timedelta], None]) -> None:
        self._clock = clock
        self._on_jump = on_jump
        self._wall, self._monotonic = clock(), trio.current_time()

    def __call__(self) -> datetime:
        """Return the present time."""
        wall, monotonic = self._clock(), trio.current_time()
        seconds = (wall - self._wall).total_seconds() - (monotonic - self._monotonic)
        if not -_SLACK_SECONDS <= seconds <= _SLACK_SECONDS:
            self._wall, self._monotonic = wall, monotonic
            jump = timedelta(seconds=seconds)
            if seconds < 0:
                _logger.warning("the clock was set back by %s", describe_duration(-jump))
            else:
                _logger.info("the machine was suspended, or its clock set, for %s", describe_duration(jump))
            self._on_jump(jump)
        return wall
