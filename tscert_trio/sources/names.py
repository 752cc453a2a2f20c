"""Names that do not come from a serve config."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from ..errors import LocalAPIError
from .source import WantedNames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..hints import Hints
    from ..localapi import LocalAPI, Status

__all__ = ["FixedNames", "NodeName", "own_name"]

_logger = logging.getLogger(__name__)

_POLL_SECONDS = 300
_MIN_INTERVAL = 1


class FixedNames:
    """Names given once and for all.

    Args:
        names: as they stand in CertDomains.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = WantedNames(_logger, "the names given")
        self.names.set(frozenset(names))

    async def run(self, hints: Hints) -> None:  # noqa: ARG002 -- they never change
        """Do nothing until cancelled."""
        await trio.sleep_forever()


class NodeName:
    """The node's own name, for hosts whose own web server serves it.

    Args:
        client: asks tailscaled.
    """

    def __init__(self, client: LocalAPI) -> None:
        self._client = client
        self.names = WantedNames(_logger, "the node's own name")

    async def run(self, hints: Hints) -> None:
        """Follow the node's name until cancelled; look at once after each hint."""
        while True:
            seen = hints.count
            try:
                name = own_name(await self._client.status())
            except LocalAPIError as exc:
                self.names.keep(f"cannot learn the node's own name: {exc}", exc)
            else:
                if name:
                    self.names.set(frozenset({name}))
                else:
                    self.names.keep("the node has no name yet: log in with tailscale up")
            await trio.sleep(_MIN_INTERVAL)
            await hints.wait(seen, at_most=_POLL_SECONDS)


def own_name(status: Status) -> str:
    """Return the name in CertDomains that is the node's own; before there is one, its DNS name.

    The first CertDomain is what containerboot takes for it.
    """
    if not status.cert_domains or status.self_dns_name in status.cert_domains:
        return status.self_dns_name
    return status.cert_domains[0]
