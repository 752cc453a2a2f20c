"""Keep the certificates of all wanted names fresh until stopped; SIGHUP re-reads the configuration."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from ..errors import UnreachableError
from ..service import serve
from ..settings import Settings
from .logs import configure_logging
from .systemd import keep_systemd_informed, notify

if TYPE_CHECKING:
    import argparse

__all__ = ["command"]


def command(options: argparse.Namespace) -> int:
    """Run the service; return the exit status."""
    settings = Settings.load(vars(options))
    configure_logging(settings.log_format, settings.log_level)
    if options.sandbox:
        from .demo import run_demo  # with it come the sandbox and its certificate authority

        return trio.run(run_demo, settings)
    if settings.socket.exists() and not settings.socket.is_socket():
        raise UnreachableError(f"tailscaled's socket {settings.socket}: is no socket")
    trio.run(run_until_signalled, settings)
    return 0


async def run_until_signalled(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            manager = await nursery.start(serve, settings)
            nursery.start_soon(keep_systemd_informed, manager)
            notify("READY=1")
            async for signum in signals:
                if signum != signal.SIGHUP:
                    break
                manager.hints.give()
            notify("STOPPING=1")
            nursery.cancel_scope.cancel(reason=f"received {signal.Signals(signum).name}")
