"""The service: all its wiring."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio
from trio_util import compose_values

from .cert_manager import CertManager, open_cert_manager
from .clock import Clock, system_clock
from .localapi import LocalAPI, LocalClient
from .serve_config import Scope, some_of
from .sources import DomainSource, FixedNames, NodeName, ServeConfigFile, ServedNames

if TYPE_CHECKING:
    from random import Random

    from .journal import Journal
    from .settings import Settings

__all__ = ["serve"]

_logger = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    *,
    clock: Clock = system_clock,
    rng: Random | None = None,
    journal: Journal | None = None,
    task_status: trio.TaskStatus[CertManager] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep the certificates of all wanted names fresh, until cancelled.

    Args:
        settings: what is wanted, and how.
        clock: the present time.
        rng: the source of jitter.
        journal: remembers attempts.
        task_status: started, with the cert manager, when the service works. tailscaled need not be
            there yet.
    """
    async with (
        LocalClient(settings.socket, clock=clock) as client,
        open_cert_manager(
            client,
            retry_policy=settings.retry_policy,
            refresh_interval=settings.refresh_interval,
            issue_timeout=settings.issue_timeout,
            clock=clock,
            rng=rng,
            journal=journal,
        ) as manager,
        trio.open_nursery() as nursery,
    ):
        _logger.info("tailscaled's socket is %s", settings.socket)
        task_status.started(manager)
        if settings.reader_reason is not None:
            _logger.warning("this replica issues no certificate: %s", settings.reader_reason)
            await trio.sleep_forever()
        sources = _sources(settings, client)
        for source in sources:
            nursery.start_soon(source.run, manager.hints, name=type(source).__name__)
        await _follow(sources, settings, manager)


def _sources(settings: Settings, client: LocalAPI) -> list[DomainSource]:
    sources: list[DomainSource] = []
    if settings.serve_config is not None:
        sources.append(ServeConfigFile(settings.serve_config, settings.scope, client))
    else:
        interval = settings.poll_interval.total_seconds()
        sources.append(ServedNames(client, settings.scope, interval=interval))
    if settings.self_name:
        sources.append(NodeName(client))
    if settings.domains:
        sources.append(FixedNames(settings.domains))
    return sources


async def _follow(sources: list[DomainSource], settings: Settings, manager: CertManager) -> None:
    """Give the manager the names that all sources together want, whenever they change."""
    lets_through = settings.domain_filter
    before: frozenset[str] | None = None
    with compose_values(**{f"source_{n}": source.wanted for n, source in enumerate(sources)}) as all_wanted:
        async for by_source in all_wanted.eventual_values():
            known = [names for names in by_source if names is not None]
            wanted = frozenset().union(*known)
            domains = frozenset(filter(lets_through, wanted))
            is_too_early = before is None and not domains and len(known) < len(by_source)
            if domains == before or is_too_early:
                continue
            manager.ensure_domains(domains)
            if domains:
                _logger.info("keeping certificates for %s", some_of(domains))
            else:
                _logger.info("no name wants a certificate%s", _why_none(wanted, settings))
            before = domains


def _why_none(wanted: frozenset[str], settings: Settings) -> str:
    if wanted:
        return ": --only and --not let none through"
    where = "tailscaled's serve config" if settings.serve_config is None else str(settings.serve_config)
    scope = "" if settings.scope is Scope.ALL else " (--scope services leaves the node's own out)"
    advice = "" if settings.self_name else ". For this node's own name, run: tscert-trio run --self"
    return f" in {where}{scope}{advice}"
