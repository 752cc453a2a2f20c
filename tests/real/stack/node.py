"""One real tailscaled."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import attrs

from .processes import end, spawn, tail, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENCE = 60
"""Seconds within which every call to a node answers."""
_SECONDS_TO_END = 10


@attrs.define(eq=False, kw_only=True)
class Node:
    """A tailscaled with its state and its socket, which outlive its process. Every call blocks."""

    program: Path
    name: str
    folder: Path
    environ: Mapping[str, str]
    _child: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self.folder / self.name / "s.sock"

    @property
    def log(self) -> Path:
        """What it and its CLI wrote."""
        return self.folder / f"{self.name}.log"

    def start(self, **environ: str) -> None:
        """Start it, unless it runs, and wait until it listens. It serves certificates 0.1 s later.

        Args:
            environ: more environment for this one run.

        Raises:
            RuntimeError: It does not start; the text holds the end of its log.
        """
        if self._child is not None:
            return
        state = self.folder / self.name
        state.mkdir(exist_ok=True)
        self._child = spawn(
            [
                self.program,
                "--tun=userspace-networking",
                f"--statedir={state}",
                f"--socket={self.socket_path}",
                "--port=0",
            ],
            log=self.log,
            environ={**self.environ, "TS_LOGS_DIR": str(state), **environ},
        )
        wait_until_listening(str(self.socket_path), self._child, self.log)

    def stop(self, *, kill: bool = False) -> None:
        """End it by SIGTERM (it removes its socket), or by SIGKILL (the socket's file stays).

        From 1.102 on SIGTERM does not end it while a background renewal hangs: it is killed after 10 s.
        """
        if self._child is None:
            return
        if kill:
            self._child.send_signal(signal.SIGKILL)
        end(self._child, patience=_SECONDS_TO_END)
        self._child = None

    def log_in(self, control_url: str) -> None:
        """Join the tailnet, and wait until it runs.

        Raises:
            RuntimeError: It cannot log in; the text holds the end of its log.
        """
        with self.log.open("ab") as log:
            cli = subprocess.run(
                [
                    self.program.with_name("tailscale"),
                    f"--socket={self.socket_path}",
                    "up",
                    f"--login-server={control_url}",
                    f"--hostname={self.name}",
                    "--accept-dns=false",
                    "--timeout=60s",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=70,
                check=False,
            )
        if cli.returncode:
            raise RuntimeError(f"tailscale up: status {cli.returncode}\n{tail(self.log)}")

    def request(self, method: str, target: str, body: object = None) -> bytes:
        """Ask its LocalAPI, by other code than that under test, and return the body.

        Raises:
            RuntimeError: The status is not 200; the text is that of tailscaled.
        """
        connection = _UnixConnection(self.socket_path)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, f"/localapi/v0/{target}", data, {"Connection": "close"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(
                f"{method} {target}: {response.status} {answer.decode(errors='replace').strip()}"
            )
        return answer


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("local-tailscaled.sock", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
