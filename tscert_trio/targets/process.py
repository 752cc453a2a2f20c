"""Programs that are run, with all that they start, for a bounded time and with bounded output."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import attrs
import trio

from ..errors import HookError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Ended", "run_program"]

_OUTPUT_CHARS = 4096
_KEPT_BYTES = 32 * 1024  # the longest private key fits in, so that its end is never without its beginning
_PIPE_BYTES = 1024 * 1024  # the largest pipe
_TERM_SECONDS = 5
_CANCEL_SECONDS = 0.5  # twice: to end by itself, and to be gone
_KEY = re.compile(
    r"(?:-----BEGIN [A-Z ]*PRIVATE KEY-----|\A(?=(?:[A-Za-z0-9+/=]+\s+)*-----END [A-Z ]*PRIVATE KEY-----))"
    r".*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


@attrs.frozen(kw_only=True)
class Ended:
    """How a program ended."""

    status: int | None
    """As Python counts: negative for a signal; ``None`` where its time was over."""
    output: str
    """The end of what it wrote to standard output and error, without private keys."""


async def run_program(
    command: Sequence[str], environ: Mapping[str, str], *, seconds: float, what: str
) -> Ended:
    """Run a program in a session of its own, with nothing on its standard input, until it ends.

    What it started and left running is not waited for and, where it ended by itself, not harmed. When its
    time is over, all of its process group get SIGTERM, and SIGKILL five seconds later.

    Cancelling: all of its group get SIGTERM at once and SIGKILL half a second later; it takes a second at
    most.

    Args:
        command: the program and its arguments.
        environ: its whole environment.
        seconds: how long it may take.
        what: what it is, for errors.

    Raises:
        HookError: it could not be started.
    """
    process = await _start(command, environ, what)
    assert process.stdout is not None
    tail = bytearray()
    is_over = has_ended = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, process.stdout, tail)
            with trio.move_on_after(seconds) as scope:
                await process.wait()
            if scope.cancelled_caught:
                is_over = True
                await _end(process, _TERM_SECONDS)
            has_ended = True
            nursery.cancel_scope.cancel(reason="the program has ended")
    finally:
        if not has_ended:  # cancelled
            with trio.CancelScope(shield=True):
                await _end(process, _CANCEL_SECONDS)
        _drain(process.stdout, tail)
        await trio.aclose_forcefully(process.stdout)
    return Ended(status=None if is_over else process.returncode, output=_text(tail))


async def _start(command: Sequence[str], environ: Mapping[str, str], what: str) -> trio.Process:
    try:
        return await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )
    except FileNotFoundError:
        remedy = "give its full path; if that is right, the program in its #! line is missing"
        raise HookError(f"{what} is not found: {remedy}") from None
    except PermissionError:
        raise HookError(f"{what} may not be run: make it executable (chmod +x)") from None
    except OSError as exc:
        remedy = "a script needs #!/bin/sh as its first line" if exc.errno == 8 else "look at the system"
        raise HookError(f"{what} cannot be started: {exc.strerror}; {remedy}") from None
    except ValueError as exc:  # a NUL
        raise HookError(f"{what} cannot be started: {exc}; correct the command") from None


async def _end(process: trio.Process, seconds: float) -> None:
    """End a whole process group: first kindly, and after some seconds for certain."""
    _signal_group(process, signal.SIGTERM)
    with trio.move_on_after(seconds):
        await process.wait()
    _signal_group(process, signal.SIGKILL)  # its children, where it has ended itself
    with trio.move_on_after(seconds):  # nothing ends one that waits for a dead disk
        await process.wait()


def _signal_group(process: trio.Process, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; or another user's, by setuid
        os.killpg(process.pid, signum)


async def _read(stream: trio.abc.ReceiveStream, tail: bytearray) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        async for chunk in stream:
            tail += chunk
            del tail[:-_KEPT_BYTES]


def _drain(stream: trio.abc.ReceiveStream, tail: bytearray) -> None:
    """Take what is in the pipe already. Its end may never come: a child may hold it."""
    assert isinstance(stream, trio.lowlevel.FdStream)
    left = _PIPE_BYTES
    with contextlib.suppress(BlockingIOError):
        while left > 0 and (chunk := os.read(stream.fileno(), _KEPT_BYTES)):
            left -= len(chunk)
            tail += chunk
            del tail[:-_KEPT_BYTES]


def _text(tail: bytearray) -> str:
    text = _KEY.sub("(private key left out)", tail.decode(errors="replace"))
    shown = "".join(
        char if char.isprintable() or char in "\n\t" else "?" for char in text.replace("\r\n", "\n")
    )
    return shown[-_OUTPUT_CHARS:].strip()
