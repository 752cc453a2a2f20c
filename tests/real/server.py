"""A server program with a certificate, as a process of its own on loopback: what all of them share."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs
import trio

from .stack.processes import tail
from .tailnet import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

PATIENCE = 60
"""Seconds within which a server must have done what it was told."""
_HANDSHAKE_SECONDS = 20


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@attrs.define(eq=False)
class Server(ABC):
    """One server. Within ``async with`` it has a folder; it runs from ``start`` to ``stop``.

    What it is configured with is the text of ``docs/recipes.rst``, but for paths, name and port.
    """

    domain: str = "box.tail1234.ts.net"
    port: int = attrs.field(factory=_free_port)
    """On 127.0.0.1."""
    folder: Path = attrs.field(init=False)
    """Its own folder, which others may pass through."""
    _child: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="tscert-"))
        self.folder.chmod(0o755)  # PostgreSQL runs as another user
        self.tls.mkdir(mode=0o755)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            await self.stop()
        shutil.rmtree(self.folder)

    @property
    def tls(self) -> Path:
        """The folder of its certificate: what ``/etc/ssl/tailnet`` is in the recipes."""
        return self.folder / "tls"

    @property
    def certificate(self) -> Path:
        """Where it reads the full chain."""
        return self.tls / f"{self.domain}.crt"

    @property
    def key(self) -> Path:
        """Where it reads the private key."""
        return self.tls / f"{self.domain}.key"

    @property
    def pidfile(self) -> Path:
        """Holds the process to signal while it runs."""
        return self.folder / "pid"

    @property
    def log(self) -> Path:
        """What it wrote to its standard output and error."""
        return self.folder / "log"

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._child is not None and self._child.poll() is None

    @property
    def reload_script(self) -> str:
        """What reloads it, for a shell in its folder: what ``ExecReload`` is in its unit."""
        return f"kill -HUP $(head -n 1 {self.pidfile})"

    def install(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Replace its files by hand. It goes on with the old ones until it is told to reload."""
        replace_file(self.key, key_pem, mode=0o600)
        replace_file(self.certificate, chain_pem, mode=0o644)

    async def start(self) -> None:
        """Start it; it accepts connections.

        Raises:
            RuntimeError: it ended at once, or does not listen in time; the text holds the end of its log.
        """
        assert not self.is_running
        await self._prepare()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: ASYNC220 -- it is a fork, and is ended by its own handle
                self._command(),
                cwd=self.folder,
                env={**os.environ, **self._environ()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # its workers end with it, whatever happens
                **self._identity(),
            )
        try:
            await until(self._is_up_or_ended, seconds=PATIENCE)
        except trio.TooSlowError:
            raise RuntimeError(f"{self._command()[0]}: does not listen\n{tail(self.log)}") from None
        if not self.is_running:
            raise RuntimeError(f"{self._command()[0]}: ended with {self._child.poll()}\n{tail(self.log)}")

    async def reload(self) -> None:
        """Have it read its files again; returns at once, like ``systemctl reload`` of most servers."""
        self.signal(signal.SIGHUP)

    def signal(self, signum: signal.Signals) -> None:
        """Signal the process in its pidfile."""
        os.kill(int(self.pidfile.read_text().split()[0]), signum)

    async def stop(self) -> None:
        """End it, as its unit would, and wait until it is gone. One that does not run is left alone."""
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            child.send_signal(self._stop_signal())
        with trio.move_on_after(PATIENCE):
            while child.poll() is None:  # noqa: ASYNC110 -- it is another process
                await trio.sleep(0.01)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._child = None

    async def served_fingerprint(self) -> str | None:
        """Return the SHA-256 of the leaf that it serves to a client who names the domain, in hexadecimal.

        ``None``: nobody answers, or not with a certificate.
        """
        return await fingerprint_at(self.port, self.domain, before_tls=self._begin_tls)

    async def wait_until_served(self, fingerprint: str) -> None:
        """Wait until a new client sees this leaf.

        Raises:
            AssertionError: it does not come; the text says what is served and holds the end of the log.
        """
        deadline = time.monotonic() + PATIENCE
        while (served := await self.served_fingerprint()) != fingerprint:
            assert time.monotonic() < deadline, f"{served} is served, not {fingerprint}\n{tail(self.log)}"
            await trio.sleep(0.01)

    async def wait_for_log(self, text: str) -> None:
        """Wait until it has written this.

        Raises:
            AssertionError: it does not; the text holds the end of the log.
        """
        with trio.move_on_after(PATIENCE):
            while text not in self.log.read_text(errors="replace"):  # noqa: ASYNC110 -- another writes it
                await trio.sleep(0.01)
            return
        raise AssertionError(f"{text!r} is not in the log\n{tail(self.log)}")

    def _is_up_or_ended(self) -> bool:
        if not self.is_running:
            return True
        with socket.socket() as sock:
            return self._is_ready() and sock.connect_ex(("127.0.0.1", self.port)) == 0

    def _is_ready(self) -> bool:
        return self.pidfile.exists() and self.pidfile.stat().st_size > 0

    @abstractmethod
    async def _prepare(self) -> None:
        """Write its configuration."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _identity(self) -> dict[str, str]:
        """As whom it runs, for ``subprocess.Popen``; by default as the tests do."""
        return {}

    def _environ(self) -> dict[str, str]:
        """What it finds in its environment besides."""
        return {}

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    async def _begin_tls(self, stream: trio.SocketStream) -> None:  # noqa: B027 -- most say nothing
        """Say what comes before TLS."""


async def fingerprint_at(
    port: int, domain: str, *, before_tls: Callable[[trio.SocketStream], Awaitable[None]] | None = None
) -> str | None:
    """Return the SHA-256 of the leaf that a server here shows to a client who names a domain, or ``None``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with trio.fail_after(_HANDSHAKE_SECONDS):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                if before_tls is not None:
                    await before_tls(stream)
                tls = trio.SSLStream(stream, context, server_hostname=domain)
                await tls.do_handshake()
                leaf = tls.getpeercert(binary_form=True)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        return None
    return hashlib.sha256(leaf).hexdigest()


def replace_file(
    path: Path, data: bytes, *, mode: int, owner: str | None = None, group: str | None = None
) -> None:
    """Replace a file as a whole; owner and group need root, or to be one's own."""
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600)
    beside.write_bytes(data)
    beside.chmod(mode)
    if owner or group:
        shutil.chown(beside, owner, group)
    beside.rename(path)
