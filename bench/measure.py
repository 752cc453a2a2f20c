"""One measurement of one program: started, fed, settled, read, ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build import build
from processes import BenchError, Program, Server, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS, GO_OLD, GO_NEW = "tscert-trio", "Go kube/certs 1.86.5", "Go kube/certs 1.104.5"
OLD, NEW = "1.86.5", "1.104.5"
HERE = Path(__file__).resolve().parent
ENGINE_PARTS = {
    "year": "engine.py",
    "journal": "engine.py",
    "statistics": "engine.py",
    "delivery": "delivery.py",
    "status": "status.py",
}
ENGINE_SECONDS = 600
IMPORT_TRIO = """
import time, trio
print(time.process_time(), open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@dataclass(frozen=True)
class Row:
    """One load, with the goals for ours."""

    domains: int
    peers: int
    cpu: float
    """Goal, in seconds."""
    memory: float
    """Goal, in MB."""
    limit: float
    """Seconds until every certificate must be in."""
    first: float | None = None
    """Goal for the first request, in seconds after process start."""
    memory_needed: int = 0
    """MB that must be free for Go 1.86.5 and its server."""

    @property
    def name(self) -> str:
        """As ``--rows`` takes it."""
        return f"{self.domains}/{self.peers}"


@dataclass(frozen=True)
class Sample:
    """What one run of one program gave."""

    cpu: float
    """Seconds, from process start until every first certificate was in."""
    memory: float
    """The most resident memory until then, in MB."""
    first: float
    """Seconds from process start to its first certificate request."""
    all_in: float
    """Seconds from process start to the last first issuance."""
    end: float
    """Seconds from SIGTERM to exit."""
    watches: int
    """Bus watches opened in all."""
    peak: int
    """Connections open at once, at most."""
    idle: int
    """Connections open when all is done."""
    missing: int
    """Certificates that were not in when the row's time was over."""
    idle_cpu: float | None = None
    """Milliseconds a minute, if asked for."""


def measure(row: Row, program: str, release: str, *, idle_seconds: float = 0) -> Sample:
    """Run one contestant from its start, until every first certificate is in, to its end.

    Where the row's time is over before all certificates are in, the sample says how many are missing.

    Raises:
        BenchError: It ended by itself, or got no certificate at all.
    """
    with (
        short_folder() as folder,
        open_server(folder, release=release, domains=row.domains, peers=row.peers) as server,
        Program(command_of(program, server, folder), folder / "log") as process,
    ):
        missing = wait_for_certificates(server, process, row)
        cpu = process.cpu() if missing else process.settled_cpu()
        memory = process.peak_memory()
        counts = server.ask("stats")
        if not counts["orders"]:
            raise BenchError(f"no certificate at all after {row.limit:.0f} s")
        idle_cpu = None
        if idle_seconds:
            time.sleep(idle_seconds)
            idle_cpu = (process.cpu() - cpu) * 1_000 * 60 / idle_seconds
        return Sample(
            cpu=cpu,
            memory=memory,
            first=counts["first_cert"] - process.started,
            all_in=counts["last_order"] - process.started,
            watches=counts["watches"],
            peak=counts["peak"],
            idle=counts["open"],
            missing=missing,
            idle_cpu=idle_cpu,
            end=process.terminate(),
        )


def wait_for_certificates(server: Server, process: Program, row: Row) -> int:
    """Wait until the CA has served an order for each domain; return how many are missing after all."""
    while (orders := int(server.ask("stats")["orders"])) < row.domains:
        process.check()
        if time.time() > process.started + row.limit:
            return row.domains - orders
        time.sleep(0.05 if row.domains < 100 else 0.25)
    return 0


def measure_burst(*, waiting: int, peers: int, changes: int) -> float:
    """Return the CPU seconds that ours spends on a burst of whole netmaps while names wait."""
    with (
        short_folder() as folder,
        open_server(folder, release=OLD, domains=waiting, peers=peers, waiting=True) as server,
        Program(command_of(OURS, server, folder), folder / "log") as process,
    ):
        time.sleep(2)
        before = process.settled_cpu()
        server.ask(f"changes {changes} 0.1")
        used = process.settled_cpu() - before
        if (counts := server.ask("stats"))["orders"]:
            raise BenchError(f"{counts['orders']} certificates for names that wait")
        process.terminate()
        return used


def measure_import() -> tuple[float, float]:
    """Return the CPU seconds and MB of ``import trio`` alone."""
    command = [sys.executable, "-c", IMPORT_TRIO]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, kilobytes = output.split()
    return float(seconds), int(kilobytes) / 1024


def measure_engine(part: str, *, quick: bool) -> list[tuple[str, str, str]]:
    """Return the lines of one part of the engine: (what, goal, measured).

    Raises:
        BenchError: It failed, or took too long.
    """
    command = [sys.executable, HERE / ENGINE_PARTS[part], part, *(["--quick"] if quick else [])]
    try:
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=ENGINE_SECONDS).stdout
    except subprocess.CalledProcessError as error:
        raise BenchError(f"ended with status {error.returncode}; its traceback is above") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"not done after {ENGINE_SECONDS} s") from None
    return [(what, goal, measured) for what, goal, measured in json.loads(output)]


def command_of(program: str, server: Server, folder: Path) -> list[str | Path]:
    """Return the command line of one contestant.

    Ours keeps a journal in the folder, as it does everywhere; with Let's Encrypt's limits it would order
    300 certificates in three hours, and no more.
    """
    if program == OURS:
        script = Path(sys.executable).parent / "tscert-trio"
        ours: list[str | Path] = [script] if script.exists() else [sys.executable, "-m", "tscert_trio"]
        return [*ours, "run", "--socket", server.socket, "--state", folder / "state", "--ca-limits", "none"]
    release = program.rsplit(maxsplit=1)[-1]
    return [build(release), "--socket", server.socket, "--serve-config", server.serve_config]


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder whose path leaves room for a socket's name (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="tscert-bench-") as name:
        yield Path(name)
