"""What the engine needs of a LocalAPI client, and what the calls return."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from ..certificate import CertChain, CertPair
    from ..serve_config import ServeConfig
    from .durations import Durations

__all__ = ["ISSUE_TIMEOUT", "FetchedServeConfig", "LocalAPI", "Prefs", "Status"]

ISSUE_TIMEOUT = timedelta(seconds=300)
"""How long a certificate may take (``kube/certs`` of v1.86)."""


@attrs.frozen(kw_only=True)
class Status:
    """The parts of ``status?peers=false`` that matter for certificates."""

    backend_state: str
    """Such as ``Running``, ``NeedsLogin`` or ``Stopped``."""
    version: str
    self_dns_name: str
    """The node's own name without the final dot; empty before the first login."""
    addresses: tuple[str, ...] = ()
    """The node's own Tailscale addresses; none before the first login."""
    cert_domains: tuple[str, ...]
    """In tailscaled's order; the node's own name comes first."""
    magic_dns_suffix: str = ""
    """Of the tailnet, such as ``tail1234.ts.net``; empty before the first login."""
    magic_dns_enabled: bool | None = None
    """``None`` before the first login."""
    health: tuple[str, ...] = ()
    """tailscaled's own warnings."""
    approved_services: frozenset[str] | None = None
    """The Services that this node may be a host of, such as ``svc:shop``; ``None``: it does not say."""


@attrs.frozen(kw_only=True)
class Prefs:
    """The parts of ``prefs`` that matter for certificates."""

    advertised_services: frozenset[str]
    """The Services that this node offers to be a host of, such as ``svc:shop``."""
    operator: str
    """The local user who may do what root may (``tailscale set --operator``); empty: none."""


@attrs.frozen(kw_only=True)
class FetchedServeConfig:
    """A serve config with the ETag by which a later call can tell that it has not changed."""

    config: ServeConfig
    etag: str


class LocalAPI(Protocol):  # its methods are described where they are implemented
    """What the engine needs of a LocalAPI client; :class:`LocalClient` is the real one."""

    @property
    def capability(self) -> int | None: ...  # noqa: D102
    @property
    def durations(self) -> Durations: ...  # noqa: D102
    async def cert(  # noqa: D102
        self, domain: str, *, min_validity: timedelta | None = None, patience: timedelta = ISSUE_TIMEOUT
    ) -> CertChain: ...
    async def cert_pair(  # noqa: D102
        self, domain: str, *, min_validity: timedelta | None = None, patience: timedelta = ISSUE_TIMEOUT
    ) -> CertPair: ...
    async def cert_domains(self) -> frozenset[str]: ...  # noqa: D102
    async def status(self) -> Status: ...  # noqa: D102
    async def serve_config(self, *, known_etag: str | None = None) -> FetchedServeConfig | None: ...  # noqa: D102
    def watch_ipn_bus(self, mask: int = 18) -> AbstractAsyncContextManager[AsyncIterator[frozenset[str]]]: ...  # noqa: D102
