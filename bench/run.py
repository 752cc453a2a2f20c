"""Measure ``tscert-trio run`` beside Tailscale's own manager, and print one table. README.rst explains it.

python bench/run.py [--quick] [--rows 1/10,1000/10] [--runs 3] [--idle-seconds 60] [--no-go]
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import resource
import statistics
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

from build import build
from measure import (
    ENGINE_PARTS,
    GO_NEW,
    GO_OLD,
    NEW,
    OURS,
    Row,
    measure,
    measure_burst,
    measure_engine,
    measure_import,
)
from processes import BenchError
from table import CONTESTANTS, Results, print_table

ROWS = (
    Row(1, 10, cpu=0.28, memory=42, first=0.28, limit=60),
    Row(1_000, 10, cpu=1.0, memory=56, limit=180),
    Row(1_000, 1_000, cpu=1.0, memory=56, limit=300, memory_needed=9_000),
    Row(5_000, 10, cpu=4.5, memory=100, limit=240, memory_needed=4_000),
)
QUICK = ("1/10", "1000/10")


def measure_rows(rows: list[Row], runs: int, *, go: bool, results: Results) -> None:
    """Measure each row, the contestants taking turns, so that a slow minute meets all of them."""
    for row in rows:
        for run in range(1 if row.domains >= 5_000 else runs):
            for program, release in CONTESTANTS:
                key = (row.name, program, release)
                if key in results.missing or (program != OURS and not go):
                    continue
                say(f"{row.name} run {run + 1}: {program} on tailscaled {release}")
                if program == GO_OLD and available_memory() < row.memory_needed:
                    results.missing[key] = f"not run: needs {row.memory_needed} MB free"
                    continue
                try:
                    results.samples.setdefault(key, []).append(measure(row, program, release))
                except BenchError as error:
                    results.missing[key] = str(error)


def measure_always(*, idle_seconds: float, runs: int, quick: bool) -> list[tuple[str, str, str]]:
    """Measure what holds whatever the row: (what, goal, measured)."""
    lines = []
    imports = [measure_import() for _ in range(runs)]
    seconds, memory = (statistics.median(values) for values in zip(*imports, strict=True))
    lines.append(("import trio alone: CPU s, MB", "0.12, 25", f"{seconds:.3f}, {memory:.1f}"))
    say(f"{idle_seconds:.0f} s idle at 1,000 domains")
    try:
        sample = measure(ROWS[1], OURS, NEW, idle_seconds=idle_seconds)
        lines += [
            ("bus watches", "1", str(sample.watches)),
            ("connections at once, 1,000 domains, at most", "12", str(sample.peak)),
            ("connections open when idle, at most", "2", str(sample.idle)),
            (
                f"idle CPU ms a minute, 1,000 domains, over {idle_seconds:.0f} s",
                "10",
                f"{sample.idle_cpu:.1f}",
            ),
        ]
    except BenchError as error:
        lines.append(("idle at 1,000 domains", "", str(error)))
    say("burst of 10 netmap changes, 100 names waiting, 1,000 peers, tailscaled 1.86.5")
    try:
        burst = statistics.median(measure_burst(waiting=100, peers=1_000, changes=10) for _ in range(runs))
        lines.append(("burst of 10 netmaps of 1.3 MB, 100 names waiting: CPU s", "0.06", f"{burst:.3f}"))
    except BenchError as error:
        lines.append(("burst of 10 netmaps", "0.06", str(error)))
    for part in ENGINE_PARTS:
        say(f"the engine by itself: {part}")
        try:
            lines += measure_engine(part, quick=quick)
        except BenchError as error:
            lines.append((part, "", str(error)))
    return lines


def available_memory() -> float:
    """Return the MB that can be had without swapping."""
    (line,) = (
        line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:")
    )
    return int(line.split()[1]) / 1024


def say(text: str) -> None:
    """Say on standard error what goes on, since a run takes minutes."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """Return one line that says what the numbers were measured on."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{cores} cores ({cpu_model()}), load {load:.1f} before, Linux {platform.release()}, "
        f"Python {platform.python_version()}, trio {version('trio')}, tscert-trio {version('tscert-trio')}"
    )


def cpu_model() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="CPU and memory of tscert-trio run beside Tailscale's own manager."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"rows {' '.join(QUICK)} once, 10 s idle, and a tenth of the domains for the engine by itself",
    )
    parser.add_argument(
        "--rows", metavar="D/P,…", help=f"of {' '.join(row.name for row in ROWS)}; 'none' for none"
    )
    parser.add_argument(
        "--runs", type=int, help="per row; the median is shown (default 3; 5,000 domains always 1)"
    )
    parser.add_argument("--idle-seconds", type=float, help="default 60")
    parser.add_argument("--no-go", action="store_true", help="ours alone: needs no Go")
    options = parser.parse_args()
    names = QUICK if options.quick else [row.name for row in ROWS]
    if options.rows is not None:
        names = [] if options.rows == "none" else options.rows.split(",")
    if unknown := set(names) - {row.name for row in ROWS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    rows = [row for row in ROWS if row.name in names]
    runs = options.runs or (1 if options.quick else 3)
    idle_seconds = options.idle_seconds if options.idle_seconds is not None else (10 if options.quick else 60)

    first_line = machine()
    say(first_line)
    compileall.compile_dir(sysconfig.get_paths()["purelib"], quiet=2, workers=0)
    # Go's managers open two connections for each domain at once, and the server has the other ends.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if not options.no_go and rows:
        for program in (GO_OLD, GO_NEW):
            build(program.split()[-1])
    results = Results()
    measure_rows(rows, runs, go=not options.no_go, results=results)
    always = measure_always(idle_seconds=idle_seconds, runs=runs, quick=options.quick)
    stops = [
        sample.end
        for (row, program, _), got in results.samples.items()
        for sample in got
        if (row, program) == ("5000/10", OURS)
    ]
    if stops:
        always.append(("SIGTERM with 5,000 domains: s", "1", f"{max(stops):.3f}"))

    print(first_line)
    print_table(results, rows)
    print()
    for what, goal, measured in [("tscert-trio, always", "goal", "measured"), *always]:
        print(f"{what:<62} {goal:>10}   {measured}")


if __name__ == "__main__":
    main()
