"""Child processes with a log each, ended by their own handles."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def spawn(
    argv: list[str | Path], *, log: Path, environ: Mapping[str, str] | None = None, stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in the folder of its log; its standard error goes to the log."""
    output: IO[bytes]
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            cwd=log.parent,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the tests, which then end it
        )


def end(child: subprocess.Popen[bytes], *, patience: float = 10) -> None:
    """Terminate a process, and kill it if it is still there after ``patience`` seconds."""
    child.terminate()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def wait_until_listening(address: str | tuple[str, int], child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a program accepts connections, for 60 s at most.

    Raises:
        RuntimeError: It ended, or does not listen in time; the text holds the end of its log.
    """

    def connects() -> bool:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with socket.socket(family) as sock, contextlib.suppress(OSError):
            sock.connect(address)
            return True
        return False

    poll(connects, child, log)


def poll(condition: Callable[[], bool], child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a condition while a program runs, for 60 s at most.

    Raises:
        RuntimeError: It ended, or the time is over; the text holds the end of its log.
    """
    deadline = time.monotonic() + 60
    while not condition():
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{child.args!r}: ended with {child.poll()} or is not ready\n{tail(log)}")
        time.sleep(0.01)


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-30:])


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
