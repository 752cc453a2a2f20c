"""A serve config in a file, as Tailscale's containers mount it (``cmd/containerboot/serve.go``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from ..errors import LocalAPIError, ServeConfigError
from ..serve_config import ServeConfig
from .source import WantedNames

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..hints import Hints
    from ..localapi import LocalAPI
    from ..serve_config import Scope

__all__ = ["NO_HTTPS", "ServeConfigFile", "filled_in"]

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2
_MIN_INTERVAL = 1
_NODE_NAME = b"${TS_CERT_DOMAIN}"

NO_HTTPS = "no-https"
"""containerboot's word for the node's name, where the tailnet has HTTPS switched off."""


def filled_in(text: bytes, cert_domains: Sequence[str]) -> bytes:
    """Return a file's text with the node's name in it; containerboot takes the first CertDomain for it."""
    return text.replace(_NODE_NAME, (cert_domains[0] if cert_domains else NO_HTTPS).encode())


class ServeConfigFile:
    """The names in a serve config file.

    The file's bytes are compared every two seconds: that sees a ConfigMap's symlink swap, which a
    watch on the file does not. ``${TS_CERT_DOMAIN}`` stands for the first of the node's CertDomains.
    An empty, missing or half-written file leaves the last good names as they are.

    Args:
        path: the file.
        scope: whose names count.
        client: asks tailscaled for the CertDomains, where the file needs them.
    """

    def __init__(self, path: Path, scope: Scope, client: LocalAPI) -> None:
        self._path = path
        self._scope = scope
        self._client = client
        self.names = WantedNames(_logger, f"the serve config file {path}")

    async def run(self, hints: Hints) -> None:
        """Follow the file until cancelled; look at once after each hint."""
        read: tuple[bytes, int] | None = None
        text = b""
        while True:
            seen = hints.count
            try:
                text = self._path.read_bytes()  # microseconds; a thread would cost more than it saves
            except OSError as exc:
                self.names.keep(f"cannot read the serve config file {self._path}: {exc.strerror}")
                read = None
            else:
                # What the placeholder stands for may change with every hint.
                version = text, seen if _NODE_NAME in text else 0
                if version != read:
                    read = version if await self._parse(text) else None
            if _NODE_NAME in text:
                await trio.sleep(_MIN_INTERVAL)  # each hint costs a question
            await hints.wait(seen, at_most=_LOOK_SECONDS)

    async def _parse(self, text: bytes) -> bool:
        """Publish what the file wants; return whether it need not be parsed again."""
        if not text.strip():
            self.names.keep(f"the serve config file {self._path} is empty")
            return True
        try:
            if _NODE_NAME in text:
                text = filled_in(text, (await self._client.status()).cert_domains)
            domains = ServeConfig.from_json(text).domains(self._scope)
        except ServeConfigError as exc:
            self.names.keep(f"{self._path}: {exc}")
            return True
        except LocalAPIError as exc:
            self.names.keep(f"cannot learn what {_NODE_NAME.decode()} stands for: {exc}", exc)
            return False
        self.names.set(domains - {NO_HTTPS})
        return True
