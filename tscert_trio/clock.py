"""Wall time. Nothing else in this package asks the system for it.

Certificates and deadlines live on the wall clock; Trio's own clock only measures waits, since it
starts anew in every process and stands still while a machine sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present time, aware and in UTC."""


def system_clock() -> datetime:
    """Return the system's wall time, in UTC."""
    return datetime.now(UTC)
