"""``CertManager``: one nursery, and in it one cert loop, with a CancelScope of its own, per name."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import attrs
import trio

from .cert_domains import CertDomains
from .cert_loop import CertLoop, LoopContext
from .clock import Clock, system_clock
from .errors import ServeConfigError
from .hints import Hints
from .issuance_gate import IssuanceGate, slots_of
from .journal import Journal, MemoryJournal
from .localapi import ISSUE_TIMEOUT, LocalAPI
from .schedule import REFRESH_INTERVAL, RetryPolicy
from .statistics import CertManagerStatistics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from datetime import timedelta

    from .serve_config import ServeConfig

__all__ = ["CertManager", "open_cert_manager"]


_MIN_PASS_INTERVAL = 1  # seconds: a pass over all loops at every message of a busy bus would cost


@attrs.define(eq=False)
class _Running:
    """A cert loop that has been started, and how to end it."""

    loop: CertLoop
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class CertManager:
    """Keeps a cert loop for each wanted name. Made by :func:`open_cert_manager`."""

    def __init__(self, nursery: trio.Nursery, context: LoopContext) -> None:
        self._nursery = nursery
        self._context = context
        self._running: dict[str, _Running] = {}
        self._ending: dict[str, _Running] = {}

    @property
    def hints(self) -> Hints:
        """Occasions to look again; give one after a change that tailscaled's bus does not tell."""
        return self._context.hints

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

    def renew(self, domain: str) -> None:
        """Ask for a certificate now, instead of at the next time due.

        Raises:
            KeyError: the name has no cert loop.
        """
        self._running[domain].loop.wake()

    def statistics(self) -> CertManagerStatistics:
        """Return a frozen snapshot of how all names stand."""
        cert_domains = self._context.cert_domains
        return CertManagerStatistics(
            domains=tuple(self._running[domain].loop.statistics() for domain in sorted(self._running)),
            cert_domains=cert_domains.view.names,
            bus_connected=cert_domains.bus_connected,
        )

    def _start(self, domain: str) -> None:
        running = _Running(CertLoop(domain, self._context))
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

    async def _pass_hints_on(self) -> None:
        while True:
            seen = self.hints.count
            for running in self._running.values():
                running.loop.tailscaled_changed()
            await trio.sleep(_MIN_PASS_INTERVAL)
            await self.hints.wait(seen)


@asynccontextmanager
async def open_cert_manager(
    client: LocalAPI,
    *,
    retry_policy: RetryPolicy = RetryPolicy(),  # noqa: B008 -- frozen
    refresh_interval: timedelta = REFRESH_INTERVAL,
    issue_timeout: timedelta = ISSUE_TIMEOUT,
    clock: Clock = system_clock,
    rng: Random | None = None,
    journal: Journal | None = None,
) -> AsyncIterator[CertManager]:
    """Run a :class:`CertManager` while the context lasts; leaving it cancels all cert loops.

    A bug in any part of it ends the context with an :exc:`ExceptionGroup`. A request that fails does not.

    Args:
        client: the LocalAPI; it must outlive the manager.
        retry_policy: how long to wait after a failure.
        refresh_interval: how long to wait after a success.
        issue_timeout: how long one request may take, counted from when it is sent.
        clock: the present time.
        rng: the source of jitter; seed it where runs are to be repeatable.
        journal: remembers attempts; by default the newest thousand, in memory.

    Yields:
        The manager, without any name yet.
    """
    hints = Hints()
    cert_domains = CertDomains(client, hints)
    context = LoopContext(
        client=client,
        cert_domains=cert_domains,
        hints=hints,
        gate=IssuanceGate(lambda: slots_of(client.capability)),
        journal=journal if journal is not None else MemoryJournal(),
        retry_policy=retry_policy,
        refresh_interval=refresh_interval,
        issue_timeout=issue_timeout,
        clock=clock,
        rng=rng if rng is not None else Random(),  # noqa: S311 -- jitter, no secret
    )
    async with trio.open_nursery() as nursery:
        manager = CertManager(nursery, context)
        nursery.start_soon(cert_domains.run, name="CertDomains")
        nursery.start_soon(manager._pass_hints_on, name="hints")  # noqa: SLF001 -- its own opener
        try:
            yield manager
        finally:
            nursery.cancel_scope.cancel(reason="the cert manager is closed")
