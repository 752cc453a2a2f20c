"""What is remembered of one name, and what each outcome makes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zlib import crc32

import attrs

from ..errors import LocalAPIError, NotACertDomainError, UnreachableError
from .budget import LONG_AGO
from .renewal import DueReason, RenewalWindow, due_time
from .retry import LONGEST_HOLD, RetryPolicy, hold_after, wait_after

if TYPE_CHECKING:
    from random import Random

    from ..certificate import Certificate

__all__ = ["DomainRecord"]

_MOMENTS = (
    "ended_at", "succeeded_at", "looked_at", "retry_at", "order_at", "hold_until", "window_check_at",
    "attempts_full_at", "certificates_full_at",
)  # fmt: skip
_RECOVERY_SPREAD = timedelta(seconds=5)
_SHORTEST_WAIT = timedelta(seconds=1)
_WAIT_BEFORE_RESUMING = timedelta(minutes=1)


@attrs.define(kw_only=True)
class DomainRecord:
    """What is remembered of one name. A restart resumes from it, and nothing else."""

    domain: str
    wanted_since: datetime
    leaf: Certificate | None = None
    """The newest certificate seen, valid or not."""
    window: RenewalWindow | None = None
    """What its CA suggests."""
    window_check_at: datetime | None = None
    """When the CA is to be asked for the window again."""
    failures: int = 0
    """Counted failures in a row."""
    repeats: int = 0
    """Failures of the same class in a row."""
    error: LocalAPIError | None = None
    """Why the last request failed; ``None`` after a success."""
    order_error: LocalAPIError | None = attrs.field(
        default=attrs.Factory(
            lambda self: self.error if self.error and self.error.counted else None, takes_self=True
        )
    )
    """Why there is no order before :attr:`order_at`; a failure of another kind may have come since."""
    hasty: int = 0
    """How often in a row one was replaced in the first tenth of its life; not kept over a restart."""
    ended_at: datetime | None = None
    """When the last request ended."""
    succeeded_at: datetime | None = None
    """When a certificate that is not due was seen last."""
    retry_at: datetime | None = None
    """No request before: the last failure would meet any."""
    order_at: datetime | None = None
    """No request that may lead to an order before."""
    hold_until: datetime | None = None
    """The same, because the CA says so."""
    attempts_full_at: datetime = LONG_AGO
    """Of the bucket of attempts (:class:`CALimits`)."""
    certificates_full_at: datetime = LONG_AGO
    """Of the bucket of certificates."""
    looked_at: datetime | None = None
    """When the certificate was seen last; not kept over a restart, which looks at once."""
    is_forced: bool = False
    """Whether a person wants a new certificate, even if this one is not due."""
    is_lost: bool = False
    """Whether tailscaled seems to have lost the certificate, so that a look would order one."""

    def left(self, now: datetime) -> timedelta:
        """Return how long the certificate is valid; less than nothing: for how long there is none."""
        return (self.leaf.not_after if self.leaf is not None else self.wanted_since) - now

    def has_valid_leaf(self, now: datetime) -> bool:
        """Return whether a certificate is known whose end has not come.

        One that has not begun counts: a clock is wrong then, and asking for another does not help.
        """
        return self.leaf is not None and now <= self.leaf.not_after

    def due(self) -> tuple[datetime, DueReason] | None:
        """Return when the certificate is due, and why then."""
        return due_time(self.leaf, self.window) if self.leaf is not None else None

    def is_due(self, now: datetime) -> bool:
        """Return whether the certificate is due, or there is none."""
        due = self.due()
        return due is None or now >= due[0]

    def saw(self, leaf: Certificate, now: datetime) -> bool:
        """Take note of the certificate that tailscaled has; return whether it is another one.

        A certificate that is not due ends whatever failed before. One that is due leaves the failures of
        earlier orders as they are.
        """
        is_new = self.leaf is None or self.leaf.fingerprint != leaf.fingerprint
        if is_new:
            old, self.leaf = self.leaf, leaf
            is_hasty = old is not None and leaf.not_before - old.not_before < old.lifetime / 10
            self.hasty = self.hasty + 1 if is_hasty else 0
            self.window = self.window_check_at = None
        self.looked_at = self.ended_at = now
        self.is_lost, self.retry_at = False, None
        if not self.is_due(now):
            self.error = self.order_error = self.order_at = None
            self.failures = self.repeats = 0
            self.succeeded_at = now
        else:
            self.error = self.order_error
        return is_new

    def failed(
        self, error: LocalAPIError, now: datetime, *, policy: RetryPolicy, rng: Random, is_order: bool
    ) -> timedelta:
        """Take note of a failure; return how long to wait.

        Args:
            error: what failed.
            now: when it ended.
            policy: the schedule.
            rng: the source of jitter.
            is_order: whether the request was made in order to get a new certificate. A look at one that
                is there leads to an order only where tailscaled has lost it.
        """
        self.repeats = self.repeats + 1 if type(error) is type(self.error) else 1
        self.failures += error.counted
        self.error, self.ended_at = error, now
        wait = wait_after(
            error,
            failures=self.failures,
            repeats=self.repeats,
            left=self.left(now),
            policy=policy,
            rng=rng,
        )
        if not is_order and error.reached_ca is not False:
            self.is_lost = is_order = True
        if error.counted and is_order:
            self.order_at, self.order_error = now + wait, error
        if not (error.counted and is_order) or error.reached_ca is False:
            self.retry_at = now + wait
        if (hold := hold_after(error)) is not None:
            self.hold_until = now + hold
        return wait

    def resume(self, now: datetime) -> None:
        """Ask soon: what the last failure was about has changed. Names are spread over a few seconds."""
        shortest = _SHORTEST_WAIT if isinstance(self.error, UnreachableError) else _WAIT_BEFORE_RESUMING
        spread = _RECOVERY_SPREAD * crc32(self.domain.encode()) / (1 << 32)
        at = max(now, (self.ended_at or now) + shortest)
        if not isinstance(self.error, NotACertDomainError):
            at += spread
        self.retry_at = None if self.retry_at is None else min(self.retry_at, at)
        if self.order_at is not None and self.error is not None and self.error.counted:
            self.order_at = min(self.order_at, at)  # else it is about an earlier failure

    def skip_backoff(self, *, is_forced: bool = False) -> None:
        """Ask now: a person wants it. What the CA said stands.

        Args:
            is_forced: for a new certificate. A look after it would make a failure of that forgotten at once.
        """
        self.retry_at = self.order_at = None
        if not is_forced:
            self.looked_at = None

    def shift(self, step: timedelta) -> None:
        """Move everything by which the wall clock was set back, so that no wait gets longer."""
        for name in _MOMENTS:
            if (moment := getattr(self, name)) is not None:
                setattr(self, name, moment + step)

    def clamp(self, now: datetime, policy: RetryPolicy) -> None:
        """Make sense of what was written down under another clock: nothing lies further ahead than it can."""
        longest = now + max(policy.maximum * (1 + policy.jitter), timedelta(days=1.1))
        self.retry_at = _earlier(self.retry_at, now + timedelta(minutes=5))
        self.order_at = _earlier(self.order_at, max(longest, now + LONGEST_HOLD if self.hold_until else now))
        self.hold_until = _earlier(self.hold_until, now + LONGEST_HOLD)
        self.window_check_at = _earlier(self.window_check_at, now + timedelta(hours=12))
        self.ended_at, self.succeeded_at = _earlier(self.ended_at, now), _earlier(self.succeeded_at, now)
        self.wanted_since = min(self.wanted_since, now)


def _earlier(moment: datetime | None, at_most: datetime) -> datetime | None:
    return None if moment is None else min(moment, at_most)
