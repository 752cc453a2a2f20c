"""systemd's notify protocol (``sd_notify(3)``): ready, status, stopping, watchdog."""

from __future__ import annotations

import logging
import math
import os
import socket
from typing import TYPE_CHECKING

import trio

from ..clock import Clock, system_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..cert_manager import CertManager

__all__ = ["keep_systemd_informed", "notify"]

_logger = logging.getLogger(__name__)

_MAX_STATUS_SECONDS = 30
_STATUS_CHARS = 500  # a datagram that is too long is lost: systemd reads 4 KiB
_LIFELESS_LOOKS = 2
"""So many in a row are told: just after a suspend all names are late, until the loops have run."""


def notify(message: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd something, such as ``STOPPING=1``; without systemd do nothing.

    Returns:
        Whether systemd has it, or there is none; else it is busy or gone, and has to be told again.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(message.encode(errors="replace"), address.replace("@", "\0", 1))
        except OSError:
            return False
    return True


async def keep_systemd_informed(
    manager: CertManager, environ: Mapping[str, str] = os.environ, clock: Clock = system_clock
) -> None:
    """Tell systemd that the service is ready, how things stand, and that its engine turns.

    Often at first, then every half a minute, and three times within ``WatchdogSec``, until cancelled. What
    systemd does not take is told again.

    Args:
        manager: what is told about.
        environ: where systemd says how it wants to be told.
        clock: the present time.
    """
    if not environ.get("NOTIFY_SOCKET"):
        return
    from ..status.health import liveness
    from ..status.making import make_report

    watchdog = _watchdog_seconds(environ)
    pause, told, lifeless_looks, is_ready_told = 1.0, "", 0, False
    while True:
        is_ready_told = is_ready_told or notify("READY=1", environ)
        statistics, now = manager.statistics(), clock()
        if reasons := liveness(statistics, now):
            lifeless_looks += 1
            if lifeless_looks == _LIFELESS_LOOKS:
                _logger.error(
                    "the engine stands still: %s. systemd is told no more that this service is alive, and "
                    "restarts it where the unit has WatchdogSec; else restart it; and report a bug",
                    reasons[0],
                )
        else:
            lifeless_looks = 0
            notify("WATCHDOG=1", environ)
        status = " ".join(make_report(statistics, now).summary.split())[:_STATUS_CHARS]
        if status != told and notify(f"STATUS={status}", environ):
            told = status
        await trio.sleep(min(pause, watchdog / 3))
        pause = min(2 * pause, _MAX_STATUS_SECONDS)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return within how many seconds systemd wants a sign of life from this process."""
    if environ.get("WATCHDOG_PID") not in {None, "", str(os.getpid())}:
        return math.inf
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else math.inf
