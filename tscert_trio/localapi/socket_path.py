"""Where tailscaled's socket is (``paths/paths.go`` of tailscale)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["default_socket_path"]

_QNAP_MARK = Path("/etc/config/uLinux.conf")  # elsewhere anybody could put a socket into /tmp
_SPECIAL_PLACES = (
    "/var/packages/Tailscale/var/tailscaled.sock",  # Synology DSM 7
    "/var/packages/Tailscale/etc/tailscaled.sock",  # Synology DSM 6
    "/perm/tailscaled/tailscaled.sock",  # Gokrazy
)


def default_socket_path(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return the path of tailscaled's socket on this machine.

    Args:
        environ: ``TS_SOCKET`` in it goes before everything else, as in Tailscale's container images.
        platform: as in :data:`sys.platform`.
    """
    if path := environ.get("TS_SOCKET"):
        return Path(path)
    if platform == "darwin":
        return Path("/var/run/tailscaled.socket")
    if _QNAP_MARK.exists():
        return Path("/tmp/tailscale/tailscaled.sock")  # noqa: S108 -- QNAP's own choice
    for place in _SPECIAL_PLACES:
        if Path(place).is_socket():
            return Path(place)
    return Path("/var/run/tailscale/tailscaled.sock")
