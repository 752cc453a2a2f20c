"""``CertManager``: one nursery, and in it one cert loop, with a CancelScope of its own, per name."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import attrs
import trio

from .ari_watch import RenewalInfoWatch
from .cert_domains import CertDomains
from .cert_loop import CertLoop, LoopContext
from .clock_watch import CLOCK_LOOK_SECONDS, WatchedClock
from .errors import ServeConfigError
from .hints import Hints
from .issuance_gate import IssuanceGate, slots_of
from .journal import Journal
from .localapi import ISSUE_TIMEOUT, LocalAPI
from .loop_log import local_time
from .resuming import clamp, resume
from .schedule import LETS_ENCRYPT, REFRESH_INTERVAL, CALimits, DomainRecord, Ledger, Mode, RetryPolicy
from .statistics import CertManagerStatistics, LimitStatistics
from .wall_clock import default_clock

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from .ari import RenewalInfoSource
    from .clock import Clock
    from .delivery_book import DeliveryBook
    from .delivery_record import DeliveryRecord
    from .live_context import LiveContexts
    from .serve_config import ServeConfig
    from .target_settings import HookSettings, TargetSettings

__all__ = ["CertManager", "open_cert_manager"]


_logger = logging.getLogger(__name__)

_LOOKS_AT_ONCE = 4
_TIDY_INTERVAL = timedelta(days=1)
_MIN_PASS_INTERVAL = 1  # seconds: a pass over all loops at every message of a busy bus would cost


@attrs.define(eq=False)
class _Running:
    """A cert loop that has been started, and how to end it."""

    loop: CertLoop
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class CertManager:
    """Keeps a cert loop for each wanted name. Made by :func:`open_cert_manager`."""

    def __init__(self, nursery: trio.Nursery, context: LoopContext, records: dict[str, DomainRecord]) -> None:
        self._nursery = nursery
        self._context = context
        self._running: dict[str, _Running] = {}
        self._ending: dict[str, _Running] = {}
        self._records = records
        self._tidied_at: datetime | None = None
        self._live: LiveContexts | None = None
        self._deliveries: list[DeliveryBook] = []
        self._alerts_told: dict[str, DeliveryRecord] = {}
        self._exceeded: frozenset[str] = frozenset()
        """Of what limits it was told that they are exceeded."""

    @property
    def hints(self) -> Hints:
        """Occasions to look again; give one after a change that tailscaled's bus does not tell."""
        return self._context.cert_domains.hints

    def ensure_cert_loops(self, config: ServeConfig | None) -> None:
        """Start and end cert loops so that the names of a serve config's Services have one each.

        The rule of ``EnsureCertLoops`` in tailscale's ``kube/certs/certs.go``. It either takes effect
        as a whole or, where it raises, not at all. For names that stay nothing changes.

        Args:
            config: the serve config.

        Raises:
            ServeConfigError: there is no config, or a ``host:port`` in it cannot be read.
            trio.ClosedResourceError: the manager is closed.
        """
        if config is None:
            raise ServeConfigError("there is no serve config")
        self.ensure_domains(config.domains())

    def ensure_domains(self, domains: Iterable[str]) -> None:
        """Start and end cert loops so that each of these names has one; else as :meth:`ensure_cert_loops`.

        Args:
            domains: names as they stand in CertDomains.

        Raises:
            TypeError: one name was given instead of several.
            trio.ClosedResourceError: the manager is closed.
        """
        if isinstance(domains, str):
            raise TypeError("want an iterable of names, not one name")
        wanted = frozenset(domains)
        if self._nursery.cancel_scope.cancel_called:
            raise trio.ClosedResourceError("the cert manager is closed")
        for domain in sorted(wanted - self._running.keys()):
            self._start(domain)
        for domain in self._running.keys() - wanted:
            running = self._running.pop(domain)
            self._ending[domain] = running
            running.scope.cancel(reason=f"{domain} is no longer wanted")
            self._context.ledger.leave_queue(domain)
        self._context.news.give()

    def renew(self, domain: str, *, force: bool = False) -> None:
        """Ask now, instead of at the end of a backoff; what the CA said, and its limits, stand.

        A delivery of the name that failed is tried again now, too.

        A wish that has to wait for a limit stays, and the statistics say until when
        (:attr:`DomainStatistics.limited_until`). It is for one attempt: if that fails, and the present
        certificate is not due, nothing is tried again by itself.

        Args:
            domain: the name.
            force: have a new certificate issued, even if the present one is not due.

        Raises:
            KeyError: the name has no cert loop.
        """
        self._running[domain].loop.renew(is_forced=force)
        for delivery in self._deliveries:
            delivery.try_again(domain)

    def try_deliveries_again(self) -> None:
        """Try deliveries that failed now, instead of at the end of their backoff."""
        for delivery in self._deliveries:
            delivery.try_again()

    @property
    def news(self) -> Hints:
        """Occasions to look at the statistics again: a certificate or a name is new, or gone."""
        return self._context.news

    async def ssl_context(self, domain: str) -> ssl.SSLContext:
        """Return a server's context that always presents the newest certificate of a name.

        Waits until there is a valid certificate. From then on the context is brought up to date within a
        second of each renewal, as long as the manager runs and somebody holds the context; connections that
        are open keep what they have. It is yours: protocols (ALPN), ciphers, client certificates and all
        other settings stay over renewals. A name that is no longer wanted keeps its last certificate.

        Args:
            domain: the name; or a short host name, such as ``box``, for the one managed name in the node's
                tailnet that begins with it.

        Raises:
            KeyError: the name has no cert loop, or lost it meanwhile, or a short one may mean several.
            trio.ClosedResourceError: the manager is closed.
        """
        return await self._live_contexts().for_name(domain)

    async def sni_context(self, *, default: str | None = None) -> ssl.SSLContext:
        """Return a server's context that presents the newest certificate of the name a client asks for (SNI).

        It knows all names that have a cert loop, also those of later, and wildcards and short host names;
        else as :meth:`ssl_context`. The settings that it takes along from name to name are protocols
        (ALPN), ciphers, the CAs of client certificates, DH parameters and the key log.

        Args:
            default: for clients that ask for no name, or for one that is not known, and waited for here; by
                default the first one that has a certificate.

        Raises:
            KeyError: the default has no cert loop, or lost it meanwhile, or a short one may mean several.
            trio.ClosedResourceError: the manager is closed.
        """
        return await self._live_contexts().by_sni(default)

    def _live_contexts(self) -> LiveContexts:
        if self._live is None:
            from .live_context import LiveContexts  # for servers only

            self._live = LiveContexts(self._context, self._nursery, self._context.news, self._loops_by_name)
        return self._live

    def _delivery_records(self) -> list[DeliveryRecord]:
        """Return how far all deliveries are, and what alerts there were."""
        found = [record for delivery in self._deliveries for record in delivery.all_records()]
        return [*found, *self._alerts_told.values()]

    def _deliver(
        self, targets: Sequence[TargetSettings], records: Mapping[str, dict[str, DeliveryRecord]]
    ) -> None:
        from .delivery import TargetDelivery  # for those who have targets only
        from .delivery_book import DeliveryBook

        for target in targets:
            book = DeliveryBook(target, self._context, self._loops_by_name, records.get(target.name, {}))
            self._deliveries.append(book)
            delivery = TargetDelivery(book, self._context)
            self._nursery.start_soon(delivery.run, name=f"target {target.name}")

    def _loops_by_name(self) -> dict[str, CertLoop]:
        return {domain: running.loop for domain, running in self._running.items()}

    def statistics(self) -> CertManagerStatistics:
        """Return a frozen snapshot of how all names stand."""
        cert_domains = self._context.cert_domains
        return CertManagerStatistics(
            domains=tuple(self._running[domain].loop.statistics() for domain in sorted(self._running)),
            cert_domains=cert_domains.view.names,
            bus_connected=cert_domains.bus_connected,
            limits=tuple(self._limits()),
            deliveries=tuple(
                statistics for delivery in self._deliveries for statistics in delivery.statistics()
            ),
        )

    def _limits(self) -> Iterator[LimitStatistics]:
        ledger, now = self._context.ledger, self._context.clock()
        limits, account = ledger.limits, ledger.account
        yield LimitStatistics(
            name="orders in three hours",
            scope="this machine",
            used=limits.orders.used(account.orders_full_at, now),
            capacity=limits.orders.capacity,
            is_exceeded=account.hold_until is not None and account.hold_until > now,
            until=account.hold_until,
        )
        for name, tailnet in sorted(account.tailnets.items()):
            yield LimitStatistics(
                name="new names in a week",
                scope=name,
                used=limits.names_per_tailnet.used(tailnet.full_at, now),
                capacity=limits.names_per_tailnet.capacity,
                is_exceeded=tailnet.is_exceeded and tailnet.full_at > now,
                until=limits.names_per_tailnet.ready_at(tailnet.full_at) if tailnet.is_exceeded else None,
            )

    def _start(self, domain: str) -> None:
        record = self._records.get(domain)
        if record is None:
            record = DomainRecord(domain=domain, wanted_since=self._context.clock())
            self._records[domain] = record
        record.looked_at = None  # a name that comes back is looked at at once
        self._context.news.give()
        running = _Running(CertLoop(record, self._context))
        predecessor = self._ending.get(domain)
        self._running[domain] = running
        self._nursery.start_soon(self._run, running, predecessor, name=f"cert loop {domain}")

    async def _run(self, running: _Running, predecessor: _Running | None) -> None:
        try:
            # Outside the scope: the predecessor must have ended even where this one has to end, too.
            if predecessor is not None:
                await predecessor.ended.wait()
            with running.scope:
                await running.loop.run()
        finally:
            running.ended.set()
            if self._ending.get(running.loop.domain) is running:
                del self._ending[running.loop.domain]

    def _loops(self) -> Iterable[CertLoop]:
        return (running.loop for running in self._running.values())

    async def _pass_changes_on(self) -> None:
        changes, seen = self._context.cert_domains.changes, 0
        while True:
            await changes.wait(seen)
            seen = changes.count
            for loop in self._loops():
                loop.tailscaled_changed()
            await trio.sleep(_MIN_PASS_INTERVAL)

    def _clock_jumped(self, by: timedelta) -> None:
        context = self._context
        if by < timedelta(0):
            context.ledger.shift(by)
            for record in self._records.values():
                record.shift(by)
            for delivery in self._delivery_records():
                delivery.shift(by)
        clamp(self._records, context.ledger, policy=context.retry_policy, now=context.clock())
        for delivery in self._delivery_records():
            delivery.clamp(context.clock())
        self._tidied_at = None  # this clock may be wrong
        for loop in self._loops():
            loop.plan_again()
        context.news.give()

    async def _look_after(self) -> None:
        """Do what is to be done now and then, until cancelled; one of it is to look at the clock."""
        while True:
            await trio.sleep(CLOCK_LOOK_SECONDS)
            self._keep_journal(self._context.clock())
            self._tell_limits()

    def _keep_journal(self, now: datetime) -> None:
        journal = self._context.journal
        if journal.is_incomplete:
            journal.write_again(
                self._records.values(), self._delivery_records(), self._context.ledger.account, now
            )
        if self._tidied_at is None:
            self._tidied_at = now
        elif now - self._tidied_at >= _TIDY_INTERVAL:
            journal.tidy(now, self._running)
            self._tidied_at = now

    def _tell_limits(self) -> None:
        exceeded = {limit.scope: limit for limit in self._limits() if limit.is_exceeded}
        for scope, limit in exceeded.items():
            if scope not in self._exceeded:
                _logger.warning("%s: %s", scope, _why_it_waits(limit))
        for scope in self._exceeded - exceeded.keys():
            _logger.info("%s: what the CA wanted is over, orders go on", scope)
        self._exceeded = frozenset(exceeded)


