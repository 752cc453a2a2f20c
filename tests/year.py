"""A year in the life of some names, on Trio's virtual clock, with what goes wrong in it."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from random import Random

import attrs
import trio
from conftest import EPOCH

from tscert_trio import LocalClient, RenewalInfoClient, RetryPolicy, open_cert_manager
from tscert_trio.journal import Journal
from tscert_trio.localapi.transport import UnixTransport
from tscert_trio.sandbox import open_sandbox

DAY, HOUR = 86400, 3600
SAMPLE_SECONDS = 600
POLICY = RetryPolicy(jitter=0.1, urgency=True)
"""What the service uses."""


@attrs.define(eq=False)
class Year:
    """A node, its names, and a manager that keeps their certificates. It can be restarted."""

    sandbox: object
    names: tuple[str, ...]
    _journal_path: object
    _has_ari: bool
    _suspended: timedelta = timedelta(0)
    _at_fault: Counter = attrs.field(factory=Counter)
    faults: int = 0
    missing: Counter = attrs.field(factory=Counter)
    """Seconds without a certificate that could have been had, by name."""
    manager: object = None
    _stop: trio.Event = attrs.field(factory=trio.Event)
    _started: trio.Event = attrs.field(factory=trio.Event)

    def clock(self):
        """Return the wall time, which goes on while the machine is suspended."""
        return EPOCH + timedelta(seconds=trio.current_time()) + self._suspended

    async def day(self, number):
        """Wait until so many days have gone by on the wall clock."""
        left = EPOCH + timedelta(days=number) - self.clock()
        await trio.sleep(max(left.total_seconds(), 0))

    def want(self, *names):
        """Change the names."""
        self.names = names
        self.sandbox.set_cert_domains(names)
        self.manager.ensure_domains(names)

    @contextmanager
    def fault(self, *names):
        """Say that just now no certificate could be had for these names, or for any."""
        names = names or self.names
        self._at_fault.update(names)
        self.faults += 1
        try:
            yield
        finally:
            self._at_fault.subtract(names)

    def suspend(self, duration):
        """Let the machine sleep: the wall clock goes on, Trio's does not."""
        self._suspended += duration

    async def restart(self):
        """End the manager and begin another, which knows what the journal knows."""
        self._started = trio.Event()
        self._stop.set()
        await self._started.wait()

    async def restart_now_and_then(self, days):
        """Restart every so many days, so in the middle of whatever it is."""
        while True:
            await trio.sleep(days * DAY)
            await self.restart()

    async def keep(self):
        """Run managers, one after the other."""
        while True:
            self._stop = trio.Event()
            async with self._open() as self.manager:
                self.manager.ensure_domains(self.names)
                self._started.set()
                await self._stop.wait()

    @asynccontextmanager
    async def _open(self):
        with Journal(self._journal_path) as journal:
            async with (
                LocalClient(self.sandbox.socket_path, clock=self.clock) as client,
                RenewalInfoClient(
                    self.sandbox.directory_url,
                    transport=UnixTransport(self.sandbox.ca_socket_path),
                    clock=self.clock,
                ) as renewal_info,
                open_cert_manager(
                    client,
                    retry_policy=POLICY,
                    renewal_info=renewal_info if self._has_ari else None,
                    clock=self.clock,
                    rng=Random(1),
                    journal=journal,
                ) as manager,
            ):
                yield manager

    async def watch(self):
        """Count how long certificates are missing."""
        while True:
            await trio.sleep(SAMPLE_SECONDS)
            now = self.clock()
            for name in self.names:
                leaf = self.sandbox.certificate(name)
                if (leaf is None or not leaf.valid_at(now)) and not self._at_fault[name]:
                    self.missing[name] += SAMPLE_SECONDS


@asynccontextmanager
async def open_year(
    names,
    journal_path,
    *,
    version="1.104.5",
    own_loop=False,
    has_ari=False,
    validity=90,
    restart_every=None,
    **options,
):
    """Open a node whose certificates are kept."""
    year = None

    def clock():
        return year.clock() if year is not None else EPOCH + timedelta(seconds=trio.current_time())

    async with open_sandbox(
        version,
        cert_domains=names,
        clock=clock,
        validity=timedelta(days=validity),
        background_renewal=own_loop,
        limits=True,
        **options,
    ) as sandbox:
        year = Year(sandbox, tuple(names), journal_path, has_ari)
        if own_loop:
            web = {f"{name}:443": {"Handlers": {}} for name in names}
            sandbox.set_serve_config({"TCP": {"443": {"HTTPS": True}}, "Web": web})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(year.keep)
            nursery.start_soon(year.watch)
            await year._started.wait()
            if restart_every is not None:
                nursery.start_soon(year.restart_now_and_then, restart_every)
            yield year
            nursery.cancel_scope.cancel()
