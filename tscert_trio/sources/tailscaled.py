"""The serve config of the tailscaled here, asked from it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from ..errors import LocalAPIError, ServeConfigError
from .source import WantedNames

if TYPE_CHECKING:
    from ..hints import Hints
    from ..localapi import LocalAPI
    from ..serve_config import Scope

__all__ = ["ServedNames"]

_logger = logging.getLogger(__name__)

_MIN_INTERVAL = 1


class ServedNames:
    """The names in the serve config of the tailscaled here.

    tailscaled tells nobody when its serve config changes, though mostly something else of it changes
    with it. So it is asked after each hint, at most once a second, and at an interval besides.

    Args:
        client: asks tailscaled.
        scope: whose names count.
        interval: seconds between two questions.
    """

    def __init__(self, client: LocalAPI, scope: Scope, *, interval: float = 30) -> None:
        self._client = client
        self._scope = scope
        self._interval = interval
        self.names = WantedNames(_logger, "tailscaled's serve config")

    async def run(self, hints: Hints) -> None:
        """Follow the serve config until cancelled; look at once after each hint."""
        etag, domains = None, frozenset[str]()
        while True:
            seen = hints.count
            try:
                fetched = await self._client.serve_config(known_etag=etag)
                if fetched is not None:
                    domains, etag = fetched.config.domains(self._scope), fetched.etag
                self.names.set(domains)
            except (LocalAPIError, ServeConfigError) as exc:
                self.names.keep(f"cannot read tailscaled's serve config: {exc}", exc)
            await trio.sleep(_MIN_INTERVAL)
            await hints.wait(seen, at_most=max(0, self._interval - _MIN_INTERVAL))
