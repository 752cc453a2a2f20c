"""Which wall clock goes with the clock that Trio runs on."""

from __future__ import annotations

import sys
from datetime import timedelta

import trio

from .clock import Clock, system_clock

__all__ = ["default_clock"]


def default_clock() -> Clock:
    """Return the system's clock; under :class:`trio.testing.MockClock` one that goes with that.

    Both begin at the present time, so that what waits for a date waits as long as Trio thinks.
    """
    testing = sys.modules.get("trio.testing")  # whoever uses a MockClock has imported it
    if testing is None or not isinstance(trio.lowlevel.current_clock(), testing.MockClock):
        return system_clock
    began, zero = system_clock(), trio.current_time()
    return lambda: began + timedelta(seconds=trio.current_time() - zero)
