"""Keep the certificates of all wanted names fresh until stopped; SIGHUP re-reads the configuration."""

from __future__ import annotations

import logging
import signal
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from ..errors import SettingsError, SourceError
from ..service import open_journal, serve
from ..settings import Settings
from .arguments import add_run_options
from .logs import configure_logging
from .systemd import keep_systemd_informed, notify

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from ..cert_manager import CertManager
    from ..journal import Journal

__all__ = ["add_arguments", "command"]

_logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_run_options(parser)
    parser.add_argument(
        "--sandbox", action="store_true", help="show the main job on a fake tailscaled, in 20 seconds"
    )
    parser.set_defaults(command=command)


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
        trio.run(run_until_signalled, settings, journal, partial(Settings.load, vars(options)))
    return 0


def _is_no_socket(path: Path) -> bool:
    try:
        return path.exists() and not path.is_socket()
    except PermissionError:
        return False  # nobody can tell; the service will say so


@attrs.frozen(eq=False)
class _Run:
    """The service with the settings it has at present."""

    manager: CertManager
    scope: trio.CancelScope
    ended: trio.Event


async def run_until_signalled(
    settings: Settings, journal: Journal | None = None, load: Callable[[], Settings] | None = None
) -> None:
    """Run the service until SIGTERM or SIGINT.

    Args:
        settings: what is wanted, and how.
        journal: remembers over a restart.
        load: reads the settings again, at SIGHUP.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            run: _Run = await nursery.start(_serve, settings, journal)
            async for signum in signals:
                name = signal.Signals(signum).name
                if signum != signal.SIGHUP:
                    break
                _logger.info("received %s: looking at the configuration again", name)
                found, refusal = _load_again(settings, load)
                if refusal is not None or found == settings:
                    run.manager.tell_refusal(refusal)
                    run.manager.hints.give()
                    run.manager.try_deliveries_again()
                    continue
                _logger.info("the configuration has changed: beginning anew with it; nothing is forgotten")
                configure_logging(found.log_format, found.log_level)
                settings = found
                run.scope.cancel(reason="the configuration has changed")
                await run.ended.wait()
                run = await nursery.start(_serve, settings, journal)
            _logger.info("received %s: ending", name)
            notify("STOPPING=1")
            nursery.cancel_scope.cancel(reason=f"received {name}")


async def _serve(
    settings: Settings, journal: Journal | None, task_status: trio.TaskStatus[_Run] = trio.TASK_STATUS_IGNORED
) -> None:
    ended = trio.Event()
    try:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                manager = await nursery.start(partial(serve, settings, journal=journal))
                nursery.start_soon(keep_systemd_informed, manager)
                task_status.started(_Run(manager, scope, ended))
    finally:
        ended.set()


def _load_again(settings: Settings, load: Callable[[], Settings] | None) -> tuple[Settings, str | None]:
    """Return the settings that hold from now on, and why others were refused, where they were."""
    if load is None:
        return settings, None
    try:
        found = load()
    except SettingsError as exc:
        for fault in exc.faults:
            _logger.error("the configuration stays as it was: %s", fault)  # noqa: TRY400 -- no bug
        return settings, f"the configuration stays as it was, since the new one makes no sense: {exc}"
    if found.state != settings.state:
        _logger.warning("the state folder stays %s: a restart changes it", settings.state)
        found = attrs.evolve(found, state=settings.state)
    return found, None
