"""systemd's notify protocol (``sd_notify(3)``): ready, status, stopping, watchdog."""

from __future__ import annotations

import math
import os
import socket
from typing import TYPE_CHECKING

import trio

from ..clock import Clock, system_clock
from ..statistics import CertManagerStatistics, DomainState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..cert_manager import CertManager

__all__ = ["keep_systemd_informed", "notify", "status_line"]

_MAX_STATUS_SECONDS = 30
_STATUS_CHARS = 500  # a datagram that is too long is lost


def notify(message: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell systemd something, such as ``READY=1``; without systemd do nothing."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(message.encode(), address.replace("@", "\0", 1))
        except OSError:
            return  # systemd is busy or gone; it is told again soon


async def keep_systemd_informed(
    manager: CertManager, environ: Mapping[str, str] = os.environ, clock: Clock = system_clock
) -> None:
    """Tell systemd how things stand and, thereby, that the service is alive, until cancelled.

    Often at first, then every half a minute, and three times within ``WatchdogSec``.
    """
    if not environ.get("NOTIFY_SOCKET"):
        return
    watchdog = _watchdog_seconds(environ)
    pause, told = 1.0, ""
    while True:
        notify("WATCHDOG=1", environ)
        status = status_line(manager.statistics(), clock())
        if status != told:
            notify(f"STATUS={status}", environ)
            told = status
        await trio.sleep(min(pause, watchdog / 3))
        pause = min(2 * pause, _MAX_STATUS_SECONDS)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return within how many seconds systemd wants a sign of life from this process."""
    if environ.get("WATCHDOG_PID") not in {None, "", str(os.getpid())}:
        return math.inf
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else math.inf


def status_line(statistics: CertManagerStatistics, now: datetime) -> str:
    """Return how all names stand, in one line."""
    domains = statistics.domains
    failed = [each for each in domains if each.last_error is not None]
    waiting = sum(each.state is DomainState.WAITING for each in domains)
    valid = sum(each.leaf is not None and each.leaf.valid_at(now) for each in domains)
    line = f"{valid} of {len(domains)} names have a valid certificate"
    if waiting:
        line += f", {waiting} waiting to become CertDomains"
    limited = [each for each in domains if each.state is DomainState.LIMITED]
    if limited:
        line += f", {len(limited)} waiting for a limit of the CA"
    if failed:
        line += f", {len(failed)} failing, such as {failed[0].domain}: {failed[0].last_error}"
    troubled = [each for each in statistics.deliveries if each.error is not None]
    if troubled:
        line += (
            f", {len(troubled)} deliveries failing, such as {troubled[0].domain} to {troubled[0].target}: "
        )
        line += troubled[0].error or ""
    return line[:_STATUS_CHARS]
