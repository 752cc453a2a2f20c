"""The service: all its wiring."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING

import trio
from trio_util import compose_values

from .ari import RenewalInfoClient
from .errors import StateError, StateFolderHeldError
from .journal import Journal, open_state_folder
from .localapi import LocalAPI, LocalClient
from .opening import open_cert_manager
from .serve_config import Scope, some_of
from .settings import MEMORY, NO_SOCKET
from .sources import DomainSource, FixedNames, NodeName, ServeConfigFile, ServedNames
from .wall_clock import default_clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from .ari import RenewalInfoSource
    from .cert_manager import CertManager
    from .clock import Clock
    from .settings import Settings

__all__ = ["open_journal", "serve"]

_logger = logging.getLogger(__name__)


@contextmanager
def open_journal(settings: Settings) -> Iterator[Journal]:
    """Open the journal in the state folder of the settings.

    A folder that nobody asked for and that cannot be written is done without.

    Raises:
        StateFolderHeldError: another service uses the folder.
        StateError: a folder that was asked for cannot be written.
    """
    with ExitStack() as stack:
        try:
            journal = stack.enter_context(
                Journal() if settings.state == MEMORY else open_state_folder(settings.state)
            )
        except StateFolderHeldError:
            raise
        except StateError as exc:
            if "state" in settings.origins:
                raise
            _logger.warning("%s. A restart will not know what happened before.", exc)
            journal = stack.enter_context(Journal())
        yield journal


async def serve(
    settings: Settings,
    *,
    clock: Clock | None = None,
    rng: Random | None = None,
    journal: Journal | None = None,
    renewal_info: RenewalInfoSource | None = None,
    task_status: trio.TaskStatus[CertManager] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep the certificates of all wanted names fresh, until cancelled.

    Args:
        settings: what is wanted, and how.
        clock: the present time.
        rng: the source of jitter.
        journal: remembers over a restart, see :func:`open_journal`; by default nothing does.
        renewal_info: asks the CA when to renew; by default as the settings say.
        task_status: started, with the cert manager, when the service works. tailscaled need not be
            there yet.
    """
    clock = clock or default_clock()
    async with AsyncExitStack() as stack:
        if renewal_info is None and not settings.no_ari:
            renewal_info = await stack.enter_async_context(
                RenewalInfoClient(settings.ca_directory, clock=clock)
            )
        client = await stack.enter_async_context(LocalClient(settings.socket, clock=clock))
        manager = await stack.enter_async_context(
            open_cert_manager(
                client,
                retry_policy=settings.retry_policy,
                refresh_interval=settings.refresh_interval,
                issue_timeout=settings.issue_timeout,
                limits=settings.limits,
                renewal_info=renewal_info,
                mode_of=settings.mode_of,
                clock=clock,
                rng=rng,
                journal=journal,
                targets=settings.targets,
                on_failure=settings.on_failure,
            )
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        _logger.info("tailscaled's socket is %s", settings.socket)
        if settings.reader_reason is not None:
            _logger.info("this replica only reads certificates: %s", settings.reader_reason)
        await nursery.start(_serve_status, settings, manager)
        sources = _sources(settings, client)
        manager.tell_sources([source.names for source in sources])
        task_status.started(manager)
        for source in sources:
            nursery.start_soon(source.run, manager.hints, name=type(source).__name__)
        await _follow(sources, settings, manager)


async def _serve_status(
    settings: Settings, manager: CertManager, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell how it stands, where that is asked for."""
    socket_path = None if settings.status_socket == NO_SOCKET else settings.status_socket
    if socket_path is None and settings.listen is None:
        task_status.started()
        return
    from .status.server import serve_status  # for those who want it only

    await serve_status(
        manager,
        socket_path=socket_path,
        group=settings.status_group,
        listen=settings.listen,
        allowed_hosts=settings.allowed_hosts,
        task_status=task_status,
    )


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
    with compose_values(
        **{f"source_{n}": source.names.value for n, source in enumerate(sources)}
    ) as all_wanted:
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
