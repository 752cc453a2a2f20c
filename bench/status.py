"""What the operator's view costs: the page, a scrape, the command, and the memory of the server of these.

Started by ``run.py``. It prints one JSON list of lines: what, goal, measured.

python bench/status.py status [--quick]
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from measure import NEW, OURS, command_of, short_folder
from processes import Program, open_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Line = tuple[str, str, str]

CALLS = 20
PATIENCE_SECONDS = 120


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def connect(self) -> None:
        """Connect to the path that was given as the host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.host)


@contextmanager
def service(domains: int, *options: str) -> Iterator[tuple[Program, Path]]:
    """Run the service with so many names until each has a certificate; give it, and its status socket."""
    with short_folder() as folder, open_server(folder, release=NEW, domains=domains, peers=10) as server:
        status = folder / "st"
        place = options or ("--status-socket", str(status))
        with Program([*command_of(OURS, server, folder), *place], folder / "log") as program:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while server.ask("stats")["orders"] < domains and time.monotonic() < deadline:
                program.check()
                time.sleep(0.2)
            program.settled_cpu()
            yield program, status


def get(status: Path, path: str) -> bytes:
    """Return an answer, whole."""
    connection = UnixConnection(str(status))
    connection.request("GET", path, headers={"Host": "localhost"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
    return body


def median_ms(call: Callable[[], object]) -> float:
    """Return the median of twenty calls after a first one, in milliseconds."""
    call()
    found = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found) * 1000


def resident(program: Program) -> float:
    """Return the resident memory of a process, in MB of 1,048,576 bytes."""
    text = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def measure_answers(*, quick: bool) -> Iterator[Line]:
    """Yield how long answers take, from the request to the last byte."""
    few, many = (100, 500) if quick else (1_000, 5_000)
    with service(few) as (_, status):
        size = len(get(status, "/")) / 1e6
        numbers = itertools.count()  # the same question again within a second has the same answer
        took = median_ms(lambda: get(status, f"/?n={next(numbers)}"))
        yield f"page of {few:,} names ({size:.1f} MB): ms", "" if quick else "50", f"{took:.1f}"
        took = median_ms(lambda: get(status, f"/api/v1/status?n={next(numbers)}"))
        yield f"JSON of {few:,} names: ms", "", f"{took:.1f}"
    with service(many) as (_, status):
        size = len(get(status, "/metrics")) / 1e6
        took = median_ms(lambda: get(status, "/metrics"))
        yield f"metrics of {many:,} names ({size:.1f} MB): ms", "" if quick else "100", f"{took:.1f}"


def measure_browser(*, quick: bool) -> Iterator[Line]:
    """Yield how soon the page can be used in Debian's Chromium, where that and Playwright are."""
    few = 100 if quick else 1_000
    what, goal = f"page of {few:,} names, interactive in Chromium: ms", "" if quick else "1,000"
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        yield what, goal, "not run: needs Playwright, and Debian's chromium"
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "browser"))
    from interactive import seconds_to_interactive

    with service(few, "--status-socket", "none", "--listen", "127.0.0.1:0") as (program, _):
        url = re.findall(r"http://127\.0\.0\.1:\d+/", program.log.read_text())[-1]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            took = [seconds_to_interactive(browser.new_page(), url) * 1000 for _ in range(CALLS // 2)]
            browser.close()
    yield what, goal, f"{statistics.median(took):.0f}"


def ask(script: str | Path, status: Path) -> None:
    """Run the command."""
    command = [script, "status", "--status-socket", status]
    subprocess.run(command, check=False, capture_output=True)


def measure_command() -> Iterator[Line]:
    """Yield how long ``tscert-trio status`` takes as a process."""
    for domains in (10, 1_000):
        with service(domains) as (program, status):
            command = [program.command[0], "status", "--status-socket", str(status)]
            took = median_ms(
                lambda command=command: subprocess.run(command, check=False, capture_output=True)
            )  # type: ignore[misc]
            yield f"tscert-trio status of {domains:,} names: ms", "400", f"{took:.0f}"


def measure_memory() -> Iterator[Line]:
    """Yield what the server adds to the service with ten names: unasked, and after each kind of answer."""
    with service(10, "--status-socket", "none") as (program, _):
        without = resident(program)
    with service(10) as (program, status):
        unasked = resident(program)
        for path in ("/", "/api/v1/status", "/metrics", "/readyz", "/static/page.css"):
            get(status, path)
        asked = resident(program)
    yield "memory that the status server adds, unasked: MB", "", f"{unasked - without:.1f}"
    yield "memory that the status server adds, asked for everything: MB", "15", f"{asked - without:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What the operator's view costs.")
    parser.add_argument("part", choices=["status"])
    parser.add_argument("--quick", action="store_true", help="a tenth of the names")
    options = parser.parse_args()
    lines = [*measure_answers(quick=options.quick), *measure_command(), *measure_memory()]
    lines += measure_browser(quick=options.quick)
    print(json.dumps(lines), flush=True)
