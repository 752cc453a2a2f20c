"""One name's life: wait until it is among the CertDomains, ask, look, sleep, ask again.

This began as ``runCertLoop`` of tailscale's ``kube/certs/certs.go``; where it does otherwise,
``docs/design.rst`` says so and why. What to ask next, and when, is decided in :mod:`.schedule`; here it
is done.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import attrs
import trio

from .cert_requests import issue, look, renew
from .errors import LocalAPIError, NotACertDomainError, without_frames
from .loop_log import log_certificate, log_earlier_failure, log_end, log_failure
from .schedule import NEVER, Mode, Request, Step, may_look, next_step, slot_priority
from .statistics import DomainState, DomainStatistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from random import Random

    from .cert_domains import CertDomains
    from .certificate import Certificate
    from .clock import Clock
    from .hints import Hints
    from .issuance_gate import IssuanceGate
    from .journal import Journal
    from .localapi import LocalAPI
    from .schedule import DomainRecord, Ledger, RetryPolicy

__all__ = ["CertLoop", "LoopContext"]

_LONGEST_NAP = 86400 * 366.0
_BACKDATED = timedelta(hours=2)
"""By so much, or less, CAs date a certificate back that they issue now."""
_SOON = 1e-4  # seconds: what floats lose over a year


@attrs.frozen(kw_only=True)
class LoopContext:
    """What all cert loops of a manager share."""

    client: LocalAPI
    cert_domains: CertDomains
    order_gate: IssuanceGate
    look_gate: IssuanceGate
    journal: Journal
    ledger: Ledger
    retry_policy: RetryPolicy
    refresh_interval: timedelta
    issue_timeout: timedelta
    clock: Clock
    rng: Random
    mode_of: Callable[[str], Mode]
    ca_returns: Hints
    """Given when the CA is back."""
    news: Hints
    """Given after a certificate that is new, or seen for the first time here or since it seemed lost; after a
    failure that may pass with the CA's return; and when names come or go."""
    outcomes: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    """How many requests ended how."""


class _Sent(NamedTuple):
    """What had happened when a request was sent, so that nothing is lost that happens meanwhile."""

    wishes: int
    changes: int
    ca_returns: int


