"""The table: what was measured, the goals beside it, nothing asserted."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from measure import GO_NEW, GO_OLD, NEW, OLD, OURS, Row, Sample

# Interleaved in this order, each manager on the daemon it was written for, ours on both.
CONTESTANTS = ((GO_OLD, OLD), (OURS, OLD), (GO_NEW, NEW), (OURS, NEW))


@dataclass(eq=False)
class Results:
    """Samples by row, program and daemon, and why some are missing."""

    samples: dict[tuple[str, str, str], list[Sample]] = field(default_factory=dict)
    missing: dict[tuple[str, str, str], str] = field(default_factory=dict)


HEAD = (
    (
        "domains/",
        "program",
        "tailscaled",
        "CPU s",
        "MB",
        "first",
        "all",
        "SIGTERM",
        "bus",
        "peak",
        "idle",
        "goal",
    ),
    ("peers", "", "", "", "", "s", "s", "s", "watches", "conn", "conn", "CPU s, MB"),
)
LINE = "{:<10} {:<21} {:<10} {:>7} {:>7} {:>6} {:>6} {:>7} {:>7} {:>5} {:>4}   {}"


def print_table(results: Results, rows: list[Row]) -> None:
    """Print every contestant of every row, and our goals beside ours."""
    for head in HEAD:
        print(LINE.format(*head).rstrip())
    for row in rows:
        for program, release in CONTESTANTS:
            key = (row.name, program, release)
            if key in results.missing:
                print(LINE.format(row.name, program, release, *[""] * 8, results.missing[key]))
            elif key in results.samples:
                got = results.samples[key]
                print(
                    LINE.format(row.name, program, release, *numbers(got), remark(row, program, got)).rstrip()
                )


def numbers(got: list[Sample]) -> list[str | int]:
    """Return the columns between the daemon and the goal."""
    return [
        f"{median(got, 'cpu'):.3f}",
        f"{median(got, 'memory'):.1f}",
        f"{median(got, 'first'):.2f}",
        f"{median(got, 'all_in'):.2f}",
        f"{median(got, 'end'):.3f}",
        max(sample.watches for sample in got),
        max(sample.peak for sample in got),
        max(sample.idle for sample in got),
    ]


def remark(row: Row, program: str, got: list[Sample]) -> str:
    """Return our goal, or what went wrong."""
    if missing := max(sample.missing for sample in got):
        return f"{missing:,} certificates not in after {row.limit:.0f} s"
    if program != OURS:
        return ""
    return f"{row.cpu:g}, {row.memory:g}" + (f"; first {row.first:g}" if row.first else "")


def median(samples: list[Sample], name: str) -> float:
    """Return the median of one attribute."""
    value: float = statistics.median(getattr(sample, name) for sample in samples)
    return value
