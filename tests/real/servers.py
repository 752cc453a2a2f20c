"""nginx, HAProxy, PostgreSQL and a plain Python server, each with the text of its recipe."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

import attrs
import trio

from .recipes import DOMAIN, FOLDER, recipe, replaced
from .server import PATIENCE, Server, replace_file
from .stack.install import find_program
from .tailnet import until

_SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)  # length and code, in PostgreSQL's protocol


class Nginx(Server):
    """nginx. Its master reads the key, as root where the tests run as root."""

    _OUTER = """\
pid pid;
error_log stderr notice;
events {{ }}
http {{
    access_log off;
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
{server}
}}
"""

    async def _prepare(self) -> None:
        server = replaced(
            recipe("nginx"),
            {"listen 443": f"listen 127.0.0.1:{self.port}", FOLDER: str(self.tls), DOMAIN: self.domain},
        )
        (self.folder / "nginx.conf").write_text(self._OUTER.format(server=server))

    def _command(self, *more: str) -> list[str]:
        # As Debian's unit, which has "-g 'daemon on; ...'", but in the foreground and in our folder.
        options = ["-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
        return [find_program("nginx"), *options, *more]

    @property
    def reload_script(self) -> str:
        return shlex.join(self._command("-s", "reload"))

    async def reload(self) -> None:
        """Run ``nginx -s reload``, which reads the configuration first.

        Raises:
            subprocess.CalledProcessError: it, or the certificate, is not right; ``stderr`` says why.
        """
        await trio.run_process(self._command("-s", "reload"), capture_stderr=True)


@attrs.define(eq=False)
class HAProxy(Server):
    """HAProxy as a master with workers, which reads key and chain from one file.

    Its workers serve before the master listens to signals: a SIGUSR2 that comes too early gets lost. The
    master tells systemd when it is ready, which is listened to here, too.
    """

    _notified: socket.socket | None = attrs.field(default=None, init=False)
    _is_told: bool = attrs.field(default=False, init=False)

    _OUTER: ClassVar[str] = """\
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
"""

    @property
    def combined(self) -> Path:
        """Where it reads full chain and key."""
        return self.tls / f"{self.domain}.pem"

    def install(self, chain_pem: bytes, key_pem: bytes) -> None:
        replace_file(self.combined, chain_pem + key_pem, mode=0o600)

    async def stop(self) -> None:
        await super().stop()
        if self._notified is not None:
            self._notified.close()
            self._notified = None

    async def _prepare(self) -> None:
        frontend = replaced(
            recipe("haproxy"),
            {"bind :443": f"bind 127.0.0.1:{self.port}", FOLDER: str(self.tls), DOMAIN: self.domain},
        )
        (self.folder / "haproxy.cfg").write_text(self._OUTER + frontend)
        address = self.folder / "notify"
        address.unlink(missing_ok=True)
        if self._notified is not None:  # of a start that failed
            self._notified.close()
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(address))
        self._notified.setblocking(False)
        self._is_told = False

    def _command(self) -> list[str]:
        return [
            find_program("haproxy"),
            "-Ws",
            "-f",
            "haproxy.cfg",
            "-p",
            str(self.pidfile),
        ]  # as Debian's unit

    def _environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.folder / "notify")}

    def _is_ready(self) -> bool:
        assert self._notified is not None
        with contextlib.suppress(BlockingIOError):
            while message := self._notified.recv(4096):
                self._is_told = b"READY=1" in message
        return self._is_told

    @property
    def reload_script(self) -> str:
        check = f"{find_program('haproxy')} -c -q -f haproxy.cfg"
        return f"{check} && kill -USR2 $(cat {self.pidfile})"

    async def reload(self) -> None:
        """Check the configuration, send SIGUSR2, and wait until the master, which starts anew, is ready.

        Raises:
            subprocess.CalledProcessError: it, or the certificate, is not right; ``stderr`` says why.
        """
        check = [find_program("haproxy"), "-c", "-f", "haproxy.cfg"]
        await trio.run_process(check, cwd=self.folder, capture_stdout=True, capture_stderr=True)
        self._is_told = False
        self.signal(signal.SIGUSR2)
        await until(self._is_ready, seconds=PATIENCE)


@attrs.define(eq=False)
class PostgreSQL(Server):
    """PostgreSQL, which runs as ``postgres`` where the tests run as root: it refuses to be root.

    It takes no key that others than itself may change or read: owned by it with 0600, or by root with 0640.
    """

    user: str = attrs.field(
        factory=lambda: "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())[0]
    )

    @property
    def pidfile(self) -> Path:
        return self.folder / "data" / "postmaster.pid"

    def install(self, chain_pem: bytes, key_pem: bytes) -> None:
        replace_file(self.key, key_pem, mode=0o600, owner=self.user)
        replace_file(self.certificate, chain_pem, mode=0o644, owner=self.user)

    async def version(self) -> int:
        """Return its major version."""
        said = await trio.run_process([find_program("postgres"), "--version"], capture_stdout=True)
        return int(re.search(rb"(\d+)", said.stdout)[1])

    async def _prepare(self) -> None:
        data = self.folder / "data"
        if not data.exists():
            data.mkdir(mode=0o700)
            shutil.chown(data, self.user)
            arguments = ["--pgdata", str(data), "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"]
            initdb = [str(Path(find_program("postgres")).resolve().with_name("initdb")), *arguments]
            run = partial(subprocess.run, stdout=subprocess.DEVNULL, check=True, **self._identity())
            await trio.to_thread.run_sync(partial(run, initdb, cwd=self.folder))
        settings = replaced(recipe("postgresql"), {FOLDER: str(self.tls), DOMAIN: self.domain})
        (data / "postgresql.conf").write_text(
            f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
            f"shared_buffers = 1MB\nmax_connections = 20\nfsync = off\n{settings}"
        )

    def _command(self) -> list[str]:
        return [find_program("postgres"), "-D", str(self.folder / "data")]

    def _identity(self) -> dict[str, str]:
        return {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}

    def _is_ready(self) -> bool:
        return self.pidfile.exists() and "ready" in self.pidfile.read_text()

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGINT  # SIGTERM waits for the clients

    async def _begin_tls(self, stream: trio.SocketStream) -> None:
        await stream.send_all(_SSL_REQUEST)
        answer = await stream.receive_some(1)
        if answer != b"S":
            raise trio.BrokenResourceError(f"PostgreSQL speaks no TLS: {answer!r}")


class PythonServer(Server):
    """The standard library's web server."""

    async def _prepare(self) -> None:
        text = replaced(
            recipe("python"), {"0.0.0.0": "127.0.0.1", "443": str(self.port), FOLDER: str(self.tls)}
        )
        (self.folder / "server.py").write_text(replaced(text, {DOMAIN: self.domain}))

    def _command(self) -> list[str]:
        return [sys.executable, "server.py"]

    def _is_ready(self) -> bool:
        assert self._child is not None
        self.pidfile.write_text(f"{self._child.pid}\n")  # its unit knows it as $MAINPID
        return True


SERVERS: tuple[type[Server], ...] = (Nginx, HAProxy, PostgreSQL, PythonServer)
