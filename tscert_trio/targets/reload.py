"""Telling a program to read its certificate anew: through systemd, or by a signal."""

from __future__ import annotations

import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

from ..errors import HookError, TargetError
from .process import run_program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_signal_target", "reload_unit", "send_signal", "unit_state"]

_UNIT = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*")
_SECONDS = 120  # a unit has 90 to start (systemd-system.conf, DefaultTimeoutStartSec)
_LARGEST_PID = 2**31 - 1
_REMEDY_BY_TEXT = tuple(
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        (
            r"access denied|authentication (?:is )?required|not permitted|permission denied|polkit",
            "run as root, or let a polkit rule allow org.freedesktop.systemd1.manage-units for {unit}",
        ),
        (
            r"not found|not loaded|could not be found|not-found|invalid unit name",
            "correct the name (systemctl list-units)",
        ),
        (
            r"not been booted with systemd|connect to (?:system )?bus",
            "there is no systemd to ask here; use a signal or a hook",
        ),
        (r"not applicable", "this unit cannot be reloaded nor restarted; use a signal or a hook"),
    )
)


async def reload_unit(unit: str) -> None:
    """Let systemd reload a unit, or restart one that cannot be reloaded. One that is stopped stays so.

    Cancelling ends systemctl within a second; the job that systemd began goes on.

    Args:
        unit: such as ``nginx.service``.

    Raises:
        HookError: systemd did not do it; the text says what to do, and systemctl's own words, which may quote
            the unit, are in the error's output only.
        TargetError: this is no name of a unit, or there is no systemctl.
    """
    if not _UNIT.fullmatch(unit):
        raise TargetError(f"{unit!r} is no name of a systemd unit; one looks like nginx.service")
    if shutil.which("systemctl") is None:
        raise TargetError(f"cannot reload {unit}: there is no systemctl; use a signal or a hook")
    command = ("systemctl", "--no-ask-password", "--no-pager", "try-reload-or-restart", unit)
    environ = {**os.environ, "LC_ALL": "C"}
    ended = await run_program(
        command,
        environ,
        seconds=_SECONDS,
        what=f"systemctl, which is to reload {unit}, where there is systemd,",
    )
    if ended.status == 0:
        return
    if ended.status is None:
        text = f"systemctl did not end within {_SECONDS} s; see journalctl -u {unit}"
    else:
        text = f"systemctl ended with status {ended.status}{_remedy_for(ended.output, unit)}"
    raise HookError(f"cannot reload {unit}: {text}", output=ended.output)


async def unit_state(unit: str) -> tuple[str, str]:
    """Return what systemd knows of a unit: its load state and its active state.

    Args:
        unit: such as ``nginx.service``.

    Returns:
        Such as ``("loaded", "active")``, or ``("not-found", "inactive")``.

    Raises:
        HookError: systemd does not say.
        TargetError: there is no systemctl.
    """
    if shutil.which("systemctl") is None:
        raise TargetError(f"cannot reload {unit}: there is no systemctl; use a signal or a hook")
    command = (
        "systemctl",
        "--no-pager",
        "show",
        "--property=LoadState",
        "--property=ActiveState",
        "--",
        unit,
    )
    ended = await run_program(command, {**os.environ, "LC_ALL": "C"}, seconds=5, what="systemctl")
    found = dict(line.split("=", 1) for line in ended.output.splitlines() if "=" in line)
    if ended.status != 0 or not {"LoadState", "ActiveState"} <= found.keys():
        remedy = _remedy_for(ended.output, unit)
        raise HookError(
            f"cannot reload {unit}: systemctl does not say how it is{remedy}", output=ended.output
        )
    return found["LoadState"], found["ActiveState"]


def _remedy_for(said: str, unit: str) -> str:
    said = " ".join(said.split())
    remedies = (remedy for pattern, remedy in _REMEDY_BY_TEXT if pattern.search(said))
    return f"; {next(remedies, 'see journalctl -u {unit}').format(unit=unit)}"


def send_signal(pidfile: Path, signal_name: str) -> None:
    """Send a signal to the process that wrote its number into a file.

    Args:
        pidfile: the file; the first line counts, as in PostgreSQL's, which has more.
        signal_name: such as ``HUP`` or ``SIGHUP``.

    Raises:
        TargetError: there is no such signal, file or process, or it may not be sent.
    """
    _signal(pidfile, signal_name, is_sent=True)


def check_signal_target(pidfile: Path, signal_name: str) -> int:
    """See that :func:`send_signal`, which takes and raises the same, would send; return to which process."""
    return _signal(pidfile, signal_name, is_sent=False)


def _signal(pidfile: Path, signal_name: str, *, is_sent: bool) -> int:
    name = signal_name.upper()
    try:
        signum = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise TargetError(f"there is no signal {signal_name!r}; most programs take HUP or USR1") from None
    try:
        with pidfile.open("rb") as file:
            text = file.readline(64).decode("ascii", "replace").strip()
    except OSError as exc:
        raise TargetError(
            f"cannot read the process's number in {pidfile}: {exc.strerror}; see that the program runs and "
            "writes it there"
        ) from exc
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _LARGEST_PID):
        raise TargetError(
            f"there is no process's number in {pidfile}; see that it is the file the program writes"
        )
    pid = int(text)
    try:
        os.kill(pid, 0)
        if is_sent:
            os.kill(pid, signum)
    except ProcessLookupError:
        raise TargetError(
            f"process {pid}, which {pidfile} names, does not run; start the program: it then has the new "
            "certificate"
        ) from None
    except PermissionError:
        raise TargetError(
            f"process {pid}, which {pidfile} names, may not be sent {signum.name} by this user; run as root "
            "or as the program's user"
        ) from None
    return pid
