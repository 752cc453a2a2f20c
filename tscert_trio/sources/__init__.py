"""Where wanted names come from."""

from .names import FixedNames, NodeName
from .serve_config_file import ServeConfigFile
from .source import DomainSource
from .tailscaled import ServedNames

__all__ = ["DomainSource", "FixedNames", "NodeName", "ServeConfigFile", "ServedNames"]
