"""Where the status socket is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["default_status_socket", "status_sockets"]

_NAME = "status.sock"
_OF_THE_SYSTEM = Path("/run/tscert-trio") / _NAME


def default_status_socket(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return where the service tells how it stands: in ``RUNTIME_DIRECTORY`` (systemd), else usual places."""
    if folders := environ.get("RUNTIME_DIRECTORY"):
        return Path(folders.split(":")[0]) / _NAME
    home = Path(environ.get("HOME") or "/")
    if platform == "darwin":
        return home / "Library/Application Support/tscert-trio" / _NAME
    if os.geteuid() == 0:
        return _OF_THE_SYSTEM
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "tscert-trio" / _NAME
    return Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "tscert-trio" / _NAME


def status_sockets(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return where to look for a service: one of this user's, then the system's."""
    own = default_status_socket(environ)
    return [own] if own == _OF_THE_SYSTEM else [own, _OF_THE_SYSTEM]
