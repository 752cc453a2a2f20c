"""A stand-in for ``systemctl`` that reloads the servers of a test where systemd does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .server import Server

_BRANCH = """\
{unit})
    cd {server.folder}
    kill -0 $(head -n 1 {server.pidfile} 2>/dev/null) 2>/dev/null || exit 0 # a unit that is not active
    {server.reload_script}
    ;;
"""
_SCRIPT = """\
#!/bin/sh
echo "$*" >>{calls}
for unit; do :; done
case "$unit" in
{branches}
*)
    echo "Failed to reload $unit: Unit $unit not found." >&2
    exit 5
    ;;
esac
"""


def write_systemctl(folder: Path, units: Mapping[str, Server]) -> Path:
    """Put ``systemctl`` into a folder that the test puts first in ``PATH``; the last argument is the unit.

    It does as ``try-reload-or-restart`` does: a unit that is not active is left alone, which is a success.

    Returns:
        The file that gets a line for each call, with its arguments.
    """
    calls = folder / "calls"
    branches = "".join(_BRANCH.format(unit=unit, server=server) for unit, server in units.items())
    program = folder / "systemctl"
    program.write_text(_SCRIPT.format(calls=calls, branches=branches))
    program.chmod(0o755)
    return calls
