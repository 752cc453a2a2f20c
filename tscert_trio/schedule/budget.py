"""Token buckets of the CA's limits. Pure: the state of a bucket is one moment, kept by whoever spends.

Let's Encrypt's limits are token buckets, too (https://letsencrypt.org/docs/rate-limits/). A bucket of
five tokens, one of which comes back every fifteen minutes, is described by the time at which it would be
full again: each token that is taken moves that time by fifteen minutes (the generic cell rate algorithm).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

__all__ = ["LETS_ENCRYPT", "LONG_AGO", "NO_LIMITS", "Bucket", "CALimits"]

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When a bucket was full that nobody has taken from."""


@attrs.frozen
class Bucket:
    """How many tokens there are at most, and how long each takes to come back."""

    capacity: int
    interval: timedelta
    """Nothing: tokens never run out."""

    def take(self, full_at: datetime, now: datetime) -> datetime:
        """Return when the bucket is full again after one more token is taken, whether there is one or not.

        Args:
            full_at: when it would have been full.
            now: the present time.
        """
        return max(full_at, now) + self.interval if self.interval else full_at

    def give_back(self, full_at: datetime) -> datetime:
        """Return when the bucket is full again after a token has been put back."""
        return full_at - self.interval

    def ready_at(self, full_at: datetime, *, reserve: int = 0) -> datetime:
        """Return from when on a token can be taken.

        Args:
            full_at: when the bucket is full again.
            reserve: how many tokens are to be left over for others.
        """
        return full_at - self.interval * (self.capacity - reserve - 1)

    def used(self, full_at: datetime, now: datetime) -> int:
        """Return how many tokens are missing."""
        missing = max(full_at - now, timedelta(0))
        return 0 if not self.interval else min(self.capacity, -(-missing // self.interval))

    def left(self, full_at: datetime, now: datetime) -> int | None:
        """Return how many tokens there are; ``None`` where they never run out."""
        return self.capacity - self.used(full_at, now) if self.interval else None

    def clamp(self, full_at: datetime, now: datetime) -> datetime:
        """Return ``full_at``, but no later than where every token has just been taken (a clock was set)."""
        return min(full_at, now + self.interval * self.capacity)


@attrs.frozen(kw_only=True)
class CALimits:
    """The limits of a CA, as far as this machine can tell what it has spent."""

    attempts_per_name: Bucket
    """In an hour, failed or not: the CA counts failed validations, and nobody knows which one will fail."""
    certificates_per_name: Bucket
    orders: Bucket
    """Of the machine's ACME account."""
    names_per_tailnet: Bucket
    """Names without a certificate yet. All nodes of the tailnet spend from it, so that this machine can
    tell how it stands only when the CA says that it is empty."""


LETS_ENCRYPT = CALimits(
    attempts_per_name=Bucket(5, timedelta(minutes=15)),
    certificates_per_name=Bucket(5, timedelta(days=7) / 5),
    orders=Bucket(300, timedelta(hours=3) / 300),
    names_per_tailnet=Bucket(50, timedelta(days=7) / 50),
)
"""https://letsencrypt.org/docs/rate-limits/, read in November 2026."""

_ENDLESS = Bucket(1, timedelta(0))
NO_LIMITS = CALimits(
    attempts_per_name=_ENDLESS, certificates_per_name=_ENDLESS, orders=_ENDLESS, names_per_tailnet=_ENDLESS
)
"""A CA that lets everything through, such as one of your own."""
