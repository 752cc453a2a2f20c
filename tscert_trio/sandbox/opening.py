"""Putting a sandbox together."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..http_server import serve_http
from ..unix_listener import open_unix_listener
from ..wall_clock import default_clock
from .bus import Bus
from .ca import CertificateAuthority
from .ca_server import DIRECTORY_URL, CAServer
from .certs import Certs
from .daemon import Daemon
from .fault_list import Faults
from .limits import Limits
from .node import Node
from .refresh import RefreshLoop
from .tailscaled import Sandbox
from .versions import VERSIONS, SandboxVersion

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterable, Iterator

    from ..clock import Clock

__all__ = ["open_sandbox"]


@asynccontextmanager
async def open_sandbox(
    version: str | SandboxVersion = "1.104.5",
    *,
    cert_domains: Iterable[str] = ("a.tail1234.ts.net",),
    socket_path: str | os.PathLike[str] | None = None,
    validity: timedelta = timedelta(days=90),
    clock: Clock | None = None,
    peers: int = 0,
    dns_name: str | None = None,
    issue_delay: float = 0,
    background_renewal: bool = False,
    read_only: bool = False,
    wildcards: bool = False,
    pending_order_life: timedelta = timedelta(days=7),
    ari_retry_after: int = 21600,
    limits: bool = False,
    ca_port: int | None = None,
) -> AsyncIterator[Sandbox]:
    """Run a fake tailscaled while the context lasts. It runs, logged in, when the context is entered.

    It sleeps on Trio's clock and takes dates from ``clock``, so it works under
    :class:`trio.testing.MockClock`.

    Args:
        version: a key of `VERSIONS`, or a row of your own.
        cert_domains: names that certificates may be had for.
        socket_path: where to listen; by default in a new folder, which is removed at the end. The CA listens
            beside it.
        validity: life of the certificates, in whole seconds.
        clock: wall time; by default the system's, or one that goes with a MockClock.
        peers: how many nodes the netmap has; releases before 1.100 send them all at every change.
        dns_name: the node's own name; by default the first CertDomain.
        issue_delay: how long the CA takes, in seconds.
        background_renewal: whether releases that do it (1.100 and later) renew the names in their serve
            config by themselves.
        read_only: begin in the read-only share mode of certificates.
        wildcards: whether the tailnet allows certificates for ``*.<a CertDomain>``.
        pending_order_life: how long the CA refuses to replace a certificate again after an order that was
            begun and not completed. Let's Encrypt: 7 days; Pebble: 0.
        ari_retry_after: after how many seconds the CA wants to be asked again when to renew.
        limits: whether the CA has Let's Encrypt's limits (:mod:`tscert_trio.sandbox.limits`).
        ca_port: where on 127.0.0.1 the CA listens besides, for programs that cannot ask on a Unix socket;
            0: a free port.

    Raises:
        ValueError: an unknown version.
        OSError: a socket cannot be bound.
    """
    clock = clock or default_clock()
    row = VERSIONS.get(version) if isinstance(version, str) else version
    if row is None:
        raise ValueError(f"no release {version!r} of tailscaled to imitate, only {', '.join(VERSIONS)}")
    names = tuple(cert_domains)
    node = Node(
        version=row,
        cert_domains=names,
        dns_name=f"{(dns_name or next(iter(names), 'box.tail1234.ts.net')).removesuffix('.')}.",
        peer_count=peers,
    )
    faults, bus = Faults(), Bus()
    ca = CertificateAuthority(validity, pending_order_life, Limits(limits))
    certs = Certs(
        version=row,
        ca=ca,
        faults=faults,
        clock=clock,
        cert_domains=lambda: node.listed,
        issue_delay=issue_delay,
        is_read_only=read_only,
        wildcards_enabled=wildcards,
    )
    ca_server = CAServer(ca=ca, certs=certs, clock=clock, retry_after=ari_retry_after)
    with _folder_for(socket_path) as (path, ca_path):
        failure: Exception | None = None
        has_started = False
        async with open_unix_listener(ca_path) as ca_listener, trio.open_nursery() as nursery:
            listeners = [] if ca_port is None else await trio.open_tcp_listeners(ca_port, host="127.0.0.1")
            ports = [listener.socket.getsockname()[1] for listener in listeners]
            sandbox = Sandbox(
                socket_path=path,
                ca_socket_path=ca_path,
                directory_url=f"http://127.0.0.1:{ports[0]}/directory" if ports else DIRECTORY_URL,
                version=row,
                node=node,
                bus=bus,
                ca=ca,
                ca_server=ca_server,
                certs=certs,
                faults=faults,
                daemon=Daemon(
                    node=node,
                    bus=bus,
                    certs=certs,
                    faults=faults,
                    clock=clock,
                ),
                refresh_loop=RefreshLoop(node, certs),
                has_refresh_loop=background_renewal and row.has_refresh_loop,
                nursery=nursery,
            )
            try:
                await nursery.start(serve_http, ca_server.handle, [ca_listener, *listeners])
                await sandbox.start()
                has_started = True
                yield sandbox
            except Exception as exc:  # noqa: BLE001 -- raised again below
                failure = exc
            nursery.cancel_scope.cancel(reason="the sandbox is closed")
        if has_started and path.is_socket():  # left by a kill
            path.unlink()
        if failure is not None:
            raise failure  # bare, since it is the caller's and not the nursery's


@contextlib.contextmanager
def _folder_for(socket_path: str | os.PathLike[str] | None) -> Iterator[tuple[Path, Path]]:
    """Yield the paths of the two sockets, tailscaled's and the CA's."""
    if socket_path is not None:
        path = Path(socket_path)
        yield path, path.with_name(f"{path.name.removesuffix('.sock')}.ca.sock")
        return
    folder = tempfile.mkdtemp(prefix="tscert-")  # short: a socket's path has at most 107 bytes
    try:
        yield Path(folder) / "tailscaled.sock", Path(folder) / "ca.sock"
    finally:
        shutil.rmtree(folder)