@attrs.define(eq=False)
class CertLoop:
    """Keeps the certificate of one name fresh. :meth:`run` does the work; all else is quick."""

    record: DomainRecord
    _context: LoopContext
    _mode: Mode = attrs.field(init=False)
    _state: DomainState = attrs.field(default=DomainState.WAITING, init=False)
    _attempts: int = attrs.field(default=0, init=False)
    _step: Step | None = attrs.field(default=None, init=False)
    _wishes: int = attrs.field(default=0, init=False)
    _sent: _Sent | None = attrs.field(default=None, init=False)
    """While a request is under way."""
    _nap: trio.CancelScope | None = attrs.field(default=None, init=False)
    _end_told: Certificate | None = attrs.field(default=None, init=False)
    """The certificate whose end was told."""

    def __attrs_post_init__(self) -> None:
        self._mode = self._context.mode_of(self.domain)

    @property
    def domain(self) -> str:
        """The name."""
        return self.record.domain

    async def run(self) -> NoReturn:
        """Keep the certificate fresh until cancelled, which ends a request at once.

        Raises:
            Exception: a bug only; a request that fails is an outcome.
        """
        if self.record.error is not None:
            now = self._context.clock()
            log_earlier_failure(self.record, self._plan(now), now)
        await self._wait_until_listed()
        while True:
            step = await self._sleep()
            if self._is_unlisted():
                await self._wait_until_listed()
                continue  # much may have changed meanwhile
            await (self._look() if step.request is Request.LOOK else self._order())
            if self._sent is not None:
                sent, self._sent = self._sent, None
                if sent.wishes != self._wishes:
                    self.record.skip_backoff(is_forced=self.record.is_forced)
                if sent.changes != self._context.cert_domains.changes.count:
                    self.tailscaled_changed()
                if sent.ca_returns != self._context.ca_returns.count:
                    self.ca_is_back()

    def renew(self, *, is_forced: bool = False) -> int:
        """Ask now, or right after the request under way; what the CA said stands.

        Args:
            is_forced: for a new certificate, even if the present one is not due.

        Returns:
            How many requests there were so far, with the one under way.
        """
        is_forced = is_forced and self._mode is Mode.KEEPER  # the others only look
        self._wishes += 1
        if is_forced:
            self.record.is_forced = True
            self._context.journal.remember(self.record)
        if self._mode is Mode.GUEST:
            self.record.is_lost = False
        if self._sent is None:
            self.record.skip_backoff(is_forced=is_forced)
            self.plan_again()
        return self._attempts

    def tailscaled_changed(self) -> None:
        """Ask soon if the failure before may have passed with a change of tailscaled."""
        self._resume(self.record.error is not None and self.record.error.passes_with_tailscaled)

    def ca_is_back(self) -> None:
        """Ask soon if the failure before may have passed with the CA's return."""
        self._resume(self.waits_for_ca)

    @property
    def waits_for_ca(self) -> bool:
        """Whether the last failure may pass with the CA's return."""
        return self.record.error is not None and self.record.error.passes_with_ca

    def plan_again(self) -> None:
        """Think again about what is next: the clock, the due time or a limit has changed."""
        if self._nap is not None:
            self._nap.cancel()

    def leaf_at_hand(self) -> Certificate | None:
        """Return the certificate that tailscaled was seen to have and can be asked for without an order."""
        return self.record.leaf if may_look(self.record, self._context.clock()) else None

    def look_failed(self, error: LocalAPIError) -> None:
        """Take note that somebody else's look failed, and may have reached the CA."""
        if self._sent is None:
            self._look_failed(without_frames(error))
            self.plan_again()
        else:  # the request under way will tell
            self.record.is_lost = True

    def statistics(self) -> DomainStatistics:
        """Return how the name stands."""
        record, step = self.record, self._step
        return DomainStatistics(
            domain=record.domain,
            state=self._state,
            leaf=record.leaf,
            window=record.window,
            attempts=self._attempts,
            failures=record.failures,
            last_error=record.error,
            last_attempt_at=record.ended_at,
            last_success_at=record.succeeded_at,
            next_attempt_at=step.at if step and step.at < NEVER else None,
            mode=self._mode,
            limit=step.limit if step else None,
            limited_until=step.limited_until if step else None,
            order_at=record.order_at,
            attempts_full_at=record.attempts_full_at,
            certificates_full_at=record.certificates_full_at,
            limits=self._context.ledger.limits,
            retry_policy=self._context.retry_policy,
        )

    def _resume(self, may_pass: bool) -> None:
        if may_pass and self._sent is None:
            self.record.resume(self._context.clock())
            self.plan_again()

    def _note_sent(self) -> None:
        self._attempts += 1
        context = self._context
        self._sent = _Sent(self._wishes, context.cert_domains.changes.count, context.ca_returns.count)

    def _is_unlisted(self) -> bool:
        error, view = self.record.error, self._context.cert_domains.view
        return isinstance(error, NotACertDomainError) and not view.lets_through(self.domain)

    async def _wait_until_listed(self) -> None:
        self._state, self._step = DomainState.WAITING, None
        await self._context.cert_domains.wait_for(self.domain)
        self._state = DomainState.QUEUED

    def _plan(self, now: datetime) -> Step:
        context = self._context
        return next_step(
            self.record,
            now,
            ledger=context.ledger,
            refresh_interval=context.refresh_interval,
            mode=self._mode,
        )

    async def _sleep(self) -> Step:
        """Sleep until the next request is due by the wall clock; return it."""
        while True:
            now = self._context.clock()
            step = self._plan(now)
            seconds = (step.at - now).total_seconds()
            if seconds <= _SOON:
                self._step = None
                return step
            self._step = step
            self._state = self._state_while_asleep(step)
            self._report_end(step, now)
            nap = min(seconds, _LONGEST_NAP, self._seconds_to_end(now))
            with trio.CancelScope(deadline=trio.current_time() + nap) as self._nap:
                await trio.sleep_forever()
            self._nap = None

    def _seconds_to_end(self, now: datetime) -> float:
        """Return how long the certificate is valid; for ever where it is over or there is none."""
        leaf = self.record.leaf
        if leaf is None or not self.record.has_valid_leaf(now):
            return math.inf
        return (leaf.not_after - now).total_seconds() + _SOON

    def _state_while_asleep(self, step: Step) -> DomainState:
        if step.limit is not None:
            return DomainState.LIMITED
        if self.record.error is not None or not self.record.has_valid_leaf(self._context.clock()):
            return DomainState.FAILED
        return DomainState.ISSUED

    async def _look(self) -> None:
        """See what tailscaled has. It costs nothing, and it is no order."""
        context, record = self._context, self.record
        async with context.look_gate.slot():
            now = context.clock()
            step = self._plan(now)  # in the queue it may have come too close to its end
            if step.request is not Request.LOOK or (step.at - now).total_seconds() > _SOON:
                return
            self._note_sent()
            try:
                leaf = await look(context.client, self.domain)
            except LocalAPIError as exc:
                self._look_failed(without_frames(exc))
                return
        now = context.clock()
        context.outcomes["look", "found"] += 1
        is_known, before = record.leaf is not None, record.error
        was_seen = record.looked_at is not None and may_look(record, record.looked_at)
        is_new = record.saw(leaf, now)
        if is_new and is_known:
            context.ledger.spend_behind(record, now, is_order=False)
        is_over = before is not None and record.error is None
        if is_new or before is not record.error:
            is_event = is_new or is_over
            context.journal.note_look(record, now, leaf if is_event else None, context.ledger.account)
        if is_new or is_over or not was_seen:
            log_certificate(record)
        if is_new or not was_seen:
            context.news.give()

    def _look_failed(self, error: LocalAPIError) -> None:
        context, record = self._context, self.record
        now, before = context.clock(), record.error
        context.outcomes["look", type(error).__name__] += 1
        record.failed(error, now, policy=context.retry_policy, rng=context.rng, is_order=False)
        if error.reached_ca is not False:
            context.ledger.spend_behind(record, now, is_order=True)
        context.ledger.heed(record, error, now)
        is_news = error.counted or str(error) != str(before)
        if is_news:
            context.journal.note_look(record, now, error, context.ledger.account)
        self._report_failure(error, is_news=is_news)

    async def _order(self) -> None:
        """Ask for a new certificate, within the limits of tailscaled and of the CA."""
        context, record = self._context, self.record
        self._state = DomainState.QUEUED
        priority = slot_priority(context.clock(), record.leaf, record.failures)
        async with context.order_gate.slot(priority):
            now = context.clock()
            step = self._plan(now)  # others may have used a limit up meanwhile
            if step.request is Request.LOOK or (step.at - now).total_seconds() > _SOON:
                return
            self._state = DomainState.REQUESTING
            self._note_sent()
            had_one = record.leaf is not None
            if record.is_forced:
                record.is_forced = False
                context.journal.remember(record)  # a restart from here on orders no second one
            context.ledger.take(record, now)
            number = context.journal.begin(self.domain, step.request, now)
            outcome: Certificate | LocalAPIError
            try:
                outcome = await self._ask(step.request)
            except LocalAPIError as exc:
                outcome = without_frames(exc)
            except BaseException:  # cancelled, which is no failure; or a bug
                context.ledger.settle_cancelled(record)
                self._end(number, "cancelled")
                raise
        if isinstance(outcome, LocalAPIError):
            context.outcomes[step.request.value, type(outcome).__name__] += 1
            self._order_failed(number, outcome)
        else:
            found = self._order_succeeded(number, outcome, started_at=now, is_first=not had_one)
            context.outcomes[step.request.value, found] += 1

    async def _ask(self, request: Request) -> Certificate:
        context = self._context
        client, clock, patience = context.client, context.clock, context.issue_timeout
        if request is Request.RENEW:
            try:
                old = await look(client, self.domain)
            except LocalAPIError as exc:
                if exc.reached_ca is False:
                    raise
                # tailscaled has lost it: that look was an order, which it gave up with it.
                context.ledger.spend_behind(self.record, clock(), is_order=True)
            else:
                known = self.record.leaf
                return await renew(client, self.domain, old, known=known, clock=clock, patience=patience)
        return await issue(client, self.domain, clock=clock, patience=patience)

    def _order_succeeded(
        self, number: int, leaf: Certificate, *, started_at: datetime, is_first: bool
    ) -> str:
        context, record = self._context, self.record
        now, before = context.clock(), record.error
        was_seen = record.looked_at is not None and may_look(record, record.looked_at)
        is_new = record.saw(leaf, now)
        is_ours = context.ledger.settle_success(
            record, started_at=started_at, ended_at=now, is_first=is_first
        )
        if is_new and not is_ours and (not is_first or leaf.not_before > record.wanted_since - _BACKDATED):
            context.ledger.spend_behind(record, now, is_order=False)
        outcome = "issued" if is_ours else "found"
        self._end(number, outcome)
        if is_new or before is not None:
            log_certificate(record)
        if is_new or not was_seen:
            context.news.give()
        return outcome

    def _order_failed(self, number: int, error: LocalAPIError) -> None:
        context, record = self._context, self.record
        now, before = context.clock(), record.error
        record.failed(error, now, policy=context.retry_policy, rng=context.rng, is_order=True)
        if not error.counted:
            record.looked_at = None  # nothing came of it, and what was in the way is soon over: look then
        context.ledger.settle_failure(record, error, now)
        is_news = error.counted or str(error) != str(before)
        if is_news:
            self._end(number, type(error).__name__, str(error))
        else:
            context.journal.drop(number, record, context.ledger.account)
        self._report_failure(error, is_news=is_news)

    def _end(self, number: int, outcome: str, text: str | None = None) -> None:
        context = self._context
        context.journal.end(number, context.clock(), outcome, text, self.record, context.ledger.account)

    def _report_failure(self, error: LocalAPIError, *, is_news: bool) -> None:
        now = self._context.clock()
        if not self.record.has_valid_leaf(now):
            self._end_told = self.record.leaf
        log_failure(self.record, error, self._plan(now), now, is_news=is_news)
        if is_news or self.waits_for_ca:
            self._context.news.give()

    def _report_end(self, step: Step, now: datetime) -> None:
        """Tell once that the certificate is over."""
        leaf = self.record.leaf
        if leaf is not None and not self.record.has_valid_leaf(now) and self._end_told is not leaf:
            self._end_told = leaf
            log_end(self.record, step, now)
