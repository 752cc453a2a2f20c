"""Tells a command of trouble: when it begins, when it becomes another, when it is over, and daily at the end.

Each alert is remembered, so that a restart does not repeat it.
"""

from __future__ import annotations

import logging
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, ClassVar, NoReturn

import attrs

from .delivery_record import DELIVERY_ERROR, DELIVERY_REMEDY, DeliveryRecord
from .errors import HookError, NotACertDomainError, TargetError, UnreachableError, with_output
from .schedule import Mode
from .targets import coalesced_environments, run_hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from .cert_loop import CertLoop, LoopContext
    from .delivery_book import DeliveryBook
    from .target_settings import HookSettings

__all__ = ["FailureAlerts"]

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 300
_PASSING = timedelta(minutes=5)
"""How long tailscaled may be away, or a name no CertDomain, before that is trouble."""
_PAUSE_AFTER_FAILURE = timedelta(minutes=4)
_URGENT = timedelta(days=7)
_REPEAT = timedelta(days=1)
_NOBODY = "00" * 32


@attrs.frozen(kw_only=True)
class _Trouble:
    """What is wrong with a name, or with its delivery; nothing where the state is empty."""

    key: str
    """The name, or the name and the target."""
    domain: str
    target: str = ""
    state: str = ""
    """What is compared with what was told last."""
    name: str = ""
    """The class of the failure."""
    text: str = ""
    remedy: str = ""
    is_passing: bool = False
    """Whether it is none if it is over within minutes."""
    is_urgent: bool = False
    not_after: datetime | None = None
    """The end of what is good still."""


@attrs.define(eq=False)
class FailureAlerts:
    """Watches all names and deliveries. :meth:`run` does the work.

    Args:
        hook: the command.
        context: what the cert loops share.
        loops: returns the present cert loops by name.
        deliveries: of all targets.
        told: what it was told last, as the journal remembers.
    """

    TARGET: ClassVar[str] = ""
    """In the journal, where an alert is a delivery; no target has this name."""

    _hook: HookSettings
    _context: LoopContext
    _loops: Callable[[], Mapping[str, CertLoop]]
    _deliveries: Sequence[DeliveryBook]
    _told: dict[str, DeliveryRecord]
    _later: dict[str, datetime] = attrs.field(factory=dict, init=False)
    """By what is wrong when the command, which failed, is run again."""
    _begun: dict[str, tuple[str, datetime]] = attrs.field(factory=dict, init=False)

    async def run(self) -> NoReturn:
        """Tell until cancelled, which ends a command with its process group."""
        news = self._context.news
        while True:
            seen, now = news.count, self._context.clock()
            await self._tell(
                [trouble for trouble in self._troubles(now) if self._is_to_be_told(trouble, now)]
            )
            await news.wait(seen, at_most=_LOOK_SECONDS)

    def _troubles(self, now: datetime) -> Iterator[_Trouble]:
        for domain, loop in self._loops().items():
            record, error = loop.record, loop.record.error
            has_ended = record.leaf is not None and not record.has_valid_leaf(now)
            name = type(error).__name__ if error else "CertificateEnded" if has_ended else ""
            yield _Trouble(
                key=domain,
                domain=domain,
                state=f"{name} ended" if has_ended else name,
                name=name,
                text=str(error or ("the certificate has ended" if has_ended else "")),
                remedy=error.remedy if error else "See why: tscert-trio status." if has_ended else "",
                is_passing=isinstance(error, UnreachableError | NotACertDomainError) and not has_ended,
                is_urgent=record.left(now) < _URGENT and (error is not None or has_ended),
                not_after=record.leaf.not_after if record.leaf is not None else None,
            )
        for delivery in self._deliveries:
            for each in delivery.statistics():
                name = DELIVERY_ERROR if each.error is not None else ""
                until = each.good_until
                yield _Trouble(
                    key=f"{each.domain} {each.target}",
                    domain=each.domain,
                    target=each.target,
                    state=name,
                    name=name,
                    text="" if each.error is None else with_output(each.error, each.output),
                    remedy="" if each.error is None else DELIVERY_REMEDY.format(domain=each.domain),
                    is_passing=each.failures == 1,
                    is_urgent=bool(each.error and until is not None and until - now < _URGENT),
                    not_after=until,
                )

    def _is_to_be_told(self, trouble: _Trouble, now: datetime) -> bool:
        if now < self._later.get(trouble.key, now):
            return False
        state, since = self._begun.get(trouble.key, ("", now))
        if state != trouble.state:
            since = now
        self._begun[trouble.key] = (trouble.state, since)
        told = self._told.get(trouble.key)
        before = told.error or "" if told is not None else ""
        if trouble.state != before:
            return not trouble.is_passing or now - since >= _PASSING
        return bool(trouble.is_urgent and told is not None and now - told.since >= _REPEAT)

    async def _tell(self, troubles: list[_Trouble]) -> None:
        if not troubles:
            return
        if self._hook.coalesce:
            for environ in coalesced_environments({trouble.domain for trouble in troubles}):
                await self._run(environ, troubles)
        else:
            for trouble in troubles:
                await self._run(self._environ(trouble), [trouble])

    async def _run(self, environ: dict[str, str], troubles: list[_Trouble]) -> None:
        try:
            await run_hook(self._hook, environ)
        except TargetError as exc:
            text = exc.told() if isinstance(exc, HookError) else str(exc)
            _logger.warning("on_failure: %s. It is tried again within ten minutes.", text.rstrip("."))
            later = self._context.clock() + _PAUSE_AFTER_FAILURE
            self._later.update({trouble.key: later for trouble in troubles})
        else:
            self._remember(troubles)

    def _environ(self, trouble: _Trouble) -> dict[str, str]:
        loop, until = self._loops().get(trouble.domain), trouble.not_after
        return {
            "TSCERT_DOMAIN": trouble.domain,
            "TSCERT_TARGET": trouble.target,
            "TSCERT_CLASS": trouble.name,
            "TSCERT_TEXT": trouble.text,
            "TSCERT_REMEDY": trouble.remedy,
            "TSCERT_RUNWAY": _runway(loop, self._context.clock()),
            "TSCERT_NOT_AFTER": f"{until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if until else "",
        }

    def _remember(self, troubles: list[_Trouble]) -> None:
        now = self._context.clock()
        for trouble in troubles:
            record = DeliveryRecord(
                target=self.TARGET,
                domain=trouble.key,
                fingerprint=_NOBODY,
                since=now,
                error=trouble.state or None,
            )
            self._told[trouble.key] = record
            self._context.journal.remember_delivery(record)


def _runway(loop: CertLoop | None, now: datetime) -> str:
    """Return how many attempts are left; nothing where none is made here."""
    statistics = loop.statistics() if loop is not None else None
    return "" if statistics is None or statistics.mode is not Mode.KEEPER else str(statistics.runway(now))
