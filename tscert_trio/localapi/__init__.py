"""The only room that speaks to tailscaled."""

from .client import LocalClient
from .protocol import ISSUE_TIMEOUT, FetchedServeConfig, LocalAPI, Status
from .socket_path import default_socket_path

__all__ = ["ISSUE_TIMEOUT", "FetchedServeConfig", "LocalAPI", "LocalClient", "Status", "default_socket_path"]
