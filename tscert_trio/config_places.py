"""Where a configuration file is, and what it says of places: for commands that start fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEMORY", "NO_SOCKET", "default_config_files", "read_texts"]

MEMORY = Path(":memory:")
"""As the state folder: nothing is written down."""
NO_SOCKET = Path("none")
"""As the status socket: there is none."""

_FILE = "config.toml"
_SYSTEM_FILE = Path("/etc/tscert-trio.toml")
_OF_THE_UNIT = Path("/etc/tscert-trio") / _FILE
"""Where systemd's unit of the package has it, which nobody but the service is told."""


def default_config_files(
    environ: Mapping[str, str] = os.environ, platform: str = sys.platform, system_file: Path = _SYSTEM_FILE
) -> tuple[Path, ...]:
    """Return where a configuration file is looked for; the first one that exists is meant."""
    places = []
    home = environ.get("HOME")
    if folders := environ.get("CONFIGURATION_DIRECTORY"):  # of systemd
        places = [Path(folder) / _FILE for folder in folders.split(":")]
    elif folder := environ.get("XDG_CONFIG_HOME"):
        places = [Path(folder) / "tscert-trio" / _FILE]
    elif home and platform == "darwin":
        places = [Path(home) / "Library/Application Support/tscert-trio" / _FILE]
    elif home:
        places = [Path(home) / ".config/tscert-trio" / _FILE]
    return (*places, system_file)


def read_texts(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the configuration file says in texts, by key; of one that cannot be read nothing.

    Args:
        environ: says which file is meant.
    """
    given = environ.get("TSCERT_CONFIG")
    for path in [Path(given)] if given else [*default_config_files(environ), _OF_THE_UNIT]:
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError):
            break
        return _texts(text)
    return {}


def _texts(text: str) -> dict[str, str]:
    import tomllib

    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {key: value for key, value in table.items() if isinstance(value, str) and "\0" not in value}
