"""How far the delivery of one certificate to one target is, and what each outcome makes of it. Pure."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .certificate import Certificate
    from .target_settings import TargetSettings

__all__ = ["DELIVERY_ERROR", "DELIVERY_REMEDY", "DeliveryRecord", "DeliveryState", "goal_of", "steps_of"]

DELIVERY_ERROR = "DeliveryError"
"""The class by which a delivery that fails is told, as a name's failures are by theirs."""
DELIVERY_REMEDY = "Repair what it says, then try at once: tscert-trio renew {domain}"

_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
_CHECK_INTERVAL = timedelta(days=1)


class DeliveryState(enum.Enum):
    """What is done. Which of these a target has depends on its steps; the last of them is its goal."""

    PENDING = "pending"
    """Nothing, yet."""
    WRITTEN = "written"
    """The files hold the certificate."""
    ANNOUNCED = "announced"
    """The hook, the reload and the signal went well."""
    SEEN_SERVED = "seen served"
    """A server was seen serving it."""


_ORDER = list(DeliveryState)


def goal_of(target: TargetSettings) -> DeliveryState:
    """Return what is the most that a target can tell: its last step."""
    return max(steps_of(target), key=_ORDER.index)


def steps_of(target: TargetSettings) -> set[DeliveryState]:
    """Return what a target does; it goes through the other states all the same, with nothing to do there."""
    has = {
        DeliveryState.WRITTEN: target.files,
        DeliveryState.ANNOUNCED: target.hook or target.reload or target.signal,
        DeliveryState.SEEN_SERVED: target.probe,
    }
    return {state for state, step in has.items() if step is not None} or {DeliveryState.WRITTEN}


@attrs.define(kw_only=True)
class DeliveryRecord:
    """How one name stands with one target. A restart continues from it."""

    target: str
    domain: str
    fingerprint: str
    """Of the certificate that is delivered, or was."""
    since: datetime
    """When :attr:`state` became what it is."""
    before: str | None = None
    """The fingerprint of the one that was delivered before it."""
    state: DeliveryState = DeliveryState.PENDING
    failures: int = 0
    """Since the goal was reached last."""
    error: str | None = None
    """Why a step failed; ``None`` once the goal is reached."""
    output: str | None = None
    """The end of what the hook wrote last."""
    retry_at: datetime | None = None
    """When a step that failed is tried again."""
    checked_at: datetime | None = None
    """When it was seen last that all is as it should be, or is not."""
    served: str | None = None
    """What the probe saw last: ``new``, ``old``, ``other`` or ``none``."""
    warnings: tuple[str, ...] = ()
    """What a file system refused."""
    good_until: datetime | None = None
    """The end of the certificate with which the goal was reached last: until then it is harmless."""

    def wants(self, leaf: Certificate, now: datetime) -> None:
        """Begin with another certificate, if this is another one."""
        if leaf.fingerprint != self.fingerprint:
            if self.state is not DeliveryState.PENDING:
                self.before = self.fingerprint
            self.fingerprint = leaf.fingerprint
            self.retry_at = self.served = None
            self.state, self.since = DeliveryState.PENDING, now

    def reached(self, state: DeliveryState, now: datetime, *, is_goal: bool) -> None:
        """Note that a step went well. Only the last one ends the backoff: others may go well in vain."""
        if state is not self.state:
            self.state, self.since = state, now
        self.retry_at = None
        if is_goal:
            self.is_good(now)

    def is_good(self, now: datetime) -> None:
        """Note that all is as it should be."""
        self.failures, self.error, self.retry_at, self.checked_at = 0, None, None, now

    def failed(self, text: str, now: datetime, *, output: str | None = None) -> None:
        """Note that a step failed. It is tried again after a minute, doubling to an hour, for ever."""
        self.failures += 1
        self.error = text
        self.output = output if output is not None else self.output
        self.retry_at = now + min(_FIRST_WAIT * 2 ** min(self.failures - 1, 10), _LONGEST_WAIT)

    def fell_back(self, state: DeliveryState, now: datetime) -> None:
        """Note that what was done is not so any more: a file is gone, or a server serves something else."""
        self.state, self.since = state, now

    def due_at(self, goal: DeliveryState) -> datetime:
        """Return when something is to be done: the next step, its next try, or the daily look."""
        if self.retry_at is not None:
            return self.retry_at
        if not self.has_reached(goal):
            return self.since
        return self.since if self.checked_at is None else self.checked_at + _CHECK_INTERVAL

    def has_reached(self, goal: DeliveryState) -> bool:
        """Return whether all steps went well with this certificate, whatever was seen since."""
        return _ORDER.index(self.state) >= _ORDER.index(goal)

    def is_done(self, goal: DeliveryState) -> bool:
        """Return whether all steps went well, and the last look said so."""
        return self.has_reached(goal) and self.error is None

    def shift(self, step: timedelta) -> None:
        """Move everything by which the wall clock was set back, so that no wait gets longer."""
        self.since += step
        self.retry_at = None if self.retry_at is None else self.retry_at + step
        self.checked_at = None if self.checked_at is None else self.checked_at + step

    def clamp(self, now: datetime) -> None:
        """Make sense of what was written down under another clock."""
        self.since = min(self.since, now)
        if self.retry_at is not None:
            self.retry_at = min(self.retry_at, now + _LONGEST_WAIT)
        if self.checked_at is not None:
            self.checked_at = min(self.checked_at, now)
