"""How long to wait after a failure: the schedule, and what each class of failures makes of it."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from ..errors import (
    AccessDeniedError,
    AccountMismatchError,
    AlreadyReplacedError,
    ControlError,
    LocalAPIError,
    NotACertDomainError,
    PausedError,
    RateLimit,
    RateLimitedError,
    ReadOnlyStoreError,
    StorageError,
    UnreachableError,
    ValidationError,
)

if TYPE_CHECKING:
    from random import Random

__all__ = ["LONGEST_HOLD", "URGENT_BELOW", "RetryPolicy", "hold_after", "wait_after"]

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_NO_JITTER_BELOW = _HOUR
URGENT_BELOW = timedelta(days=8).total_seconds()
"""With fewer seconds left waits get shorter."""
_LONG_WITHOUT = timedelta(days=3)

LONGEST_HOLD = timedelta(days=7)
"""How much of a ``Retry-After`` is believed."""
_SHORTEST_HOLD = timedelta(minutes=1)


def _positive(_instance: object, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{attribute.name} must be positive, not {value}")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How long to wait after a failure.

    The default is the rule of tailscale's ``kube/certs`` of v1.86 to v1.100, one minute doubling to
    a day, without its overflow after 28 failures. ``factor=10`` is what Let's Encrypt advises
    (https://letsencrypt.org/docs/integration-guide/#retrying-failures) and tailscale does since v1.102.
    """

    initial: timedelta = attrs.field(default=timedelta(minutes=1), validator=_positive)
    """Wait after the first failure in a row."""
    factor: float = attrs.field(default=2, validator=attrs.validators.ge(1))
    """By how much each further wait is longer."""
    maximum: timedelta = attrs.field(default=timedelta(hours=24), validator=_positive)
    """The longest wait, before jitter."""
    jitter: float = attrs.field(default=0, validator=[attrs.validators.ge(0), attrs.validators.le(1)])
    """Waits of an hour or more are drawn out by up to this fraction, so that retries do not lock onto
    a nightly fault."""
    urgency: bool = False
    """Whether waits get shorter towards the end of a certificate's life: once fewer than eight days are
    left an eighth of them, and without a valid certificate an hour, after three days without one six."""

    def wait(self, failures: int, rng: Random, *, at_most: timedelta = timedelta.max) -> timedelta:
        """Return how long to wait after the given number of failures in a row.

        Args:
            failures: counted failures in a row; 0 where the failure did not count.
            rng: the source of jitter.
            at_most: a shorter limit than :attr:`maximum`, before jitter.
        """
        return self._drawn_out(min(self.seconds(failures), at_most.total_seconds()), rng)

    def seconds(self, failures: int) -> float:
        """Return the wait after so many failures in a row, in seconds, without jitter."""
        wait, longest = self.initial.total_seconds(), self.maximum.total_seconds()
        for _ in range(failures - 1):
            if wait >= longest or self.factor == 1:
                break
            wait *= self.factor
        return min(wait, longest)

    def growth(self, failures: int) -> tuple[int, float]:
        """Return how many waits are shorter than the longest from a failure on, and how long in all."""
        return _growth(self, failures)

    def cap(self, left: timedelta) -> timedelta:
        """Return the longest wait for a certificate of which so much is left; less than nothing: expired."""
        return timedelta(seconds=self.cap_seconds(left.total_seconds()))

    def cap_seconds(self, left: float) -> float:
        """Return the same in seconds."""
        longest = self.maximum.total_seconds()
        if not self.urgency or left > URGENT_BELOW:
            return longest
        if left > 0:
            return min(longest, max(left / 8, _HOUR.total_seconds()))
        return min(longest, (1 if left > -_LONG_WITHOUT.total_seconds() else 6) * _HOUR.total_seconds())

    def draw_out(self, wait: timedelta, rng: Random) -> timedelta:
        """Return a wait with jitter."""
        return self._drawn_out(wait.total_seconds(), rng)

    def _drawn_out(self, seconds: float, rng: Random) -> timedelta:
        if self.jitter and seconds >= _NO_JITTER_BELOW.total_seconds():
            seconds *= 1 + rng.uniform(0, self.jitter)
        return timedelta(seconds=seconds)


@lru_cache(maxsize=1024)
def _growth(policy: RetryPolicy, failures: int) -> tuple[int, float]:
    wait, longest = policy.seconds(failures), policy.maximum.total_seconds()
    if policy.factor == 1 and wait < longest:
        return 0, math.inf
    count, seconds = 0, 0.0
    while wait < longest:
        count, seconds, wait = count + 1, seconds + wait, wait * policy.factor
    return count, seconds


_UNCOUNTED_WAIT: dict[type[LocalAPIError], timedelta] = {
    AccessDeniedError: timedelta(minutes=5),
    NotACertDomainError: timedelta(minutes=5),
    ReadOnlyStoreError: timedelta(minutes=5),
}
_UNREACHABLE = RetryPolicy(initial=timedelta(seconds=1), maximum=timedelta(minutes=1))
_AFTER_NOT_AFTER = timedelta(seconds=1)


def wait_after(  # noqa: PLR0911 -- one for each row of the table
    error: LocalAPIError,
    *,
    failures: int,
    repeats: int,
    left: timedelta,
    policy: RetryPolicy,
    rng: Random,
) -> timedelta:
    """Return how long to wait after a failure: the failure table of ``docs/design.rst``.

    Args:
        error: what failed.
        failures: counted failures in a row, this one included.
        repeats: failures of the same class in a row, this one included.
        left: how long the present certificate is still valid; less than nothing: for how long there has
            been none.
        policy: the schedule.
        rng: the source of jitter.
    """
    if isinstance(error, UnreachableError):
        return _UNREACHABLE.wait(repeats, rng)
    if not error.counted:
        return _UNCOUNTED_WAIT.get(type(error), policy.initial)
    cap = policy.cap(left)
    if isinstance(error, PausedError):
        return policy.draw_out(_DAY, rng)
    if isinstance(error, RateLimitedError):
        at_least = 3 * _HOUR if error.limit is RateLimit.REGISTRATIONS else _HOUR
        if error.retry_after is not None:
            return _clamped(error.retry_after)
        return max(policy.wait(failures, rng, at_most=cap), policy.draw_out(at_least, rng))
    if isinstance(error, StorageError) and repeats >= 2:
        return policy.draw_out(_DAY, rng)
    if isinstance(error, ControlError):
        cap = min(cap, _HOUR)
    elif isinstance(error, ValidationError) and cap < policy.maximum:
        cap = min(policy.maximum, _DAY if left <= -_LONG_WITHOUT else max(cap, 6 * _HOUR))
    wait = policy.wait(failures, rng, at_most=cap)
    if isinstance(error, AlreadyReplacedError | AccountMismatchError) and timedelta(0) < left < wait:
        return left + _AFTER_NOT_AFTER  # then tailscaled orders anew, and replaces nothing
    return wait


def hold_after(error: LocalAPIError) -> timedelta | None:
    """Return for how long not even a person's wish brings another request: what the CA asks for."""
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        return _clamped(error.retry_after)
    return None


def _clamped(retry_after: timedelta) -> timedelta:
    return min(max(retry_after, _SHORTEST_HOLD), LONGEST_HOLD)
