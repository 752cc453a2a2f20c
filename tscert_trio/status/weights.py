"""How much a client wants something: ``q=`` in ``Accept`` and its kin (RFC 9110, section 12.4.2). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["weight_of"]

_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


def weight_of(parameters: Iterable[str]) -> float | None:
    """Return how much something is wanted, from 0 to 1; ``None`` where that makes no sense.

    Args:
        parameters: of it, in lower case and without space around them.
    """
    given = [each for each in parameters if each.startswith("q=")]
    if not given:
        return 1.0
    match = _WEIGHT.fullmatch(given[0])
    return float(match[1]) if match else None
