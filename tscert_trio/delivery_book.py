"""How far the deliveries to one target are: which are due, and what each outcome makes of them."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import attrs

from .delivery_record import DeliveryRecord, DeliveryState, goal_of, steps_of
from .errors import HookError, TargetError
from .journal import DeliveryEvent
from .loop_log import local_time
from .serve_config import DomainFilter
from .statistics import DeliveryStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from .cert_loop import CertLoop, LoopContext
    from .certificate import Certificate
    from .target_settings import TargetSettings

__all__ = ["DeliveryBook"]

_logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class DeliveryBook:
    """The deliveries to one target. All of it is quick; what is done is in :class:`TargetDelivery`.

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
    goal: DeliveryState = attrs.field(init=False)
    """The target's last step."""
    fetched: dict[str, Certificate] = attrs.field(factory=dict, init=False)
    """By name the certificate that was fetched last."""
    hooked: dict[str, str] = attrs.field(factory=dict, init=False)
    """By name the certificate that its hook has seen, so that a reload that fails does not run it again."""
    checked: set[str] = attrs.field(factory=set, init=False)
    """Names whose files were looked at since the start."""
    _is_for: Callable[[str], bool] = attrs.field(init=False)
    _remembered: set[str] = attrs.field(init=False)
    """Names that the journal knows, until that was told."""
    _noted: dict[str, set[tuple[str, DeliveryState]]] = attrs.field(factory=dict, init=False)
    """By name the steps of a certificate that went well, but not all the way: each retry does them again."""
    _complained: dict[str, tuple[str, str]] = attrs.field(init=False)
    """By name the certificate that failed last, and how."""

    def __attrs_post_init__(self) -> None:
        self._complained = {
            domain: (record.fingerprint, record.error)
            for domain, record in self._records.items()
            if record.error is not None
        }
        self.goal = goal_of(self.settings)
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
        return (DeliveryStatistics.of(record, self.goal) for record in self._present())

    def _present(self) -> list[DeliveryRecord]:
        return [
            record for name in self._loops() if (record := self._records.get(name)) and self._is_for(name)
        ]

    def take_note(self) -> None:
        """Begin with the certificates that are new."""
        now = self._context.clock()
        for domain in self._loops():
            leaf = self.newest_leaf(domain) if self._is_for(domain) else None
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
                self.tell(record, f"failed before: {record.error.rstrip('.')}.{then}")

    def newest_leaf(self, domain: str) -> Certificate | None:
        """Return the newest certificate known: the loop's, or one that was fetched since."""
        loop = self._loops().get(domain)
        known = (loop.record.leaf if loop is not None else None, self.fetched.get(domain))
        return max(filter(None, known), key=lambda leaf: leaf.not_before, default=None)

    def _at_hand(self) -> Iterable[DeliveryRecord]:
        """Yield what can be worked on: tailscaled has the certificate, and gives it without an order."""
        loops = self._loops()
        return (record for record in self._present() if loops[record.domain].leaf_at_hand() is not None)

    def _due_at(self, record: DeliveryRecord) -> datetime:
        if record.domain not in self.checked and record.retry_at is None:
            return record.since
        return record.due_at(self.goal)

    def due(self) -> list[DeliveryRecord]:
        """Return what is to be worked on now."""
        now = self._context.clock()
        return [record for record in self._at_hand() if self._due_at(record) <= now]

    def seconds_to_next(self) -> float:
        """Return after how many seconds something is to be done, if nothing new comes."""
        now, loops = self._context.clock(), self._loops()
        moments = [self._due_at(record) for record in self._at_hand()]
        # One that has not begun by this clock is at hand from then on.
        leaves = (loops[record.domain].record.leaf for record in self._present())
        moments += [leaf.not_before for leaf in leaves if leaf is not None and leaf.not_before > now]
        return max(min(((at - now).total_seconds() for at in moments), default=math.inf), 0.0)

    def loop_of(self, record: DeliveryRecord) -> CertLoop:
        """Return the cert loop of a name.

        Raises:
            TargetError: it has none any more.
        """
        loop = self._loops().get(record.domain)
        if loop is None:
            raise TargetError("the name is no longer wanted")
        return loop

    def reach(self, record: DeliveryRecord, state: DeliveryState) -> None:
        """Note that a step went well, and tell it if it was the last."""
        now = self._context.clock()
        was_bad, leaf = record.error is not None, self.newest_leaf(record.domain)
        is_news = was_bad or state is not record.state
        if state is self.goal:
            self._noted.pop(record.domain, None)
        elif is_news:
            noted, step = self._noted.setdefault(record.domain, set()), (record.fingerprint, state)
            is_news = not was_bad or step not in noted
            noted.add(step)
        record.reached(state, now, is_goal=state is self.goal)
        if state is self.goal:
            record.good_until = leaf.not_after if leaf is not None else None
            if was_bad:
                self._context.news.give()  # somebody may wait to hear it
            self.tell(record, f"the certificate is {state.value}", level=logging.INFO)
        is_done = state in steps_of(self.settings)  # else there was nothing to do
        self._remember(record, state.value if is_news and is_done else None)

    def fall_back(self, record: DeliveryRecord, state: DeliveryState) -> None:
        """Note that a step is to be done again."""
        self.hooked.pop(record.domain, None)
        record.fell_back(state, self._context.clock())
        self._context.journal.remember_delivery(record)

    def failed(self, records: list[DeliveryRecord], error: TargetError) -> None:
        """Note that a step failed, for all names it was for, and tell when it is tried again."""
        text, output, told = str(error), None, str(error)
        if isinstance(error, HookError):
            output, told = error.output, error.told()
        for record in records:
            if record.domain not in self._loops():  # it has left meanwhile
                continue
            complaint = (record.fingerprint, text)
            is_news = record.error is None or complaint != self._complained.get(record.domain)
            self._complained[record.domain] = complaint
            record.failed(text, self._context.clock(), output=output)
            self._remember(record, "failed" if is_news else None, text)
            assert record.retry_at is not None
            then = f"{told.rstrip('.')}. Next try at {local_time(record.retry_at)}"
            self.tell(record, then, level=logging.WARNING if is_news else logging.INFO)
        self._context.news.give()

    def _remember(self, record: DeliveryRecord, outcome: str | None, text: str | None = None) -> None:
        """Write down how far a delivery is, and what came of the last step if that is news."""
        event = None
        if outcome is not None:
            event = DeliveryEvent(
                at=self._context.clock(),
                target=record.target,
                domain=record.domain,
                outcome=outcome,
                text=text,
                fingerprint=record.fingerprint,
            )
        self._context.journal.remember_delivery(record, event)

    def warn(self, record: DeliveryRecord, warnings: tuple[str, ...]) -> None:
        """Tell what a file system refused, if that is new."""
        for warning in set(warnings) - set(record.warnings):
            self.tell(record, warning)
        record.warnings = warnings

    def tell(self, record: DeliveryRecord, text: str, *, level: int = logging.WARNING) -> None:
        """Log something about a delivery."""
        fields = {"domain": record.domain, "target": self.settings.name}
        _logger.log(level, "%s: target %s: %s", record.domain, self.settings.name, text, extra=fields)
