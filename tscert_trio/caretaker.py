"""What is done now and then for all names: the clock that jumped, the journal, limits that hold others up."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from .clock_watch import CLOCK_LOOK_SECONDS
from .loop_log import local_time
from .resuming import clamp
from .statistics import LimitStatistics, limit_statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from .cert_loop import CertLoop, LoopContext
    from .delivery_record import DeliveryRecord
    from .schedule import DomainRecord

__all__ = ["Caretaker"]

_logger = logging.getLogger(__name__)

_TIDY_INTERVAL = timedelta(days=1)
_AGAIN_SECONDS = 10
"""How long after a write that was lost all is written again; twice as long after each try that fails."""


@attrs.define(eq=False)
class Caretaker:
    """Looks after what all names share. :meth:`run` does the work.

    Args:
        context: what the cert loops share.
        records: of all names, those that have left, too.
        loops: returns the present cert loops by name.
        deliveries: returns how far all deliveries are.
    """

    _context: LoopContext
    _records: dict[str, DomainRecord]
    _loops: Callable[[], Mapping[str, CertLoop]]
    _deliveries: Callable[[], Iterable[DeliveryRecord]]
    _tidied_at: datetime | None = attrs.field(default=None, init=False)
    _exceeded: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Of what limits it was told that they are exceeded."""

    async def run(self) -> NoReturn:
        """Look after all until cancelled; one of it is to look at the clock."""
        journal, pause = self._context.journal, _AGAIN_SECONDS
        try:
            while True:
                with trio.move_on_after(CLOCK_LOOK_SECONDS):
                    await journal.wait_until_incomplete()
                    await trio.sleep(pause)
                self._keep_journal(self._context.clock())
                pause = min(2 * pause, CLOCK_LOOK_SECONDS) if journal.is_incomplete else _AGAIN_SECONDS
                self._tell_limits()
        finally:
            self._complete_journal(self._context.clock())

    def clock_jumped(self, by: timedelta) -> None:
        """Move what is remembered with a clock that was set back, and let everybody think again."""
        context = self._context
        if by < timedelta(0):
            context.ledger.shift(by)
            for record in self._records.values():
                record.shift(by)
            for delivery in self._deliveries():
                delivery.shift(by)
        clamp(self._records, context.ledger, policy=context.retry_policy, now=context.clock())
        for delivery in self._deliveries():
            delivery.clamp(context.clock())
        self._tidied_at = None  # this clock may be wrong
        for loop in self._loops().values():
            loop.plan_again()
        context.news.give()

    def _keep_journal(self, now: datetime) -> None:
        self._complete_journal(now)
        journal = self._context.journal
        if self._tidied_at is None:
            self._tidied_at = now
        elif now - self._tidied_at >= _TIDY_INTERVAL:
            journal.tidy(now, self._loops())
            self._tidied_at = now

    def _complete_journal(self, now: datetime) -> None:
        journal, account = self._context.journal, self._context.ledger.account
        if journal.is_incomplete:
            journal.write_again(self._records.values(), self._deliveries(), account, now)

    def _tell_limits(self) -> None:
        limits = limit_statistics(self._context.ledger, self._context.clock())
        exceeded = {limit.scope: limit for limit in limits if limit.is_exceeded}
        for scope, limit in exceeded.items():
            if scope not in self._exceeded:
                _logger.warning("%s: %s", scope, _why_it_waits(limit))
        for scope in self._exceeded - exceeded.keys():
            _logger.info("%s: what the CA wanted is over, orders go on", scope)
        self._exceeded = frozenset(exceeded)


def _why_it_waits(limit: LimitStatistics) -> str:
    until = local_time(limit.until) if limit.until is not None else "nobody knows when"
    return f"the CA's limit on {limit.name} is reached; what it is for waits, the first until {until}"