def _why_it_waits(limit: LimitStatistics) -> str:
    until = local_time(limit.until) if limit.until is not None else "nobody knows when"
    return f"the CA's limit on {limit.name} is reached; what it is for waits, the first until {until}"


@asynccontextmanager
async def open_cert_manager(
    client: LocalAPI,
    *,
    retry_policy: RetryPolicy = RetryPolicy(),  # noqa: B008 -- frozen
    refresh_interval: timedelta = REFRESH_INTERVAL,
    issue_timeout: timedelta = ISSUE_TIMEOUT,
    limits: CALimits = LETS_ENCRYPT,
    renewal_info: RenewalInfoSource | None = None,
    mode_of: Callable[[str], Mode] = lambda _domain: Mode.KEEPER,
    clock: Clock | None = None,
    rng: Random | None = None,
    journal: Journal | None = None,
    targets: Sequence[TargetSettings] = (),
    on_failure: HookSettings | None = None,
) -> AsyncIterator[CertManager]:
    """Run a :class:`CertManager` while the context lasts; leaving it cancels all cert loops.

    A bug in any part of it ends the context with an :exc:`ExceptionGroup`. A request that fails does not.

    Args:
        client: the LocalAPI; it must outlive the manager.
        retry_policy: how long to wait after a failure.
        refresh_interval: how long after a look at a certificate to look again, at most; short-lived ones
            are looked at more often.
        issue_timeout: how long one issuance may take, counted from when it is sent.
        limits: of the CA, which are kept; :data:`NO_LIMITS` for one of your own.
        renewal_info: asks the CA when to renew; ``None``: two thirds of a life, half of a short one.
        mode_of: whether certificates for a name are ordered here, or only looked at.
        clock: the present time; by default the system's, or one that goes with Trio's MockClock.
        rng: the source of jitter; seed it where runs are to be repeatable.
        journal: remembers attempts, waits, limits and deliveries over a restart; by default only as long as
            the manager lasts.
        targets: where new certificates are put, and who is told; each has a name of its own.
        on_failure: a command that is told of trouble.

    Yields:
        The manager, without any name yet.
    """
    cert_domains = CertDomains(client, Hints())
    own_journal = journal if journal is not None else Journal()
    manager: CertManager | None = None

    def on_jump(by: timedelta) -> None:
        if manager is not None:
            manager._clock_jumped(by)  # noqa: SLF001

    clock = WatchedClock(clock or default_clock(), on_jump)
    context = LoopContext(
        client=client,
        cert_domains=cert_domains,
        order_gate=IssuanceGate(lambda: slots_of(client.capability)),
        look_gate=IssuanceGate(lambda: _LOOKS_AT_ONCE),
        journal=own_journal,
        ledger=Ledger(limits),
        retry_policy=retry_policy,
        refresh_interval=refresh_interval,
        issue_timeout=issue_timeout,
        clock=clock,
        rng=rng if rng is not None else Random(),  # noqa: S311 -- jitter, no secret
        mode_of=mode_of,
        ca_returns=Hints(),
        news=Hints(),
    )
    try:
        async with trio.open_nursery() as nursery:
            records, deliveries = resume(
                own_journal, context.ledger, policy=retry_policy, rng=context.rng, now=clock()
            )
            manager = CertManager(nursery, context, records)
            nursery.start_soon(cert_domains.run, name="CertDomains")
            nursery.start_soon(manager._pass_changes_on, name="changes")  # noqa: SLF001
            nursery.start_soon(manager._look_after, name="looking after")  # noqa: SLF001
            nursery.start_soon(own_journal.run, name="journal")
            if renewal_info is not None:
                watch = RenewalInfoWatch(
                    renewal_info,
                    manager._loops,  # noqa: SLF001
                    own_journal,
                    clock,
                    news=context.news,
                    returns=context.ca_returns,
                )
                nursery.start_soon(watch.run, name="renewal information")
            if targets:
                manager._deliver(targets, deliveries)  # noqa: SLF001
            if on_failure is not None:
                from .alerts import FailureAlerts

                manager._alerts_told |= deliveries.get(FailureAlerts.TARGET, {})  # noqa: SLF001
                alerts = FailureAlerts(
                    on_failure,
                    context,
                    manager._loops_by_name,  # noqa: SLF001
                    manager._deliveries,  # noqa: SLF001
                    manager._alerts_told,  # noqa: SLF001
                )
                nursery.start_soon(alerts.run, name="alerts")
            try:
                yield manager
            finally:
                nursery.cancel_scope.cancel(reason="the cert manager is closed")
    finally:
        if journal is None:
            own_journal.close()
