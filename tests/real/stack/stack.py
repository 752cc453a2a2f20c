"""A whole tailnet on loopback: Tailscale's control server for tests, Pebble as its CA, and real tailscaleds.

No root, no TUN device, no login, nothing outside this machine is asked. Everything started here is ended by
its own process handle, and the folder with its sockets, states and logs is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .admin import Admin
from .build import control_path, pebble_path, tailscaled_path
from .node import Node
from .processes import end, free_port, spawn, tail, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Stack", "open_stack"]

VALIDITY_SECONDS = 90 * 86_400


@attrs.define(eq=False)
class Stack:
    """The control server and the CA, and the nodes that were asked for so far."""

    folder: Path
    admin: Admin
    directory_url: str
    """Of the CA's ACME front."""
    trust: Path
    """What the front's TLS and the CA's certificates are verified with."""
    _environ: Mapping[str, str]
    _control_url: str
    _nodes: dict[str, Node] = attrs.field(factory=dict, init=False)

    def node(self, version: str) -> Node:
        """Return the running, logged-in node of one tailscaled release, started if need be (3 s).

        Raises:
            FileNotFoundError: It has not been built.
            RuntimeError: It does not start, or cannot log in.
        """
        if version not in self._nodes:
            node = Node(
                program=built(tailscaled_path(version)),
                name=f"n{version.replace('.', '-')}",
                folder=self.folder,
                environ=self._environ,
            )
            try:
                node.start()
                node.log_in(self._control_url)
            except BaseException:
                node.stop(kill=True)
                raise
            self._nodes[version] = node
        return self._nodes[version]

    def close(self) -> None:
        """End every node."""
        for node in self._nodes.values():
            node.stop()


@contextlib.contextmanager
def open_stack() -> Iterator[Stack]:
    """Start the control server and the CA (0.1 s), without nodes; end all of it on leaving.

    Raises:
        FileNotFoundError: A program has not been built; the text says how to.
        RuntimeError: A program does not start; the text holds the end of its log.
    """
    with contextlib.ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="ts"))  # short: a socket's path has 108 bytes
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        log = folder / "control.log"
        control = spawn([built(control_path()), "-write-cert", folder], log=log, stdout=subprocess.PIPE)
        cleanup.callback(end, control)
        assert control.stdout is not None
        addresses = json.loads(control.stdout.readline() or "null")
        if addresses is None:
            raise RuntimeError(f"the control server does not start\n{tail(log)}")
        admin = Admin(addresses["admin"])
        pebble = _start_pebble(folder, addresses["dns"], admin)
        cleanup.callback(end, pebble)
        # It replaces the system's bundle; the root lets tailscaled verify what it has cached.
        trust = folder / "trust.pem"
        trust.write_bytes((folder / "cert.pem").read_bytes() + admin.root_pem())
        environ = {
            "SSL_CERT_FILE": str(trust),
            "TS_DEBUG_ACME_DIRECTORY_URL": addresses["acme_directory"],
            "TS_NETCHECK_GENERATE_204_URL": addresses["control"] + "/generate_204",
            "TS_NO_LOGS_NO_SUPPORT": "true",
            "TS_ASSUME_NETWORK_UP_FOR_TEST": "1",
            "TS_DISABLE_PORTMAPPER": "1",
            "TS_PANIC_IF_HIT_MAIN_CONTROL": "1",
        }
        stack = Stack(folder, admin, addresses["acme_directory"], trust, environ, addresses["control"])
        cleanup.callback(stack.close)
        yield stack


def built(program: Path) -> Path:
    """Return the path of a program.

    Raises:
        FileNotFoundError: It has not been built.
    """
    if not os.access(program, os.X_OK):
        raise FileNotFoundError(
            f"{program} has not been built: run `nox -s real`, or tests/real/stack/build.py (needs Go), "
            "or leave the real programs out with --no-real"
        )
    return program


def _start_pebble(folder: Path, dns: str, admin: Admin) -> subprocess.Popen[bytes]:
    acme, management = free_port(), free_port()
    config = {
        "pebble": {
            "listenAddress": f"127.0.0.1:{acme}",
            "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": "cert.pem",
            "privateKey": "key.pem",
            "httpPort": 5002,
            "tlsPort": 5001,
            "retryAfter": {"authz": 1, "order": 1},  # seconds between polls
            "keyAlgorithm": "ecdsa",
            # One only: of several Pebble picks one at random for each order.
            "profiles": {"default": {"description": "default", "validityPeriod": VALIDITY_SECONDS}},
        }
    }
    (folder / "pebble.json").write_text(json.dumps(config))
    log = folder / "pebble.log"
    environ = {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": "0",
        "PEBBLE_AUTHZREUSE": "0",  # else every second order needs no set-dns
    }
    argv: list[str | Path] = [built(pebble_path()), "-strict", "-config", "pebble.json", "-dnsserver", dns]
    pebble = spawn(argv, log=log, environ=environ)
    try:
        wait_until_listening(("127.0.0.1", acme), pebble, log)
        wait_until_listening(("127.0.0.1", management), pebble, log)
        admin.set_upstream(f"https://127.0.0.1:{acme}", f"https://127.0.0.1:{management}")
    except BaseException:
        end(pebble)
        raise
    return pebble
