"""Puts each new certificate where a target wants it, tells who is to know, and looks whether it is served.

One task for each target, for all names. It never causes an order: a certificate is asked for, with its key
where a step needs that, by a look (``docs/design.rst``, rules 9 and 14), and let go of when it is delivered.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from .delivery_record import DeliveryState
from .errors import TargetError
from .pair_fetch import fetch_pair
from .target_steps import TargetSteps
from .targets import Served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from .cert_loop import LoopContext
    from .certificate import CertPair
    from .delivery_book import DeliveryBook
    from .delivery_record import DeliveryRecord

__all__ = ["TargetDelivery"]

_GATHER_SECONDS = 0.2
"""How long to wait before a reload whether more names have changed."""
_PAUSE_SECONDS = 0.05
"""After each round, whatever happens."""
_PROBES_AT_ONCE = 16


class _Step(enum.Enum):
    """What comes next for a name, after what is done for it by itself."""

    ANNOUNCE = enum.auto()
    PROBE = enum.auto()
    CHECK = enum.auto()
    """Whether it is served still, or already."""


@attrs.frozen
class _Ready:
    record: DeliveryRecord
    fingerprint: str
    """Of the certificate that it was made ready with."""
    step: _Step

    @property
    def is_current(self) -> bool:
        """Whether no other certificate has come meanwhile."""
        return self.record.fingerprint == self.fingerprint

    @property
    def is_good(self) -> bool:
        """Whether nothing has failed meanwhile, either."""
        return self.is_current and self.record.retry_at is None

    @property
    def is_to_be_probed(self) -> bool:
        is_its_turn = self.step is _Step.CHECK or self.record.state is DeliveryState.ANNOUNCED
        return self.is_good and is_its_turn


def _is_new(record: DeliveryRecord, ready: Mapping[str, _Ready]) -> bool:
    return record.domain not in ready or ready[record.domain].fingerprint != record.fingerprint


@attrs.define(eq=False)
class TargetDelivery:
    """Delivers to one target. :meth:`run` does the work.

    Args:
        book: how far the deliveries are.
        context: what the cert loops share.
    """

    book: DeliveryBook
    _context: LoopContext
    _steps: TargetSteps = attrs.field(init=False)
    _write_lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._steps = TargetSteps(self.book.settings, self._context.client)

    async def run(self) -> NoReturn:
        """Deliver until cancelled, which ends a hook with its process group."""
        news = self._context.news
        while True:
            seen = news.count
            self.book.take_note()
            if due := self.book.due():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write_meanwhile)
                    await self._work(due)
                    nursery.cancel_scope.cancel(reason="the work is done")
                await trio.sleep(_PAUSE_SECONDS)
            else:
                await news.wait(seen, at_most=self.book.seconds_to_next())

    async def _write_meanwhile(self) -> NoReturn:
        """Write the files of certificates that come while hooks run or servers are looked at."""
        while True:
            seen = self._context.news.count
            await self._context.news.wait(seen)
            self.book.take_note()
            for record in self.book.due():
                if record.state is DeliveryState.PENDING and self._steps.files is not None:
                    await self._try(self._write, record)

    async def _work(self, due: list[DeliveryRecord]) -> None:
        ready: dict[str, _Ready] = {}
        await self._prepare_all(due, ready)
        if self._steps.are_shared and any(each.step is _Step.ANNOUNCE for each in ready.values()):
            await trio.sleep(_GATHER_SECONDS)
            self.book.take_note()
            await self._prepare_all([record for record in self.book.due() if _is_new(record, ready)], ready)
        for each in ready.values():
            if each.step is _Step.ANNOUNCE and each.is_current and self._has_hook_to_run(each.record):
                await self._try(self._run_hook, each.record)
        await self._announce(
            [each for each in ready.values() if each.step is _Step.ANNOUNCE and each.is_good]
        )
        if self.book.settings.probe is not None:
            await self._probe([each for each in ready.values() if each.is_to_be_probed])

    async def _prepare_all(self, records: Iterable[DeliveryRecord], ready: dict[str, _Ready]) -> None:
        """Write what is to be written; note what comes next."""
        for record in records:
            await trio.lowlevel.checkpoint()  # a look at its files may be all there is to do
            if (step := await self._try(self._prepare, record)) is not None:
                ready[record.domain] = _Ready(record, record.fingerprint, step)

    async def _try(
        self, step: Callable[[DeliveryRecord], Awaitable[_Step | None]], record: DeliveryRecord
    ) -> _Step | None:
        try:
            return await step(record)
        except TargetError as exc:
            self.book.failed([record], exc)
            return None

    async def _prepare(self, record: DeliveryRecord) -> _Step | None:
        record.retry_at = None
        if not record.has_reached(self.book.goal):
            is_adopted = record.state is DeliveryState.PENDING and record.before is None
            if record.state is DeliveryState.PENDING:
                changed = await self._write(record) is _Step.ANNOUNCE
                if record.has_reached(self.book.goal):
                    return None
                if is_adopted and not changed and self.book.settings.probe is not None:
                    return _Step.CHECK
            return _Step.ANNOUNCE if record.state is not DeliveryState.ANNOUNCED else _Step.PROBE
        self.book.checked.add(record.domain)
        leaf, state = self.book.newest_leaf(record.domain), record.state
        if leaf is None or not self._steps.holds(record.domain, leaf):
            self.book.tell(record, "its files are not as they are to be: writing them again")
            self.book.fall_back(record, DeliveryState.PENDING)
            if await self._write(record) is _Step.ANNOUNCE:
                return None if record.has_reached(self.book.goal) else _Step.ANNOUNCE
            self.book.fall_back(record, state)  # of no interest to who reads them
        if self.book.settings.probe is not None:
            return _Step.CHECK
        record.is_good(self._context.clock())
        self._context.journal.remember_delivery(record)
        return None

    async def _write(self, record: DeliveryRecord) -> _Step | None:
        """Write the files; return ``ANNOUNCE`` if any has other content now, or there are none to write."""
        async with self._write_lock:
            if record.state is not DeliveryState.PENDING:  # it was written meanwhile
                return _Step.ANNOUNCE
            changed = True
            if self._steps.files is not None:
                written = self._steps.write(record.domain, await self._fetch(record))
                changed = written.changed
                self.book.warn(record, written.warnings)
            self.book.checked.add(record.domain)
            self.book.reach(record, DeliveryState.WRITTEN)
            return _Step.ANNOUNCE if changed else None

    async def _run_hook(self, record: DeliveryRecord) -> None:
        fingerprint = record.fingerprint
        pair = await self._fetch(record)
        if record.fingerprint == fingerprint:  # else there is another one, whose files come first
            record.output = await self._steps.run_hook(record.domain, pair)
            self.book.hooked[record.domain] = fingerprint

    async def _fetch(self, record: DeliveryRecord) -> CertPair:
        book = self.book
        pair = await fetch_pair(self._context, book.loop_of(record), with_key=self._steps.needs_key)
        book.fetched[record.domain] = pair.leaf
        record.wants(pair.leaf, self._context.clock())  # it may be newer than what the loop has seen
        return pair

    def _has_hook_to_run(self, record: DeliveryRecord) -> bool:
        hook, has_run = self.book.settings.hook, self.book.hooked.get(record.domain) == record.fingerprint
        return hook is not None and not hook.coalesce and not has_run

    async def _announce(self, ready: list[_Ready]) -> None:
        """Do what is done once for all that changed together."""
        ready = [each for each in ready if not self._has_hook_to_run(each.record)]  # nor has it failed
        if not ready:
            return
        try:
            output = await self._steps.announce([each.record.domain for each in ready])
        except TargetError as exc:
            self.book.failed([each.record for each in ready], exc)
            return
        kept = self.book.settings.hook is not None  # else it is what a reload wrote that failed before
        for each in ready:
            if each.is_current:
                each.record.output = output or (each.record.output if kept else None)
                self.book.reach(each.record, DeliveryState.ANNOUNCED)

    async def _probe(self, ready: list[_Ready]) -> None:
        if not ready:
            return
        try:
            host = await self._steps.host()
        except TargetError as exc:
            self.book.failed([each.record for each in ready], exc)
            return
        limit = trio.CapacityLimiter(_PROBES_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for each in ready:
                nursery.start_soon(self._probe_one, each, host, limit)

    async def _probe_one(self, ready: _Ready, host: str, limit: trio.CapacityLimiter) -> None:
        record, leaf = ready.record, self.book.newest_leaf(ready.record.domain)
        if leaf is None or leaf.fingerprint != ready.fingerprint:  # there is another one meanwhile
            return
        async with limit:
            probed = await self._steps.probe(host, record.domain, leaf, before=record.before)
        if not ready.is_current:
            return
        record.served, record.checked_at = probed.served.value, self._context.clock()
        if probed.served is Served.NEW:
            self.book.reach(record, DeliveryState.SEEN_SERVED)
            return
        if record.state is DeliveryState.WRITTEN:  # adopted files, of which nobody was told
            return
        is_check = ready.step is _Step.CHECK
        is_to_be_told = self._is_announced and (
            probed.served is Served.OLD or (is_check and probed.served is Served.OTHER)
        )
        if is_check and is_to_be_told:
            self.book.tell(record, f"{probed.text}: telling it again")
        else:
            self.book.failed([record], TargetError(probed.text))
        self.book.fall_back(record, DeliveryState.WRITTEN if is_to_be_told else DeliveryState.ANNOUNCED)

    @property
    def _is_announced(self) -> bool:
        """Whether there is anybody to tell."""
        settings = self.book.settings
        return any(step is not None for step in (settings.hook, settings.reload, settings.signal))
