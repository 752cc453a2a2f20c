"""One name's life: wait until it is among the CertDomains, ask, sleep, ask again.

This is ``runCertLoop`` of tailscale's ``kube/certs/certs.go``; where it does otherwise,
``docs/design.rst`` says so and why.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import attrs
import trio

from .clock import describe_duration
from .errors import LocalAPIError, NotACertDomainError, UnreachableError
from .schedule import is_due, slot_priority
from .statistics import DomainState, DomainStatistics

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from random import Random

    from .cert_domains import CertDomains
    from .certificate import Certificate
    from .clock import Clock
    from .hints import Hints
    from .issuance_gate import IssuanceGate
    from .journal import Journal
    from .localapi import LocalAPI
    from .schedule import RetryPolicy

__all__ = ["CertLoop", "LoopContext"]

_logger = logging.getLogger(__name__)

_MIN_RETRY_SECONDS = 1
"""No failure is followed by another try sooner than this, whatever wakes the loop."""
_LOOK_AT_CLOCK_SECONDS = 3600
"""A sleep is cut into pieces, since Trio's clock stands still while the machine sleeps."""


@attrs.frozen(kw_only=True)
class LoopContext:
    """What all cert loops of a manager share."""

    client: LocalAPI
    cert_domains: CertDomains
    hints: Hints
    gate: IssuanceGate
    journal: Journal
    retry_policy: RetryPolicy
    refresh_interval: timedelta
    issue_timeout: timedelta
    clock: Clock
    rng: Random


class _Seen(NamedTuple):
    """Generations of what ends a sleep, remembered before a request, so that nothing is lost during it."""

    wakeups: int
    hints: int


