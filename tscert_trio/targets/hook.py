"""Commands that are run for a new certificate."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..clock import describe_duration
from ..errors import HookError
from .process import run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..target_settings import HookSettings

__all__ = ["run_hook"]


def _inherited() -> dict[str, str]:
    """Return the service's environment without what is for the service alone."""
    own = ("TSCERT_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


async def run_hook(settings: HookSettings, environ: Mapping[str, str]) -> str:
    """Run a command until it ends; return the last 4 kB of what it wrote, without private keys.

    What it leaves running in the background is neither waited for nor ended. When its timeout is over, its
    whole process group gets SIGTERM, and SIGKILL five seconds later; so it does, within a second, when this
    is cancelled.

    Args:
        settings: the command.
        environ: variables besides those of the service.

    Raises:
        HookError: it could not be started, or took too long, or ended with another status than 0. What it
            wrote is in the error's output, and not in its text.
    """
    command, name = settings.command, f"the hook {settings.command[0]}"
    if settings.shell:
        command, name = ("/bin/sh", "-c", *settings.command), "the shell hook"
    seconds = settings.timeout.total_seconds()
    ended = await run_program(command, {**_inherited(), **environ}, seconds=seconds, what=name)
    if ended.status == 0:
        return ended.output
    if ended.status is None:
        took = describe_duration(settings.timeout)
        how = f"took longer than {took} and was killed; see what it waits for, or give it a longer timeout"
    elif ended.status < 0:
        how = f"was ended by signal {-ended.status}"
    else:
        how = f"ended with exit status {ended.status}"
    silent = "" if ended.output else ", and wrote nothing; run it by hand"
    raise HookError(f"{name} {how}{silent}", output=ended.output)
