"""Commands that are run for a new certificate."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from ..clock import describe_duration
from ..errors import HookError, SettingsError
from .process import run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HookSettings", "run_hook"]

_LINE_CHARS = 200


@attrs.frozen(kw_only=True)
class HookSettings:
    """A command.

    Raises:
        SettingsError: it makes no sense; all faults at once, each with its key.
    """

    command: tuple[str, ...] | str
    """A program and its arguments; with :attr:`shell` one text for ``/bin/sh``."""
    shell: bool = False
    coalesce: bool = False
    """Whether it is run once for all names that changed together, with ``TSCERT_DOMAINS`` only, rather than
    once for each."""
    timeout: timedelta = timedelta(minutes=2)

    def __attrs_post_init__(self) -> None:
        faults = []
        program = self.command if isinstance(self.command, str) else "".join(self.command[:1])
        if self.shell and not isinstance(self.command, str):
            faults.append('command: with shell = true it is one text, such as "cat $TSCERT_CERT_PATH | ..."')
        elif not self.shell and isinstance(self.command, str):
            faults.append('command: want a list, such as ["systemctl", "reload", "nginx"], or shell = true')
        elif not program.strip():
            faults.append("command: names no program")
        elif any("\0" in part for part in self.command):
            faults.append("command: has a NUL in it")
        if self.timeout <= timedelta(0):
            faults.append("timeout: want more than nothing, such as 2m")
        if faults:
            raise SettingsError(faults)

    @property
    def needs_key(self) -> bool:
        """Whether it is told where the key is."""
        return not self.coalesce


async def run_hook(settings: HookSettings, environ: Mapping[str, str]) -> str:
    """Run a command until it ends; return the last 4 kB of what it wrote, without private keys.

    What it leaves running in the background is neither waited for nor ended. When its timeout is over, its
    whole process group gets SIGTERM, and SIGKILL five seconds later; so it does, within a second, when this
    is cancelled.

    Args:
        settings: the command.
        environ: variables besides those of the service.

    Raises:
        HookError: it could not be started, or took too long, or ended with another status than 0.
    """
    command: tuple[str, ...]
    if isinstance(settings.command, str):
        command, name = ("/bin/sh", "-c", settings.command), "the shell hook"
    else:
        command, name = settings.command, f"the hook {settings.command[0]}"
    seconds = settings.timeout.total_seconds()
    ended = await run_program(command, {**os.environ, **environ}, seconds=seconds, what=name)
    if ended.status == 0:
        return ended.output
    if ended.status is None:
        took = describe_duration(settings.timeout)
        how = f"took longer than {took} and was killed; see what it waits for, or give it a longer timeout"
    elif ended.status < 0:
        how = f"was ended by signal {-ended.status}"
    else:
        how = f"ended with exit status {ended.status}"
    last = ended.output.rpartition("\n")[2].strip()[:_LINE_CHARS] or "it wrote nothing; run it by hand"
    raise HookError(f"{name} {how}: {last}", output=ended.output)
