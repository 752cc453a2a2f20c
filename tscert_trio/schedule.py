"""When to ask: pure functions over frozen data."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from .certificate import Certificate

__all__ = ["REFRESH_INTERVAL", "RetryPolicy", "SlotPriority", "is_due", "slot_priority"]

REFRESH_INTERVAL = timedelta(hours=24)
"""How long after a success a certificate is asked for again (``normalInterval`` of ``kube/certs``)."""

_NO_JITTER_BELOW = timedelta(hours=1)


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
    """Wait after the first failure in a row, and after every failure that does not count."""
    factor: float = attrs.field(default=2, validator=attrs.validators.ge(1))
    """By how much each further wait is longer."""
    maximum: timedelta = attrs.field(default=timedelta(hours=24), validator=_positive)
    """The longest wait, before jitter."""
    jitter: float = attrs.field(default=0, validator=[attrs.validators.ge(0), attrs.validators.le(1)])
    """Waits of an hour or more are drawn out by up to this fraction, so that retries do not lock onto
    a nightly fault."""

    def wait(self, failures: int, rng: Random) -> timedelta:
        """Return how long to wait after the given number of failures in a row.

        Args:
            failures: counted failures in a row; 0 where the failure did not count.
            rng: the source of jitter.
        """
        wait, longest = self.initial.total_seconds(), self.maximum.total_seconds()
        for _ in range(failures - 1):
            if wait >= longest or self.factor == 1:
                break
            wait *= self.factor
        wait = min(wait, longest)
        if self.jitter and wait >= _NO_JITTER_BELOW.total_seconds():
            wait *= 1 + rng.uniform(0, self.jitter)
        return timedelta(seconds=wait)


def is_due(leaf: Certificate, at: datetime) -> bool:
    """Return whether tailscaled, asked at this time, begins to renew a certificate.

    It does when two thirds of the life are over (``feature/acme/cert.go``), or earlier where the CA
    wants it.
    """
    return at >= leaf.not_before + leaf.lifetime * (2 / 3)


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
