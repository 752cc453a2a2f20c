"""Asks the CA, on the CA's own clock, when it wants each certificate renewed, and whether it is there."""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from .errors import RenewalInfoError
from .loop_log import local_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .ari import RenewalInfoSource
    from .cert_loop import CertLoop
    from .clock import Clock
    from .hints import Hints
    from .journal import Journal
    from .schedule import DomainRecord

__all__ = ["RenewalInfoWatch"]

_logger = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE = timedelta(hours=1)
_PROBE_SECONDS = 300
_MIN_PASS_INTERVAL = 5
_PACE_SECONDS = 0.5
"""Between two questions, so that thousands of names do not come to the CA at once."""


class RenewalInfoWatch:
    """Keeps the renewal windows of all names. :meth:`run` does the work; the CA out of reach changes nothing.

    While requests fail that may pass when the CA is back, it is asked every five minutes whether it is.

    Args:
        source: asks the CA.
        loops: returns the present cert loops.
        journal: remembers the windows.
        clock: the present time.
        news: hints to look again: a new certificate, a new name, a failure, a clock that jumped.
        returns: given one when the CA is back.
    """

    def __init__(
        self,
        source: RenewalInfoSource,
        loops: Callable[[], Iterable[CertLoop]],
        journal: Journal,
        clock: Clock,
        *,
        news: Hints,
        returns: Hints,
    ) -> None:
        self._source = source
        self._loops = loops
        self._journal = journal
        self._clock = clock
        self._news = news
        self._returns = returns
        self._is_away = False
        self._unknown: dict[str, str] = {}
        """By name the fingerprint of a certificate of which it was told that the CA says nothing."""

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            seen = self._news.count
            await self._ask_about_all()
            if self._is_wanted_back():
                await self._probe()
            await trio.sleep(_MIN_PASS_INTERVAL)  # a look at all names at each news of one would cost
            await self._news.wait(seen, at_most=self._seconds_to_next())

    async def _ask_about_all(self) -> None:
        for loop in tuple(self._loops()):
            record, now = loop.record, self._clock()
            if not record.has_valid_leaf(now) or not self._source.knows(record.leaf):
                continue
            if record.window_check_at is None or record.window_check_at <= now:
                await self._ask_about(loop)
                await trio.sleep(_PACE_SECONDS)

    async def _ask_about(self, loop: CertLoop) -> None:
        record = loop.record
        leaf = record.leaf
        assert leaf is not None
        try:
            info = await self._source.fetch(leaf)
        except RenewalInfoError as exc:
            record.window_check_at = self._clock() + _PAUSE_AFTER_FAILURE
            if exc.is_out_of_reach:
                self._failed(exc)
                return
            self._is_back()
            if self._unknown.get(record.domain) != leaf.fingerprint:
                self._unknown[record.domain] = leaf.fingerprint
                _logger.warning("%s: the CA does not say when to renew: %s", record.domain, exc)
            return
        self._is_back()
        if record.leaf is not leaf:  # renewed meanwhile
            return
        record.window_check_at = self._clock() + info.retry_after
        if info.window != record.window:
            record.window = info.window
            loop.plan_again()
            self._tell_due(record)
            if info.window.end < self._clock():
                _logger.warning(
                    "%s: the CA wants the certificate renewed now%s%s",
                    record.domain,
                    ", as it did the one before" if record.hasty else "",
                    f", see {info.window.explanation_url}" if info.window.explanation_url else "",
                    extra={"domain": record.domain},
                )
        self._journal.remember(record)

    def _tell_due(self, record: DomainRecord) -> None:
        due = record.due()
        if due is not None and due[0] > self._clock():
            text = "%s: the certificate is due at %s (%s)"
            fields = {"domain": record.domain}
            _logger.info(text, record.domain, local_time(due[0]), due[1].value, extra=fields)

    def _is_wanted_back(self) -> bool:
        return any(loop.waits_for_ca and self._source.knows(loop.record.leaf) for loop in self._loops())

    async def _probe(self) -> None:
        try:
            await self._source.check()
        except RenewalInfoError as exc:
            self._failed(exc)
        else:
            self._is_back()

    def _failed(self, exc: RenewalInfoError) -> None:
        if not self._is_away:
            text = str(exc).rstrip(".")
            _logger.warning("cannot ask the CA when to renew: %s. Nothing else depends on it.", text)
        self._is_away = True

    def _is_back(self) -> None:
        if self._is_away:
            self._is_away = False
            self._returns.give()
            _logger.info("the CA answers again")
            for loop in self._loops():
                loop.ca_is_back()

    def _seconds_to_next(self) -> float:
        if self._is_wanted_back():
            return _PROBE_SECONDS
        now = self._clock()
        records = (loop.record for loop in self._loops())
        checks = (
            record.window_check_at or now
            for record in records
            if record.has_valid_leaf(now) and self._source.knows(record.leaf)
        )
        waits = ((check - now).total_seconds() for check in checks)
        return max(min(waits, default=math.inf), _PACE_SECONDS)
