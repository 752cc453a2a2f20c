"""Notices that the machine was suspended, or its clock set, since Trio's clock does not show it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import trio

from .clock import describe_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clock import Clock

__all__ = ["watch_clock"]

_logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 300
_SLACK = timedelta(seconds=30)


async def watch_clock(
    clock: Clock, *, on_jump: Callable[[timedelta], None], on_look: Callable[[], None]
) -> NoReturn:
    """Compare the wall clock with Trio's every five minutes, until cancelled.

    Args:
        clock: the present time.
        on_jump: told by how much the wall clock went further than Trio's, where that is more than half a
            minute; less than nothing: it was set back.
        on_look: called each time, after that.
    """
    while True:
        wall, monotonic = clock(), trio.current_time()
        await trio.sleep(_INTERVAL_SECONDS)
        jump = clock() - wall - timedelta(seconds=trio.current_time() - monotonic)
        if jump < -_SLACK:
            _logger.warning("the clock was set back by %s", describe_duration(-jump))
        elif jump > _SLACK:
            _logger.info("the machine was suspended, or its clock set, for %s", describe_duration(jump))
        if abs(jump) > _SLACK:
            on_jump(jump)
        on_look()
