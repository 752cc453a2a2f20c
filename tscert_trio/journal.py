"""What was tried, and how it ended."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .certificate import Certificate
    from .errors import LocalAPIError

__all__ = ["Attempt", "Journal", "MemoryJournal"]


@attrs.define(kw_only=True, eq=False)
class Attempt:
    """One request for a certificate. Written before it is sent, finished afterwards."""

    domain: str
    started_at: datetime
    ended_at: datetime | None = None
    """``None`` while under way, and for ever where the attempt was cancelled."""
    leaf: Certificate | None = None
    """What it brought."""
    error: LocalAPIError | None = None
    """Why it brought nothing."""


class Journal(Protocol):
    """Remembers attempts."""

    def begin(self, domain: str, at: datetime) -> Attempt:
        """Write down that a request is about to be sent."""

    def end(self, attempt: Attempt, at: datetime, outcome: Certificate | LocalAPIError) -> None:
        """Write down what came of it."""


class MemoryJournal:
    """Keeps the newest attempts in memory.

    Args:
        size: how many, over all names.
    """

    def __init__(self, size: int = 1000) -> None:
        self._attempts: deque[Attempt] = deque(maxlen=size)

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts kept, oldest first."""
        return tuple(self._attempts)

    def begin(self, domain: str, at: datetime) -> Attempt:
        """Write down that a request is about to be sent."""
        attempt = Attempt(domain=domain, started_at=at)
        self._attempts.append(attempt)
        return attempt

    def end(self, attempt: Attempt, at: datetime, outcome: Certificate | LocalAPIError) -> None:
        """Write down what came of it."""
        attempt.ended_at = at
        if isinstance(outcome, Exception):
            attempt.error = outcome
        else:
            attempt.leaf = outcome
