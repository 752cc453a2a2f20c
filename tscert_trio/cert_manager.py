"""``CertManager``: one nursery, and in it one cert loop, with a CancelScope of its own, per name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from .caretaker import Caretaker
from .cert_loop import CertLoop, LoopContext
from .errors import ServeConfigError
from .schedule import DomainRecord
from .statistics import CertManagerStatistics, SourceStatistics, limit_statistics

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .clock import Clock
    from .delivery_book import DeliveryBook
    from .delivery_record import DeliveryRecord
    from .hints import Hints
    from .journal import Journal
    from .live_context import LiveContexts
    from .serve_config import ServeConfig
    from .sources import WantedNames
    from .target_settings import HookSettings, TargetSettings

__all__ = ["CertManager"]


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
        self._live: LiveContexts | None = None
        self._sources: Sequence[WantedNames] = ()
        self._refusal: str | None = None
        self._noted: frozenset[str] | None = None
        self._deliveries: list[DeliveryBook] = []
        self._alerts_told: dict[str, DeliveryRecord] = {}
        self._caretaker = Caretaker(context, records, self._loops_by_name, self._delivery_records)

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
        if wanted != self._noted:
            self._context.journal.note_wanted(wanted)
            self._noted = wanted
        self._context.news.give()

    def tell_sources(self, sources: Sequence[WantedNames]) -> None:
        """Say where the wanted names come from. They are only told about: nothing is asked of them."""
        self._sources = sources

    def tell_refusal(self, trouble: str | None) -> None:
        """Say that a new configuration was refused, and why; ``None``: the present one is the newest."""
        self._refusal = trouble
        self._context.news.give()

    def renew(self, domain: str, *, force: bool = False) -> int:
        """Ask now, instead of at the end of a backoff; what the CA said, and its limits, stand.

        A delivery of the name that failed is tried again now, too.

        A wish that has to wait for a limit stays, and the statistics say until when
        (:attr:`DomainStatistics.limited_until`). It is for one attempt: if that fails, and the present
        certificate is not due, nothing is tried again by itself.

        Args:
            domain: the name.
            force: have a new certificate issued, even if the present one is not due.

        Returns:
            The number of requests for the name so far (:attr:`DomainStatistics.attempts`), one under way
            included: what comes of a later one is the answer.

        Raises:
            KeyError: the name has no cert loop.
        """
        attempts = self._running[domain].loop.renew(is_forced=force)
        for delivery in self._deliveries:
            delivery.try_again(domain)
        return attempts

    def try_deliveries_again(self) -> None:
        """Try deliveries that failed now, instead of at the end of their backoff."""
        for delivery in self._deliveries:
            delivery.try_again()

    @property
    def news(self) -> Hints:
        """Occasions to look at the statistics again: a certificate or a name is new, or gone."""
        return self._context.news

    def remembers(self, domain: str) -> bool:
        """Return whether a name has a cert loop, or once had one that is remembered."""
        return domain in self._running or domain in self._records

    @property
    def journal(self) -> Journal:
        """What has happened."""
        return self._context.journal

    @property
    def clock(self) -> Clock:
        """The present time, as the manager has it."""
        return self._context.clock

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
            limits=tuple(limit_statistics(self._context.ledger, self._context.clock())),
            deliveries=tuple(
                statistics for delivery in self._deliveries for statistics in delivery.statistics()
            ),
            trouble=cert_domains.trouble,
            is_told=self._noted is not None,
            sources=tuple(self._source_statistics()),
            journal_trouble=self._context.journal.write_trouble,
            capability=self._context.client.capability,
            requests=self._context.client.durations.statistics(),
            outcomes=dict(self._context.outcomes),
        )

    def _source_statistics(self) -> Iterator[SourceStatistics]:
        yield from (source.statistics() for source in self._sources)
        if self._refusal is not None:
            yield SourceStatistics(name="the configuration", is_known=True, trouble=self._refusal)

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

    def _begin(
        self,
        targets: Sequence[TargetSettings],
        on_failure: HookSettings | None,
        deliveries: Mapping[str, dict[str, DeliveryRecord]],
    ) -> None:
        """Start what runs besides the cert loops."""
        self._nursery.start_soon(self._context.cert_domains.run, name="CertDomains")
        self._nursery.start_soon(self._pass_changes_on, name="changes")
        self._nursery.start_soon(self._caretaker.run, name="caretaker")
        self._nursery.start_soon(self._context.journal.run, name="journal")
        if targets:
            self._deliver(targets, deliveries)
        if on_failure is not None:
            from .alerts import FailureAlerts

            self._alerts_told |= deliveries.get(FailureAlerts.TARGET, {})
            alerts = FailureAlerts(
                on_failure, self._context, self._loops_by_name, self._deliveries, self._alerts_told
            )
            self._nursery.start_soon(alerts.run, name="alerts")

    async def _pass_changes_on(self) -> None:
        changes, seen = self._context.cert_domains.changes, 0
        while True:
            await changes.wait(seen)
            seen = changes.count
            for loop in self._loops():
                loop.tailscaled_changed()
            await trio.sleep(_MIN_PASS_INTERVAL)
