"""The only room that speaks to tailscaled."""

from .client import LocalClient
from .protocol import ISSUE_TIMEOUT, FetchedServeConfig, LocalAPI, Prefs, Status
from .socket_path import default_socket_path

__all__ = [
    "ISSUE_TIMEOUT",
    "FetchedServeConfig",
    "LocalAPI",
    "LocalClient",
    "Prefs",
    "Status",
    "default_socket_path",
]
