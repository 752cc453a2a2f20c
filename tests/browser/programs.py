"""The service and a sandbox as processes, as an operator has them."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Service", "Tailscaled", "open_service", "open_tailscaled", "wait_until"]

SECONDS = 60
"""How long something may take that takes a second on a quiet machine."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Return once a condition of real processes holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} seconds")
        time.sleep(0.05)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, target: str, body: object = None) -> object:
    """Ask a server on a Unix socket for JSON.

    Raises:
        ValueError: it answered with a failure.
    """
    connection = _UnixConnection(path)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise ValueError(f"{method} {target}: {answer.status} {text}")
        return json.loads(text) if text else None
    finally:
        connection.close()


@attrs.frozen
class Tailscaled:
    """A sandbox that runs."""

    socket_path: Path

    def tell(self, method: str, command: str, body: object = None) -> object:
        """Script it, see :mod:`tscert_trio.sandbox.admin`."""
        return ask(self.socket_path, method, f"/sandbox/v0/{command}", body)

    def fail(self, domain: str, **fault: object) -> None:
        """Let issuances for a name fail until repaired."""
        self.tell("POST", "faults", {"domain": domain, **fault})


def _is_listening(path: Path) -> bool:
    """Return whether somebody does: a socket's file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@contextmanager
def open_tailscaled(folder: Path, *domains: str) -> Iterator[Tailscaled]:
    """Run a sandbox with these CertDomains while the context lasts."""
    path = folder / "ts.sock"
    with _running(folder / "sandbox.log", "sandbox", "--socket", str(path), "--cert-domain", domains[0]):
        wait_until(lambda: _is_listening(path), "the sandbox listens")
        tailscaled = Tailscaled(path)
        tailscaled.tell("PUT", "cert-domains", domains)
        yield tailscaled


@attrs.frozen
class Service:
    """A service that runs."""

    url: str
    """Of its page, with a slash at the end."""
    port: int
    socket_path: Path

    def status(self) -> dict[str, dict[str, object]]:
        """Return what it says of each name."""
        report = ask(self.socket_path, "GET", "/api/v1/status")
        return {each["name"]: each for each in report["domains"]}

    def renew(self, domain: str) -> None:
        """Have a certificate renewed that is not due."""
        ask(self.socket_path, "POST", f"/api/v1/domains/{domain}/renew", {"force": True})

    def wait_until(self, domain: str, state: str) -> None:
        """Return once a name is in a state."""
        wait_until(lambda: self.status().get(domain, {}).get("state") == state, f"{domain} is {state}")


@contextmanager
def open_service(folder: Path, tailscaled: Tailscaled, *options: str, port: int = 0) -> Iterator[Service]:
    """Run the service while the context lasts."""
    log, path = folder / "service.log", folder / "status.sock"
    log.unlink(missing_ok=True)
    arguments = ["--socket", tailscaled.socket_path, "--state", folder / "state", "--status-socket", path]
    arguments += ["--listen", f"127.0.0.1:{port}", "--no-ari", "--ca-limits", "none"]
    with _running(log, "run", *map(str, arguments), *options):

        def address() -> re.Match[str] | None:
            return re.search(r"the status page is at (http://127\.0\.0\.1:(\d+)/)", log.read_text())

        wait_until(address, "the service tells where its page is")
        found = address()
        assert found is not None
        yield Service(url=found[1], port=int(found[2]), socket_path=path)


@contextmanager
def _running(log: Path, *arguments: str) -> Iterator[None]:
    """Run a command of the package while the context lasts, and see that it ends well."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TS_", "TSCERT_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tscert_trio", *arguments], stdout=output, stderr=output, env=environ
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            status = process.wait(SECONDS)
        finally:
            process.kill()
    assert status == 0, log.read_text()
