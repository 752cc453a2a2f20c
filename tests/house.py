"""A sandbox and a service on it, each a process of its own, on the real clock; and commands that ask them."""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import attrs
from commands import COMMAND, SECONDS, Process, environment, request, run, wait_until

from tscert_trio.errors import StatusServiceError
from tscert_trio.status.client import StatusClient

__all__ = ["House", "open_house", "run_as_stranger", "tailnet_name"]

_STRANGER = 65534
_AS_STRANGER = f"""
import os, sys
from tscert_trio.cli import main
import tscert_trio.cli.status, tscert_trio.cli.renew, tscert_trio.cli.events
import http.client, encodings.idna, tscert_trio.status.offline, tscert_trio.clock, tscert_trio.schedule
os.setgroups([])
os.setgid({_STRANGER})
os.setuid({_STRANGER})
sys.exit(main(sys.argv[1:]))
"""
_OF_ANOTHER = """
import os, sys
own = os.geteuid()
os.geteuid = lambda: own + 1
from tscert_trio.cli import main
sys.exit(main())
"""


def tailnet_name(host):
    return f"{host}.tail1234.ts.net"


@attrs.define(eq=False)
class House:
    """Where they are, and the service that runs."""

    folder: Path
    ca: str
    service: Process | None = None
    is_delivering: bool = False

    @property
    def tailscaled(self):
        return self.folder / "s"

    @property
    def socket(self):
        return self.folder / "status" / "s"

    @property
    def client(self):
        return StatusClient(self.socket)

    @property
    def variables(self):
        """What tells commands where the service is."""
        return {"TSCERT_STATUS_SOCKET": str(self.socket), "TSCERT_STATE": str(self.folder / "state")}

    def ask_sandbox(self, method, what, body=None):
        return request(self.tailscaled, method, f"/sandbox/v0/{what}", body)

    def orders(self, name):
        return [order for order in self.ask_sandbox("GET", "orders") if name in str(order)]

    def run(self, *arguments, **variables):
        return run(*arguments, cwd=self.folder, **(self.variables | variables))

    def run_code(self, code):
        """Run Python in a process of its own, as commands are run."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=self.folder,
            env=environment(**self.variables),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def popen(self, *arguments, **variables):
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=environment(**(self.variables | variables)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments, is_of_another=False, **variables):
        """Start the service, and wait until it has asked for everything once.

        What failed is asked for again by itself no sooner than after an hour: so it is still as it was
        for a test that comes late, on a slow machine or after all others.

        Args:
            arguments: of ``run``.
            is_of_another: whether it takes itself for a user that is not this one.
            variables: of the environment.
        """
        self.is_delivering = bool({"--files", "--hook"} & set(arguments))
        self.service = Process(
            "run",
            *("--socket", self.tailscaled),
            *("--ca-directory", self.ca),
            *("--retry-initial", "1h"),
            *arguments,
            cwd=self.folder,
            command=[sys.executable, "-c", _OF_ANOTHER] if is_of_another and os.geteuid() != 0 else COMMAND,
            **(self.variables | variables),
        )
        self.service.wait_for_line("keeping certificates|no name wants a certificate")
        wait_until(self._is_settled)

    def _is_settled(self):
        try:
            domains = self.client.status().domains
        except StatusServiceError:
            return False
        return all(
            (each.state == "waiting" and each.trouble is not None)  # at first all wait, for nothing yet
            or (
                each.last_attempt_at is not None
                and each.state not in {"queued", "requesting"}
                and all(delivery.is_done or delivery.trouble for delivery in each.deliveries)
                and (self.is_delivering <= bool(each.deliveries) or not each.is_ready)
            )
            for each in domains
        )

    def kill(self):
        """Kill the service, as a crash would."""
        self.service.child.kill()
        self.service.child.communicate()

    def report(self, host):
        name = tailnet_name(host)
        return next(each for each in self.client.status().domains if each.name == name)


@contextmanager
def open_house(*hosts):
    """Run a sandbox on which these are CertDomains."""
    with tempfile.TemporaryDirectory(prefix="tscert-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        arguments = [part for host in hosts for part in ("--cert-domain", tailnet_name(host))]
        sandbox = Process("sandbox", "--socket", folder / "s", *arguments, cwd=folder)
        line = sandbox.wait_for_line("--ca-directory")
        house = House(folder, line.split("--ca-directory ")[1].split()[0])
        try:
            yield house
        finally:
            if house.service is not None and house.service.child.poll() is None:
                house.service.end()
            sandbox.end()


def run_as_stranger(house, *arguments):
    """Run a command as a user who has nothing to do with the service.

    Root becomes one in a child. Who is not root cannot; he is one to a service that was started with
    ``is_of_another``.
    """
    if os.geteuid() != 0:
        return house.run(*arguments)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", _AS_STRANGER, *arguments],
        cwd="/",
        env={
            # What measures coverage could not write as him.
            name: value
            for name, value in environment(**house.variables).items()
            if not name.startswith("COV")
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
