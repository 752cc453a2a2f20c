"""The two processes of one measurement, and what Linux says about the one that is measured."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

SERVER = Path(__file__).resolve().parent / "server.py"
ANSWER_SECONDS = 120
END_SECONDS = 60
PREFIXES = ("TSCERT_", "TS_", "NOTIFY_", "WATCHDOG_", "PYTHON", "GO")  # would change what a program does


class BenchError(Exception):
    """One measurement could not be made; the table shows the reason."""


@dataclass(eq=False)
class Server:
    """The sandbox in its own process."""

    process: subprocess.Popen[bytes]
    socket: Path
    serve_config: Path

    def ask(self, command: str) -> dict[str, Any]:
        """Send one command of ``server.py`` and return its answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{command}\n".encode())
        except BrokenPipeError:
            raise BenchError("the server has died; its traceback is above") from None
        return self.read()

    def read(self) -> dict[str, Any]:
        """Return the next line, parsed."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], ANSWER_SECONDS)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            raise BenchError("the server does not answer")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def open_server(
    folder: Path, *, release: str, domains: int, peers: int, waiting: bool = False
) -> Iterator[Server]:
    """Run ``server.py`` in ``folder`` (a short path: it holds the socket) while the body runs."""
    socket, config = folder / "s", folder / "serve.json"
    command: list[str | Path] = [
        sys.executable,
        SERVER,
        "--release",
        release,
        "--domains",
        str(domains),
        "--peers",
        str(peers),
    ]
    command += ["--socket", socket, "--serve-config", config, *(["--waiting"] if waiting else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        server = Server(process, socket, config)
        try:
            server.read()
            yield server
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(eq=False)
class Program:
    """A process under measurement. Leaving the context kills it if it still runs."""

    command: Sequence[str | Path]
    log: Path
    started: float = field(init=False)
    """When, in seconds since the epoch."""
    process: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        """Start it, with its output in ``log``."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
        with self.log.open("wb") as log:
            self.started = time.time()
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def check(self) -> None:
        """Raise if it has ended by itself."""
        if self.process.poll() is not None:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise BenchError(f"ended with status {self.process.returncode}: {' '.join(last)}")

    def cpu(self) -> float:
        """Return the CPU seconds it has used: user and system, threads that ended included.

        This is ``utime + stime`` of ``/proc/PID/stat`` without its rounding to 10 ms, which a program that
        uses 5 ms would not survive: the process's CPU-time clock (``clock_getcpuclockid(3)``).
        """
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def peak_memory(self) -> float:
        """Return the most resident memory it has had, in MB of 1,048,576 bytes (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def settled_cpu(self, *, quiet: float = 1.0, limit: float = 60.0) -> float:
        """Wait until it has done nearly nothing for ``quiet`` seconds, and return its CPU seconds then."""
        deadline = time.monotonic() + limit
        before = self.cpu()
        while time.monotonic() < deadline:
            time.sleep(quiet)
            self.check()
            now = self.cpu()
            if now - before < 0.003 * quiet:
                return now
            before = now
        raise BenchError(f"still busy {limit:.0f} s after the last certificate")

    def terminate(self) -> float:
        """Send SIGTERM and return how many seconds it took to end."""
        ended = os.pidfd_open(self.process.pid)  # Popen.wait polls, and so rounds to 50 ms
        before = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        readable, _, _ = select.select([ended], [], [], END_SECONDS)
        took = time.monotonic() - before
        os.close(ended)
        if not readable:
            raise BenchError(f"does not end within {END_SECONDS} s of SIGTERM")
        if (status := self.process.wait()) != 0:
            raise BenchError(f"SIGTERM: exit status {status}")
        return took
