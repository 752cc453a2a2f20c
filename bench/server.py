"""The tailscaled of the benchmark: the sandbox in a process of its own, which counts what it is asked.

Started by ``run.py``. It prints one line of JSON when it listens, then answers each line on standard input
with one line of JSON, and ends at the end of its input:

``stats``
    What has happened so far (see `Counter.snapshot`).
``changes N SECONDS``
    Change CertDomains N times, that many seconds apart: N messages on the bus.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from tscert_trio.sandbox import Sandbox, open_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


@attrs.define(eq=False)
class Counter:
    """Counts connections as they are accepted and closed, and what was asked on them."""

    sandbox: Sandbox | None = None
    open: int = 0
    peak: int = 0
    _seen: int = 0
    _watches: int = 0
    _first_cert: float | None = None

    def count_connections(self) -> None:
        """Count each connection accepted from now on: exact, where sampling misses peaks."""
        accept = trio.SocketListener.accept

        async def counting_accept(listener: trio.SocketListener) -> trio.SocketStream:
            stream = await accept(listener)
            self.open += 1
            self.peak = max(self.peak, self.open)
            stream.aclose = self._counting_close(stream)  # type: ignore[method-assign]
            return stream

        trio.SocketListener.accept = counting_accept  # type: ignore[method-assign, assignment]

    def _counting_close(self, stream: trio.SocketStream) -> Callable[[], Coroutine[Any, Any, None]]:
        close = stream.aclose
        closed = False

        async def counting_close() -> None:
            nonlocal closed
            if not closed:
                closed = True
                self.open -= 1
            await close()

        return counting_close

    def snapshot(self) -> dict[str, object]:
        """Return the counts so far. Times are seconds since the epoch, as the sandbox saw them."""
        assert self.sandbox is not None
        calls = self.sandbox.calls
        for call in calls[self._seen :]:
            self._watches += "/watch-ipn-bus" in call.path
            if self._first_cert is None and "/cert/" in call.path:
                self._first_cert = call.at.timestamp()
        self._seen = len(calls)
        orders = self.sandbox.orders
        return {
            "calls": len(calls),
            "orders": len(orders),
            "first_cert": self._first_cert,
            "last_order": orders[-1].at.timestamp() if orders else None,
            "watches": self._watches,
            "open": self.open,
            "peak": self.peak,
        }


def domains(count: int) -> list[str]:
    """Return the names that the benchmark asks certificates for."""
    return [f"app-{number:04}.tail1234.ts.net" for number in range(count)]


def serve_config(names: list[str]) -> dict[str, object]:
    """Return a serve config with one Service for each name, as an HA Ingress makes them."""
    return {
        "Services": {
            f"svc:{name.split('.')[0]}": {
                "TCP": {"443": {"HTTPS": True}},
                "Web": {f"{name}:443": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:8080"}}}},
            }
            for name in names
        }
    }


async def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", required=True)
    parser.add_argument("--domains", type=int, required=True)
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument(
        "--serve-config", type=Path, required=True, help="where to write it, for the Go programs"
    )
    parser.add_argument("--waiting", action="store_true", help="none of the names is in CertDomains")
    options = parser.parse_args()

    names = domains(options.domains)
    listed = ["other.tail1234.ts.net"] if options.waiting else names
    config = serve_config(names)
    await trio.Path(options.serve_config).write_text(json.dumps(config))
    counter = Counter()
    counter.count_connections()
    async with (
        trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin,
        open_sandbox(
            options.release, cert_domains=listed, socket_path=options.socket, peers=options.peers
        ) as sandbox,
    ):
        counter.sandbox = sandbox
        sandbox.set_serve_config(config)
        answer({"ready": True})
        async for line in lines_of(stdin):
            match line.split():
                case ["stats"]:
                    answer(counter.snapshot())
                case ["changes", number, seconds]:
                    for change in range(int(number)):
                        sandbox.set_cert_domains([*listed, f"change-{change}.tail1234.ts.net"])
                        await trio.sleep(float(seconds))
                    answer({"done": int(number)})
                case _:
                    answer({"error": f"unknown command {line!r}"})


def answer(value: dict[str, object]) -> None:
    """Write one line of JSON."""
    print(json.dumps(value), flush=True)


async def lines_of(stream: trio.abc.ReceiveStream) -> AsyncIterator[str]:
    """Yield each line of a stream, without its end."""
    buffered = b""
    while chunk := await stream.receive_some():
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


if __name__ == "__main__":
    trio.run(main)
