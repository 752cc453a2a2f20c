"""How things stand, asked once: what "doctor" and "plan" look at. Nothing is ordered, written or changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from .errors import LocalAPIError, ServeConfigError, StateError, StatusServiceError
from .journal import holder_of, open_for_reading
from .localapi import LocalClient
from .serve_config import ServeConfig
from .settings import MEMORY
from .sources import filled_in
from .wall_clock import default_clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from pathlib import Path
    from typing import TypeVar

    from .clock import Clock
    from .journal import Memories
    from .localapi import Prefs, Status
    from .settings import Settings
    from .status.report import StatusReport

    _T = TypeVar("_T")

__all__ = ["RunningService", "Survey", "take_survey"]


@attrs.frozen(kw_only=True)
class RunningService:
    """A service that runs, and answers."""

    report: StatusReport
    """How it says that everything is."""
    socket: Path
    """Where it was asked."""
    process: int | None
    """Its number; ``None`` where that cannot be told."""


@attrs.frozen(kw_only=True)
class Survey:
    """What was found. What could not be had is ``None``, and its trouble says why."""

    settings: Settings
    faults: tuple[str, ...] = ()
    """Of the settings, which have the default in its place."""
    now: datetime
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    version: str | None = None
    """Of tailscaled."""
    capability: int | None = None
    """Likewise, ``Tailscale-Cap``."""
    status: Status | None = None
    status_trouble: LocalAPIError | None = None
    prefs: Prefs | None = None
    prefs_trouble: LocalAPIError | None = None
    serve_config: ServeConfig | None = None
    serve_config_trouble: str | None = None
    memories: Memories | None = None
    """Of the journal; ``None`` where there is none, too."""
    journal_trouble: str | None = None
    holder: int | None = None
    """The process of the service; 0: one that cannot be told; ``None``: it does not run."""
    kept: frozenset[str] | None = None
    """The names that the service was told last to keep, by the journal; ``None``: not known."""
    running: RunningService | None = None
    """A service that runs and was asked how it stands, whatever its settings are."""
    running_trouble: StatusServiceError | None = None
    """Why one that runs could not be asked."""

    @property
    def cert_domains(self) -> frozenset[str] | None:
        """The node's CertDomains; ``None``: nobody tells."""
        return None if self.status is None else frozenset(self.status.cert_domains)


async def take_survey(
    settings: Settings,
    *,
    faults: tuple[str, ...] = (),
    environ: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
    running: RunningService | StatusServiceError | None = None,
) -> Survey:
    """Ask tailscaled, and read the serve config file and the journal, once.

    Args:
        settings: of the service.
        faults: of the settings.
        environ: the environment.
        clock: the present time.
        running: a service that runs, as it was found, or why it could not be asked.
    """
    clock = clock or default_clock()
    async with LocalClient(settings.socket, clock=clock) as client:
        status, status_trouble = await _ask(client.status)
        prefs, prefs_trouble = (None, None) if status is None else await _ask(client.prefs)
        config, config_trouble = await _serve_config(settings, client, status)
    memories, kept, journal_trouble = _read_journal(settings)
    return Survey(
        settings=settings,
        faults=faults,
        now=clock(),
        environ=environ,
        version=client.version,
        capability=client.capability,
        status=status,
        status_trouble=status_trouble,
        prefs=prefs,
        prefs_trouble=prefs_trouble,
        serve_config=config,
        serve_config_trouble=config_trouble,
        memories=memories,
        journal_trouble=journal_trouble,
        holder=None if settings.state == MEMORY else holder_of(settings.state),
        kept=kept,
        running=running if isinstance(running, RunningService) else None,
        running_trouble=running if isinstance(running, StatusServiceError) else None,
    )


async def _ask(call: Callable[[], Awaitable[_T]]) -> tuple[_T | None, LocalAPIError | None]:
    try:
        return await call(), None
    except LocalAPIError as exc:
        return None, exc


async def _serve_config(
    settings: Settings, client: LocalClient, status: Status | None
) -> tuple[ServeConfig | None, str | None]:
    """Return the serve config that the service would follow, or why it cannot be had."""
    path = settings.serve_config
    if path is None:
        if status is None:
            return None, "tailscaled, which has the serve config, does not answer"
        found, trouble = await _ask(client.serve_config)
        config = None if found is None else found.config
        text = None if trouble is None else f"tailscaled's serve config cannot be had: {trouble}"
    else:
        config, text = _read_serve_config(settings, () if status is None else status.cert_domains)
    if config is not None:
        try:
            config.domains(settings.scope)  # what it wants may make no sense
        except ServeConfigError as exc:
            return None, f"{path or 'the serve config of tailscaled'}: {exc}"
    return config, text


def _read_serve_config(
    settings: Settings, cert_domains: tuple[str, ...]
) -> tuple[ServeConfig | None, str | None]:
    path = settings.serve_config
    assert path is not None
    try:
        text = path.read_bytes()
        if not text.strip():
            return None, f"the serve config file {path} is empty"
        return ServeConfig.from_json(filled_in(text, cert_domains)), None
    except OSError as exc:
        return None, f"the serve config file {path} cannot be read: {exc.strerror}"
    except ServeConfigError as exc:
        return None, f"{path}: {exc}"


def _read_journal(settings: Settings) -> tuple[Memories | None, frozenset[str] | None, str | None]:
    if settings.state == MEMORY:
        return None, None, None
    try:
        with open_for_reading(settings.state) as journal:
            return journal.load(), journal.wanted(), None
    except StateError as exc:
        return None, None, str(exc)
