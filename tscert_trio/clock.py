"""Wall time. Nothing else in this package asks the system for it.

Certificates and deadlines live on the wall clock; Trio's own clock only measures waits, since it
starts anew in every process and stands still while a machine sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present time, aware and in UTC."""


def describe_duration(duration: timedelta) -> str:
    """Return a duration as people write it, such as ``24h``, ``1h30m`` or ``4.5s``."""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:.3g}s"
    hours, minutes = divmod(round(seconds) // 60, 60)
    rest = round(seconds) % 60
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def system_clock() -> datetime:
    """Return the system's wall time, in UTC."""
    return datetime.now(UTC)
