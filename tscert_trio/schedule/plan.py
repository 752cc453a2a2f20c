"""What to ask next for a name, and when: a pure function of what is known."""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import attrs

from .renewal import look_interval
from .retry import URGENT_BELOW

if TYPE_CHECKING:
    from .ledger import Ledger
    from .record import DomainRecord
    from .retry import RetryPolicy

__all__ = ["NEVER", "RUNWAY_ENOUGH", "Mode", "Request", "Step", "may_look", "next_step", "runway"]

NEVER = datetime(9999, 1, 1, tzinfo=UTC)

_BLIND_END = timedelta(minutes=1)
"""A certificate with less left is not looked at: were it over when tailscaled looks, that would order."""
_JUST_AFTER = timedelta(seconds=1)
_SHORTEST_WAIT = timedelta(seconds=1)
_HASTY = 2
"""So many certificates replaced one after the other are no accident any more."""
_READER_INTERVAL = timedelta(minutes=5)
RUNWAY_ENOUGH = 999


class Request(enum.Enum):
    """What tailscaled is asked."""

    LOOK = "look"
    """For the certificate it has, which costs nothing (``min_validity=1s``)."""
    RENEW = "renew"
    """For another one instead of the one it has, in the foreground."""
    ISSUE = "issue"
    """For a certificate, where none that is valid is known."""


class Mode(enum.Enum):
    """Whether certificates are ordered."""

    KEEPER = "keeper"
    READER = "reader"
    """Beside a tailscaled in read-only share mode, which never orders."""
    GUEST = "guest"
    """Beside one that would: only a certificate that is known and valid is looked at."""


@attrs.frozen
class Step:
    """One request to come."""

    request: Request
    at: datetime
    limit: str | None = None
    """What an order that is wanted waits for, where that is a limit of the CA."""
    limited_until: datetime | None = None
    """Until when. A look may come first."""


def next_step(
    record: DomainRecord,
    now: datetime,
    *,
    ledger: Ledger,
    refresh_interval: timedelta,
    mode: Mode = Mode.KEEPER,
) -> Step:
    """Return the next request for a name.

    Args:
        record: of the name.
        now: the present time.
        ledger: the limits of the CA.
        refresh_interval: how long after a success to look again, at most.
        mode: whether to order.
    """
    if mode is Mode.READER:
        return _read(record, now, ledger)
    look = _look(record, now, _READER_INTERVAL if mode is Mode.GUEST else refresh_interval)
    if mode is Mode.GUEST:
        return look or _look_of_a_guest(record, now, ledger)
    order = _order(record, now, ledger)
    if look is None or order.at <= look.at:
        return order
    return attrs.evolve(look, limit=order.limit, limited_until=order.limited_until)


def _read(record: DomainRecord, now: datetime, ledger: Ledger) -> Step:
    at = now if record.looked_at is None else record.looked_at + _READER_INTERVAL
    if record.error is not None and record.error.reached_ca is not False:  # so this tailscaled does order
        ready_at, limit = ledger.ready_at(record, now)
        at = _not_at_once(record, max(at, record.order_at or at, ready_at))
        return Step(Request.LOOK, at, limit, ready_at if limit else None)
    if record.order_at is not None and record.ended_at is not None:
        at = max(at, min(record.order_at, record.ended_at + _READER_INTERVAL))
    return Step(Request.LOOK, _not_at_once(record, at))


def _look_of_a_guest(record: DomainRecord, now: datetime, ledger: Ledger) -> Step:
    """Look again, on the schedule and within the limits, where an unanswered look is no proof of a loss."""
    is_doubtful = record.error is not None and record.error.reached_ca is None
    if record.leaf is None or not is_doubtful or record.order_at is None:
        return Step(Request.LOOK, NEVER)
    at = max(record.order_at, ledger.ready_at(record, now)[0])
    return Step(Request.LOOK, at if at < record.leaf.not_after - _BLIND_END else NEVER)