@attrs.define(eq=False)
class CertLoop:
    """Keeps the certificate of one name fresh. :meth:`run` does the work; all else is quick."""

    domain: str
    _context: LoopContext
    _state: DomainState = attrs.field(default=DomainState.WAITING, init=False)
    _leaf: Certificate | None = attrs.field(default=None, init=False)
    _attempts: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _last_error: LocalAPIError | None = attrs.field(default=None, init=False)
    _last_success_at: datetime | None = attrs.field(default=None, init=False)
    _next_attempt_at: datetime | None = attrs.field(default=None, init=False)
    _wakeups: int = attrs.field(default=0, init=False)
    _nap: trio.CancelScope | None = attrs.field(default=None, init=False)

    async def run(self) -> NoReturn:
        """Keep the certificate fresh until cancelled, which ends a request at once.

        Raises:
            Exception: a bug only; a request that fails is an outcome.
        """
        context = self._context
        await self._wait_until_listed()
        while True:
            before = self._last_error
            seen = await self._attempt()
            if self._last_error is None:
                await self._sleep(context.refresh_interval, seen)
                continue
            await self._sleep(self._report_failure(self._last_error, before), seen)
            if isinstance(self._last_error, NotACertDomainError):
                await self._wait_until_listed()

    def wake(self) -> None:
        """End the present sleep, or the one that follows the attempt under way."""
        self._wakeups += 1
        if self._nap is not None:
            self._nap.cancel()

    def tailscaled_changed(self) -> None:
        """End the present sleep if the failure before it may have passed with a change of tailscaled."""
        if self._nap is not None and self._may_pass_with_a_change():
            self._nap.cancel()

    def statistics(self) -> DomainStatistics:
        """Return how the name stands."""
        return DomainStatistics(
            domain=self.domain,
            state=self._state,
            leaf=self._leaf,
            attempts=self._attempts,
            failures=self._failures,
            last_error=self._last_error,
            last_success_at=self._last_success_at,
            next_attempt_at=self._next_attempt_at,
        )

    def _may_pass_with_a_change(self) -> bool:
        return isinstance(self._last_error, UnreachableError | NotACertDomainError)

    async def _wait_until_listed(self) -> None:
        self._state, self._next_attempt_at = DomainState.WAITING, None
        await self._context.cert_domains.wait_for(self.domain)

    async def _attempt(self) -> _Seen:
        """Ask once; return what had happened until the request was sent."""
        context = self._context
        self._state, self._next_attempt_at = DomainState.QUEUED, None
        priority = slot_priority(context.clock(), self._leaf, self._failures)
        async with context.gate.slot(priority):
            self._state = DomainState.REQUESTING
            seen = _Seen(self._wakeups, context.hints.count)
            self._attempts += 1
            attempt = context.journal.begin(self.domain, context.clock())
            outcome: Certificate | LocalAPIError
            try:
                outcome = (await context.client.cert(self.domain, patience=context.issue_timeout)).leaf
            except LocalAPIError as exc:
                outcome = _without_frames(exc)
            context.journal.end(attempt, context.clock(), outcome)
        if isinstance(outcome, LocalAPIError):
            self._state, self._last_error = DomainState.FAILED, outcome
            self._failures += outcome.counted
        else:
            self._report_success(outcome)
            self._state, self._leaf = DomainState.ISSUED, outcome
            self._last_error, self._failures = None, 0
            self._last_success_at = context.clock()
        return seen

    def _report_success(self, leaf: Certificate) -> None:
        is_new = self._leaf is None or self._leaf.serial_number != leaf.serial_number
        last_look = self._last_success_at
        if not is_new and last_look is not None and is_due(leaf, last_look):
            _logger.warning(
                "%s: tailscaled still gives the certificate valid until %s, though it was due at the last "
                "look; its renewal fails behind its answers, and its log says why.",
                self.domain,
                _time(leaf.not_after),
                extra={"domain": self.domain},
            )
        elif is_new or self._last_error is not None:
            _logger.info(
                "%s: certificate valid from %s until %s; next look at %s",
                self.domain,
                _time(leaf.not_before),
                _time(leaf.not_after),
                _time(self._context.clock() + self._context.refresh_interval),
                extra={"domain": self.domain},
            )

    def _report_failure(self, error: LocalAPIError, before: LocalAPIError | None) -> timedelta:
        """Log a failure; return how long to wait after it."""
        context = self._context
        wait = context.retry_policy.wait(self._failures if error.counted else 0, context.rng)
        is_news = error.counted or str(error) != str(before)
        then = f"Next attempt at {_time(context.clock() + wait)}, in {describe_duration(wait)}."
        _logger.log(
            logging.WARNING if is_news else logging.DEBUG,
            "%s: request failed%s: %s. %s %s %s",
            self.domain,
            f" (retry {self._failures})" if error.counted else "",
            str(error).rstrip("."),
            error.meaning,
            error.remedy,
            "Waiting for it." if isinstance(error, NotACertDomainError) else then,
            extra={"domain": self.domain},
        )
        return wait

    async def _sleep(self, wait: timedelta, seen: _Seen) -> None:
        """Sleep until a wall-clock deadline, or until something has happened that was not seen before.

        After a failure the sleep takes a second at least, whatever has happened.
        """
        seconds = wait.total_seconds()
        self._next_attempt_at = self._context.clock() + wait
        at_least = 0.0 if self._last_error is None else min(self._min_retry_seconds(), seconds)
        await trio.sleep(at_least)
        is_changed = seen.hints != self._context.hints.count and self._may_pass_with_a_change()
        if is_changed or seen.wakeups != self._wakeups:
            return
        with trio.CancelScope() as self._nap:
            await _sleep_until(self._next_attempt_at, seconds - at_least, self._context.clock)
        self._nap = None

    def _min_retry_seconds(self) -> float:
        # A name that is listed and refused nonetheless would be asked for at every message of the bus.
        return 60 if isinstance(self._last_error, NotACertDomainError) else _MIN_RETRY_SECONDS


async def _sleep_until(deadline: datetime, at_most: float, clock: Clock) -> None:
    """Sleep until the wall clock shows ``deadline``, and no longer than ``at_most`` seconds.

    So a machine that was suspended catches up within the hour, and a clock set back delays nothing.
    """
    end = trio.current_time() + at_most
    while True:
        left = min((deadline - clock()).total_seconds(), end - trio.current_time())
        if left <= 0:
            return
        await trio.sleep(min(left, _LOOK_AT_CLOCK_SECONDS))


def _without_frames(error: LocalAPIError) -> LocalAPIError:
    """Return an error that can be kept for days: what led to it would keep the request's frames alive."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def _time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S%z}"
