"""The configuration file: found, and read strictly.

What reads TOML and makes objects of it is imported once there is a file: a service without one starts faster.
"""

from ..config_places import default_config_files
from .reading import ConfigFile, read_config_file

__all__ = ["ConfigFile", "default_config_files", "read_config_file"]
