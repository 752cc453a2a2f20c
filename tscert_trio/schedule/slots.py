"""Who goes first among those that queue for a slot."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from ..certificate import Certificate

__all__ = ["SlotPriority", "slot_priority"]

SlotPriority: TypeAlias = tuple[bool, int, bool, float]
"""Sorts requests that queue for a slot; the smallest goes first."""


def slot_priority(now: datetime, leaf: Certificate | None, failures: int) -> SlotPriority:
    """Return the place of a name among those that queue for a slot.

    First a name in its last twentieth of life, then the fewest failures in a row, then a name
    without a valid certificate, then the least time left. (Names without a certificate first would
    starve renewals behind a dozen new names that hang.)

    Args:
        now: the present time.
        leaf: the newest certificate seen, if any.
        failures: counted failures in a row.
    """
    left = leaf.not_after - now if leaf else timedelta(0)
    has_valid = left > timedelta(0)
    is_last_twentieth = leaf is not None and has_valid and left <= leaf.lifetime / 20
    return (not is_last_twentieth, failures, has_valid, left.total_seconds())
