"""Keep the certificates of all wanted names fresh until stopped; SIGHUP re-reads the configuration."""

from __future__ import annotations

import logging
import signal
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..errors import SourceError
from ..service import open_journal, serve
from ..settings import Settings
from .logs import configure_logging
from .systemd import keep_systemd_informed, notify

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from ..journal import Journal

__all__ = ["command"]

_logger = logging.getLogger(__name__)


def command(options: argparse.Namespace) -> int:
    """Run the service; return the exit status."""
    settings = Settings.load(vars(options))
    configure_logging(settings.log_format, settings.log_level)
    if options.sandbox:
        from .demo import run_demo  # with it come the sandbox and its certificate authority

        return trio.run(run_demo, settings)
    if _is_no_socket(settings.socket):
        raise SourceError(f"tailscaled's socket {settings.socket}: is no socket; give its own with --socket")
    with open_journal(settings) as journal:
        trio.run(run_until_signalled, settings, journal)
    return 0


def _is_no_socket(path: Path) -> bool:
    try:
        return path.exists() and not path.is_socket()
    except PermissionError:
        return False  # nobody can tell; the service will say so


async def run_until_signalled(settings: Settings, journal: Journal | None = None) -> None:
    """Run the service until SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            manager = await nursery.start(partial(serve, settings, journal=journal))
            nursery.start_soon(keep_systemd_informed, manager)
            notify("READY=1")
            async for signum in signals:
                name = signal.Signals(signum).name
                if signum != signal.SIGHUP:
                    break
                _logger.info("received %s: looking at the configuration again", name)
                manager.hints.give()
            _logger.info("received %s: ending", name)
            notify("STOPPING=1")
            nursery.cancel_scope.cancel(reason=f"received {name}")
