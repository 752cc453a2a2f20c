"""Look at everything that certificates depend on, and tell what is wrong and what to do; change nothing.

A service that runs is asked how it stands, too. Where its settings are not those given
here, that is told first.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from ..doctor import Level, examine
from ..errors import StatusServiceError
from ..settings import NO_SOCKET, Settings
from ..status.client import reach
from ..status.place import status_sockets
from ..survey import RunningService
from .arguments import add_run_options
from .plain import can_show, coloured, let_all_print, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..doctor import Finding

__all__ = ["add_arguments", "command"]

_NOBODY = (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)
"""Why a socket cannot be reached on which no service listens."""
_MARKS = {  # in UTF-8, in ASCII, and in colour
    Level.GOOD: ("✓", "ok", "green"),
    Level.WARNING: ("!", "warning", "yellow"),
    Level.BAD: ("✗", "BAD", "red"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command: those of "run"."""
    add_run_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(command=command)


def command(options: argparse.Namespace) -> int:
    """Examine and print; return 0 where nothing is bad, 1 where something is, 2 where the settings are."""
    settings, faults = Settings.load_leniently(vars(options))
    findings = trio.run(partial(examine, settings, faults=faults, running=_running(settings)))
    let_all_print()
    if options.json:
        print_json([_as_json(finding) for finding in findings], indent=2)
    else:
        for finding in findings:
            _print(finding)
        print(_summary(findings))
    if faults:
        return 2
    return int(any(finding.level is Level.BAD for finding in findings))


def _running(settings: Settings) -> RunningService | StatusServiceError | None:
    """Return the service that runs here, as it says it stands, or why it does not; ``None``: none runs."""
    if settings.status_socket == NO_SOCKET:
        return None
    try:
        client = reach(list(dict.fromkeys([settings.status_socket, *status_sockets()])))
        return RunningService(report=client.status(), socket=client.path, process=client.process())
    except StatusServiceError as exc:
        return None if isinstance(exc.__cause__, _NOBODY) else exc


def _as_json(finding: Finding) -> dict[str, str | None]:
    return {
        "level": finding.level.value,
        "check": finding.check,
        "text": finding.text,
        "remedy": finding.remedy,
    }


def _print(finding: Finding) -> None:
    shown, ascii_mark, colour = _MARKS[finding.level]
    mark, arrow = (shown, "→") if can_show() else (ascii_mark, "->")
    print(f"{coloured(mark, colour)} {finding.check}: {finding.text}")
    if finding.remedy is not None:
        print(f"  {arrow} {finding.remedy}")


def _summary(findings: Sequence[Finding]) -> str:
    bad, warnings = (
        sum(finding.level is level for finding in findings) for level in (Level.BAD, Level.WARNING)
    )
    if not bad and not warnings:
        return "All is well."
    parts = []
    if bad:
        parts.append(f"{bad} {'thing is' if bad == 1 else 'things are'} bad")
    if warnings:
        parts.append(f"{warnings} {'warning' if warnings == 1 else 'warnings'}")
    return f"{', '.join(parts)}; the rest is well."