def may_look(record: DomainRecord, now: datetime) -> bool:
    """Return whether tailscaled, asked for what it has, is known to have it, so that it orders nothing."""
    leaf = record.leaf
    is_seen = leaf is not None and record.looked_at is not None and not record.is_lost
    return is_seen and leaf is not None and leaf.not_before <= now <= leaf.not_after - _BLIND_END


def _look(record: DomainRecord, now: datetime, at_most: timedelta) -> Step | None:
    leaf = record.leaf
    if leaf is None or record.is_lost:
        return None
    at = now if record.looked_at is None else record.looked_at + look_interval(leaf, at_most)
    at = max(_not_at_once(record, at), leaf.not_before)  # until it begins, a look would order another
    if max(at, now) > leaf.not_after - _BLIND_END:
        return None
    return Step(Request.LOOK, at)


def _order(record: DomainRecord, now: datetime, ledger: Ledger) -> Step:
    leaf, at = record.leaf, now
    if leaf is not None and record.has_valid_leaf(now) and not record.is_lost:
        due = record.due()
        assert due is not None
        at = now if record.is_forced else due[0]
        if not record.is_forced and record.hasty >= _HASTY:  # the CA wants each new one replaced
            wait = leaf.lifetime / 2000 * 2 ** min(record.hasty - _HASTY, 10)
            at = max(at, leaf.not_before + min(wait, leaf.lifetime / 20))
    is_wanted = at <= now
    if record.order_at is not None:
        at = max(at, record.order_at)
    at = _not_at_once(record, at)
    ready_at, limit = ledger.ready_at(record, now)
    if ready_at < at or not is_wanted:
        limit = None
    at = max(at, ready_at)
    until = at if limit is not None else None
    if leaf is None or record.is_lost or at > leaf.not_after:
        return Step(Request.ISSUE, at, limit, until)
    if max(at, now) > leaf.not_after - _BLIND_END:
        return Step(Request.ISSUE, leaf.not_after + _JUST_AFTER, limit, until)
    return Step(Request.RENEW, at, limit, until)


def _not_at_once(record: DomainRecord, at: datetime) -> datetime:
    if record.retry_at is not None:
        at = max(at, record.retry_at)
    if record.error is not None and record.ended_at is not None:
        at = max(at, record.ended_at + _SHORTEST_WAIT)
    return at


def runway(failures: int, next_order_at: datetime, not_after: datetime, policy: RetryPolicy) -> int:
    """Return how many attempts the present schedule still has before a certificate ends; 999 is enough.

    Args:
        failures: counted failures in a row.
        next_order_at: when the next attempt is.
        not_after: the end.
        policy: the schedule; its jitter is left out.
    """
    left, attempts = (not_after - next_order_at).total_seconds(), 0
    growing, seconds = policy.growth(failures + 1)
    if left - seconds > URGENT_BELOW:  # the usual case, and a page asks it of thousands
        return min(growing + _attempts_at_cap(left - seconds, policy), RUNWAY_ENOUGH)
    wait = policy.seconds(failures + 1)
    while left > 0 and attempts < RUNWAY_ENOUGH:
        attempts += 1
        left -= min(wait, policy.cap_seconds(left))
        wait = min(wait * policy.factor, policy.maximum.total_seconds())
    return attempts


def _attempts_at_cap(left: float, policy: RetryPolicy) -> int:
    """Return how many attempts there are in so many seconds, each after the longest wait."""
    longest = policy.maximum.total_seconds()
    if not policy.urgency:
        return math.ceil(left / longest)
    before = math.ceil((left - URGENT_BELOW) / longest)
    return before + bisect_left(_urgent_moments(longest), left - before * longest)


@cache
def _urgent_moments(longest: float) -> list[float]:
    """Return, at index n, with how many seconds left there are n attempts: ``cap_seconds`` the other way."""
    moments = [0.0]
    while moments[-1] < URGENT_BELOW:
        moments.append(moments[-1] + min(longest, max(moments[-1] / 7, 3600)))
    return moments
