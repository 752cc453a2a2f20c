"""The header that each answer has by HTTP: when it was made."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["with_date"]


def with_date(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return these headers and ``Date`` (RFC 9110, section 6.6.1), by the clock of this machine.

    One that is there already stays alone: a handler may have a clock of its own.
    """
    headers = list(headers)
    if not any(name.lower() == "date" for name, _ in headers):
        headers.append(("Date", _text(int(time.time()))))
    return headers


@lru_cache(maxsize=1)  # a crowd asks within the same second
def _text(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
