"""Where wanted names come from."""

from .names import FixedNames, NodeName, own_name
from .serve_config_file import NO_HTTPS, ServeConfigFile, filled_in
from .source import DomainSource, WantedNames
from .tailscaled import ServedNames

__all__ = [
    "NO_HTTPS",
    "DomainSource",
    "FixedNames",
    "NodeName",
    "ServeConfigFile",
    "ServedNames",
    "WantedNames",
    "filled_in",
    "own_name",
]
