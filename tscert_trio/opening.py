"""Putting a :class:`CertManager` together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import trio

from .ari_watch import RenewalInfoWatch
from .cert_domains import CertDomains
from .cert_loop import LoopContext
from .cert_manager import CertManager
from .clock_watch import WatchedClock
from .hints import Hints
from .issuance_gate import IssuanceGate, slots_of
from .journal import Journal
from .localapi import ISSUE_TIMEOUT, LocalAPI
from .resuming import resume
from .schedule import LETS_ENCRYPT, REFRESH_INTERVAL, CALimits, Ledger, Mode, RetryPolicy
from .wall_clock import default_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import timedelta

    from .ari import RenewalInfoSource
    from .clock import Clock
    from .target_settings import HookSettings, TargetSettings

__all__ = ["open_cert_manager"]

_LOOKS_AT_ONCE = 4


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
            manager._caretaker.clock_jumped(by)  # noqa: SLF001 -- its own opener

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
            manager._begin(targets, on_failure, deliveries)  # noqa: SLF001 -- its own opener
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
            try:
                yield manager
            finally:
                nursery.cancel_scope.cancel(reason="the cert manager is closed")
    finally:
        if journal is None:
            own_journal.close()
