"""Puts each new certificate where a target wants it, tells who is to know, and looks whether it is served.

One task for each target, for all names. It never causes an order: a certificate is asked for, with its key
where a step needs that, by a look (``docs/design.rst``, rules 9 and 14), and let go of when it is delivered.
"""

from __future__ import annotations

import enum
import logging
import math
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from .delivery_record import DeliveryRecord, DeliveryState, goal_of
from .errors import HookError, TargetError
from .loop_log import local_time
from .pair_fetch import fetch_pair
from .serve_config import DomainFilter
from .statistics import DeliveryStatistics
from .target_steps import TargetSteps
from .targets import Served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from .cert_loop import CertLoop, LoopContext
    from .certificate import Certificate, CertPair
    from .target_settings import TargetSettings

__all__ = ["TargetDelivery"]

_logger = logging.getLogger(__name__)

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
    """The deliveries to one target. :meth:`run` does the work.

    Args:
        settings: of the target.
        context: what the cert loops share.
        loops: returns the present cert loops by name.
        records: by name how far the deliveries are.
    """

    settings: TargetSettings
    _context: LoopContext
    _loops: Callable[[], Mapping[str, CertLoop]]
    _records: dict[str, DeliveryRecord]
    _steps: TargetSteps = attrs.field(init=False)
    _goal: DeliveryState = attrs.field(init=False)
    _is_for: Callable[[str], bool] = attrs.field(init=False)
    _hooked: dict[str, str] = attrs.field(factory=dict, init=False)
    """By name the certificate that its hook has seen, so that a reload that fails does not run it again."""
    _fetched: dict[str, Certificate] = attrs.field(factory=dict, init=False)
    """By name the certificate that was fetched last."""
    _write_lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _remembered: set[str] = attrs.field(init=False)
    """Names that the journal knows, until that was told."""
    _checked: set[str] = attrs.field(factory=set, init=False)
    """Names whose files were looked at since the start."""

    def __attrs_post_init__(self) -> None:
        self._steps = TargetSteps(self.settings, self._context.client)
        self._goal = goal_of(self.settings)
        self._remembered = set(self._records)
        self._is_for = DomainFilter(only=self.settings.domains)

    def try_again(self, domain: str | None = None) -> None:
        """Try what failed now, for one name or all, instead of at the end of its backoff."""
        for record in self._present():
            if record.retry_at is not None and domain in {None, record.domain}:
                record.retry_at = self._context.clock()
        self._context.news.give()

    def all_records(self) -> Iterable[DeliveryRecord]:
        """Return how far all deliveries are, those of names that have left, too."""
        return self._records.values()

    def statistics(self) -> Iterator[DeliveryStatistics]:
        """Yield how far the deliveries of the present names are."""
        return (DeliveryStatistics.of(record, self._goal) for record in self._present())

    def _present(self) -> list[DeliveryRecord]:
        return [
            record for name in self._loops() if (record := self._records.get(name)) and self._is_for(name)
        ]

    async def run(self) -> NoReturn:
        """Deliver until cancelled, which ends a hook with its process group."""
        news = self._context.news
        while True:
            seen = news.count
            self._take_note()
            if due := self._due():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write_meanwhile)
                    await self._work(due)
                    nursery.cancel_scope.cancel(reason="the work is done")
                await trio.sleep(_PAUSE_SECONDS)
            else:
                await news.wait(seen, at_most=self._seconds_to_next())

    async def _write_meanwhile(self) -> NoReturn:
        """Write the files of certificates that come while hooks run or servers are looked at."""
        while True:
            seen = self._context.news.count
            await self._context.news.wait(seen)
            self._take_note()
            for record in self._due():
                if record.state is DeliveryState.PENDING and self._steps.files is not None:
                    await self._try(self._write, record)

    def _seconds_to_next(self) -> float:
        now, loops = self._context.clock(), self._loops()
        moments = [self._due_at(record) for record in self._at_hand()]
        # One that has not begun by this clock is at hand from then on.
        leaves = (loops[record.domain].record.leaf for record in self._present())
        moments += [leaf.not_before for leaf in leaves if leaf is not None and leaf.not_before > now]
        return max(min(((at - now).total_seconds() for at in moments), default=math.inf), 0.0)

    def _take_note(self) -> None:
        """Begin with the certificates that are new."""
        now = self._context.clock()
        for domain in self._loops():
            leaf = self._newest_leaf(domain) if self._is_for(domain) else None
            if leaf is None or leaf.not_after < now:
                continue
            if (record := self._records.get(domain)) is not None:
                record.wants(leaf, now)
                self._tell_what_is_known(record)
            else:
                self._records[domain] = DeliveryRecord(
                    target=self.settings.name, domain=domain, fingerprint=leaf.fingerprint, since=now
                )

    def _tell_what_is_known(self, record: DeliveryRecord) -> None:
        """Tell, at the start, of a failure that the journal remembers."""
        if record.domain in self._remembered:
            self._remembered.discard(record.domain)
            if record.error is not None:
                then = f" Next try at {local_time(record.retry_at)}" if record.retry_at is not None else ""
                self._tell(record, f"failed before: {record.error.rstrip('.')}.{then}")

    def _newest_leaf(self, domain: str) -> Certificate | None:
        """Return the newest certificate known: the loop's, or one that was fetched since."""
        loop = self._loops().get(domain)
        known = (loop.record.leaf if loop is not None else None, self._fetched.get(domain))
        return max(filter(None, known), key=lambda leaf: leaf.not_before, default=None)

    def _at_hand(self) -> Iterable[DeliveryRecord]:
        """Yield what can be worked on: tailscaled has the certificate, and gives it without an order."""
        loops = self._loops()
        return (record for record in self._present() if loops[record.domain].leaf_at_hand() is not None)

    def _due_at(self, record: DeliveryRecord) -> datetime:
        if record.domain not in self._checked and record.retry_at is None:
            return record.since
        return record.due_at(self._goal)

    def _due(self) -> list[DeliveryRecord]:
        now = self._context.clock()
        return [record for record in self._at_hand() if self._due_at(record) <= now]

    async def _work(self, due: list[DeliveryRecord]) -> None:
        ready: dict[str, _Ready] = {}
        await self._prepare_all(due, ready)
        if self._steps.are_shared and any(each.step is _Step.ANNOUNCE for each in ready.values()):
            await trio.sleep(_GATHER_SECONDS)
            self._take_note()
            await self._prepare_all([record for record in self._due() if _is_new(record, ready)], ready)
        for each in ready.values():
            if each.step is _Step.ANNOUNCE and each.is_current and self._has_hook_to_run(each.record):
                await self._try(self._run_hook, each.record)
        await self._announce(
            [each for each in ready.values() if each.step is _Step.ANNOUNCE and each.is_good]
        )
        if self.settings.probe is not None:
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
            self._failed([record], exc)
            return None

    async def _prepare(self, record: DeliveryRecord) -> _Step | None:
        record.retry_at = None
        if not record.has_reached(self._goal):
            is_adopted = record.state is DeliveryState.PENDING and record.before is None
            if record.state is DeliveryState.PENDING:
                changed = await self._write(record) is _Step.ANNOUNCE
                if record.has_reached(self._goal):
                    return None
                if is_adopted and not changed and self.settings.probe is not None:
                    return _Step.CHECK
            return _Step.ANNOUNCE if record.state is not DeliveryState.ANNOUNCED else _Step.PROBE
        self._checked.add(record.domain)
        leaf, state = self._newest_leaf(record.domain), record.state
        if leaf is None or not self._steps.holds(record.domain, leaf):
            self._tell(record, "its files are not as they are to be: writing them again")
            self._fall_back(record, DeliveryState.PENDING)
            if await self._write(record) is _Step.ANNOUNCE:
                return None if record.has_reached(self._goal) else _Step.ANNOUNCE
            self._fall_back(record, state)  # of no interest to who reads them
        if self.settings.probe is not None:
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
                self._warn(record, written.warnings)
            self._checked.add(record.domain)
            self._reach(record, DeliveryState.WRITTEN)
            return _Step.ANNOUNCE if changed else None

    async def _run_hook(self, record: DeliveryRecord) -> None:
        fingerprint = record.fingerprint
        pair = await self._fetch(record)
        if record.fingerprint == fingerprint:  # else there is another one, whose files come first
            record.output = await self._steps.run_hook(record.domain, pair)
            self._hooked[record.domain] = fingerprint

    async def _fetch(self, record: DeliveryRecord) -> CertPair:
        loop = self._loops().get(record.domain)
        if loop is None:
            raise TargetError("the name is no longer wanted")
        pair = await fetch_pair(self._context, loop, with_key=self._steps.needs_key)
        self._fetched[record.domain] = pair.leaf
        record.wants(pair.leaf, self._context.clock())  # it may be newer than what the loop has seen
        return pair

    def _has_hook_to_run(self, record: DeliveryRecord) -> bool:
        hook, has_run = self.settings.hook, self._hooked.get(record.domain) == record.fingerprint
        return hook is not None and not hook.coalesce and not has_run

    async def _announce(self, ready: list[_Ready]) -> None:
        """Do what is done once for all that changed together."""
        ready = [each for each in ready if not self._has_hook_to_run(each.record)]  # nor has it failed
        if not ready:
            return
        try:
            output = await self._steps.announce([each.record.domain for each in ready])
        except TargetError as exc:
            self._failed([each.record for each in ready], exc)
            return
        for each in ready:
            if each.is_current:
                each.record.output = output or each.record.output
                self._reach(each.record, DeliveryState.ANNOUNCED)

    async def _probe(self, ready: list[_Ready]) -> None:
        if not ready:
            return
        try:
            host = await self._steps.host()
        except TargetError as exc:
            self._failed([each.record for each in ready], exc)
            return
        limit = trio.CapacityLimiter(_PROBES_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for each in ready:
                nursery.start_soon(self._probe_one, each, host, limit)

    async def _probe_one(self, ready: _Ready, host: str, limit: trio.CapacityLimiter) -> None:
        record, leaf = ready.record, self._newest_leaf(ready.record.domain)
        if leaf is None or leaf.fingerprint != ready.fingerprint:  # there is another one meanwhile
            return
        async with limit:
            probed = await self._steps.probe(host, record.domain, leaf, before=record.before)
        if not ready.is_current:
            return
        record.served, record.checked_at = probed.served.value, self._context.clock()
        if probed.served is Served.NEW:
            self._reach(record, DeliveryState.SEEN_SERVED)
            return
        if record.state is DeliveryState.WRITTEN:  # adopted files, of which nobody was told
            return
        is_check = ready.step is _Step.CHECK
        is_to_be_told = self._is_announced and (
            probed.served is Served.OLD or (is_check and probed.served is Served.OTHER)
        )
        if is_check and is_to_be_told:
            self._tell(record, f"{probed.text}: telling it again")
        else:
            self._failed([record], TargetError(probed.text))
        self._fall_back(record, DeliveryState.WRITTEN if is_to_be_told else DeliveryState.ANNOUNCED)

    @property
    def _is_announced(self) -> bool:
        """Whether there is anybody to tell."""
        settings = self.settings
        return any(step is not None for step in (settings.hook, settings.reload, settings.signal))

    def _loop_of(self, record: DeliveryRecord) -> CertLoop:
        loop = self._loops().get(record.domain)
        if loop is None:
            raise TargetError("the name is no longer wanted")
        return loop

    def _reach(self, record: DeliveryRecord, state: DeliveryState) -> None:
        now = self._context.clock()
        was_bad, leaf = record.error is not None, self._newest_leaf(record.domain)
        record.reached(state, now, is_goal=state is self._goal)
        if state is self._goal:
            record.good_until = leaf.not_after if leaf is not None else None
            if was_bad:
                self._context.news.give()  # somebody may wait to hear it
            self._tell(record, f"the certificate is {state.value}", level=logging.INFO)
        self._context.journal.remember_delivery(record)

    def _fall_back(self, record: DeliveryRecord, state: DeliveryState) -> None:
        self._hooked.pop(record.domain, None)
        record.fell_back(state, self._context.clock())
        self._context.journal.remember_delivery(record)

    def _failed(self, records: list[DeliveryRecord], error: TargetError) -> None:
        text, output = str(error), error.output if isinstance(error, HookError) else None
        for record in records:
            if record.domain not in self._loops():  # it has left meanwhile
                continue
            is_news = text != record.error
            record.failed(text, self._context.clock(), output=output)
            self._context.journal.remember_delivery(record)
            assert record.retry_at is not None
            then = f"{text.rstrip('.')}. Next try at {local_time(record.retry_at)}"
            self._tell(record, then, level=logging.WARNING if is_news else logging.INFO)
        self._context.news.give()

    def _warn(self, record: DeliveryRecord, warnings: tuple[str, ...]) -> None:
        for warning in set(warnings) - set(record.warnings):
            self._tell(record, warning)
        record.warnings = warnings

    def _tell(self, record: DeliveryRecord, text: str, *, level: int = logging.WARNING) -> None:
        fields = {"domain": record.domain, "target": self.settings.name}
        _logger.log(level, "%s: target %s: %s", record.domain, self.settings.name, text, extra=fields)
