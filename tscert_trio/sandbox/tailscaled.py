"""A fake tailscaled on a real Unix socket, with a certificate authority inside."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from . import admin
from .bus import Bus, notify
from .ca_server import CAServer, Window
from .node import NEEDS_LOGIN, NO_STATE, RUNNING, STARTING, STOPPED, Node
from .run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from ..certificate import Certificate
    from ..http_server import Request, Response, StreamResponse
    from .ca import CertificateAuthority, Order
    from .certs import Certs
    from .daemon import Call, Daemon
    from .fault_list import Faults
    from .faults import Fault
    from .refresh import RefreshLoop
    from .versions import SandboxVersion

__all__ = ["Sandbox"]

_DRAIN_SECONDS = 1


@attrs.define(eq=False, kw_only=True)
class Sandbox:
    """A tailscaled that does as it is told. Made by `open_sandbox`."""

    socket_path: Path
    """Its Unix socket, which is there while it runs."""
    ca_socket_path: Path
    """The Unix socket of the CA, which is there even while tailscaled does not run."""
    directory_url: str
    """Of the CA's directory: over TCP where it has a port, else to be asked for on the CA's socket."""
    version: SandboxVersion
    _node: Node
    _bus: Bus
    _ca: CertificateAuthority
    _ca_server: CAServer
    _certs: Certs
    _faults: Faults
    _daemon: Daemon
    _refresh_loop: RefreshLoop
    _has_refresh_loop: bool
    _nursery: trio.Nursery
    _run: Run | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._daemon.on_serve_config = self.set_serve_config

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._run is not None

    @property
    def calls(self) -> list[Call]:
        """Every request received, the oldest first."""
        return self._daemon.calls

    @property
    def orders(self) -> list[Order]:
        """Every order that reached the CA, the oldest first."""
        return self._ca.orders

    @property
    def failed_validations(self) -> list[tuple[datetime, str]]:
        """When an order became invalid, and for which name, the oldest first."""
        return self._ca.failed_validations

    @property
    def directory_calls(self) -> list[datetime]:
        """When the CA's directory was asked for on the CA's socket, answered or not."""
        return self._ca_server.directory_calls

    @property
    def renewal_info_calls(self) -> list[tuple[datetime, str | None]]:
        """When the CA's socket was asked about a certificate, and of which name; ``None``: not of the CA."""
        return self._ca_server.renewal_info_calls

    @property
    def root_pem(self) -> bytes:
        """The CA's root certificate."""
        return self._ca.root_pem

    @property
    def cert_domains(self) -> tuple[str, ...]:
        """The names that certificates may be had for."""
        return self._node.cert_domains

    def set_cert_domains(self, names: Iterable[str]) -> None:
        """Replace the CertDomains and tell the bus, changed or not, as this release does."""
        self._node.cert_domains = tuple(names)
        self._publish_change()

    def set_serve_config(self, config: Mapping[str, Any] | None, *, echo: bool = True) -> None:
        """Replace the serve config.

        Args:
            config: as ``tailscale serve status --json`` prints it; ``None``: none.
            echo: tell the bus, as the control server does when the node reports its new services.
        """
        self._node.set_serve_config(config)
        self._refresh_loop.look_again()
        if echo:
            self._publish_change()

    def set_permissions(
        self, *, read: bool = True, write: bool = True, cert: bool = True, operator: str = ""
    ) -> None:
        """Say what callers may do: all of it by default; the real daemon looks at the caller's user.

        Args:
            read: ask for status, CertDomains and the like.
            write: change things, and ask for certificates.
            cert: ask for certificates (``TS_PERMIT_CERT_UID``).
            operator: who is named as the operator in ``prefs``.
        """
        self._node.may_read, self._node.may_write, self._node.may_get_certs = read, write, cert
        self._node.operator = operator

    def set_services(
        self, *, advertised: Iterable[str] | None = None, approved: Iterable[str] | None = None
    ) -> None:
        """Say how the Services of this node stand; ``svc:`` is a part of their names.

        Args:
            advertised: those that it offers; by default all of its serve config.
            approved: those that the tailnet lets it be a host of; by default all advertised.
        """
        node = self._node
        node.advertised_services = None if advertised is None else frozenset(advertised)
        node.approved_services = None if approved is None else frozenset(approved)

    def set_magic_dns(self, enabled: bool) -> None:
        """Switch the tailnet's MagicDNS on or off."""
        self._node.magic_dns_enabled = enabled

    def set_read_only(self, read_only: bool) -> None:
        """Enter or leave the read-only share mode of certificates (``TS_CERT_SHARE_MODE=ro``)."""
        self._certs.is_read_only = read_only

    def set_ari_window(
        self, domain: str, start: datetime, end: datetime, explanation_url: str | None = None
    ) -> None:
        """Let the CA suggest this time for the renewal of the present certificate, or of the first.

        tailscaled asks once for each certificate and process, at the first plain call.
        """
        self._certs.set_window(domain, Window(start=start, end=end, explanation_url=explanation_url))

    def set_ca_away(self, away: bool = True) -> None:
        """Let the CA answer everything with status 503: tailscaled asks again until its context ends."""
        self._ca.is_away = away

    def set_egress_shut(self, shut: bool = True) -> None:
        """Let nobody reach the CA: tailscaled's requests fail at once, the CA's socket hangs up."""
        self._ca.is_cut_off = shut

    def certificate(self, domain: str) -> Certificate | None:
        """Return the newest stored certificate of a name, valid or not."""
        stored = self._certs.stored.get(domain)
        return stored.leaf if stored is not None else None

    def lose_certificate(self, domain: str) -> None:
        """Delete what is stored for a name."""
        self._certs.stored.pop(domain, None)

    def add_fault(self, fault: Fault) -> None:
        """Let something go wrong from now on."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Repair everything. What hangs goes on hanging, except while it waits to ask the CA again."""
        self._faults.clear()

    def push(self, message: Mapping[str, object] | bytes) -> None:
        """Send one message to all watchers: the fields of an ``ipn.Notify``, or bytes as they are."""
        self._bus.publish(message if isinstance(message, bytes) else notify(self.version, message))

    def drop_next_message(self) -> None:
        """Lose the next message on the bus."""
        self._bus.drop_next()

    def drop_watchers(self, *, clean: bool = False) -> None:
        """End every watcher's stream, ``clean`` with its last chunk, or by hanging up."""
        self._bus.end_all(cut=not clean)

    def logout(self) -> None:
        """Leave the tailnet: no netmap, no CertDomains; the bus goes on."""
        self._node.has_netmap = False
        for state in (STOPPED, NO_STATE, NEEDS_LOGIN):
            self._set_state(state)

    def login(self) -> None:
        """Come back to the tailnet."""
        self._set_state(STARTING)
        self._node.has_netmap = True
        self._publish_change()
        self._set_state(RUNNING)

    def down(self) -> None:
        """Do what ``tailscale down`` does. Certificates are still to be had."""
        self._set_state(STOPPED)

    def up(self) -> None:
        """Do what ``tailscale up`` does."""
        self._set_state(RUNNING)

    async def stop(self, *, killed: bool = False) -> None:
        """Stop listening, and forget what a process forgets. Certificates, CA and faults stay.

        Args:
            killed: leave the socket's file, and end streams without their last chunk.
        """
        run, self._run = self._run, None
        if run is None:
            return
        if not killed:
            self.socket_path.unlink(missing_ok=True)
            self._bus.end_all()
            with trio.move_on_after(_DRAIN_SECONDS):
                await self._bus.wait_until_ended()
        await run.stop()
        self._certs.forget()

    async def start(self, *, no_netmap_for: float = 0) -> None:
        """Start again.

        Args:
            no_netmap_for: for so many seconds there is no netmap yet, so there are no certificates.
        """
        if self._run is not None:
            return
        if no_netmap_for:
            self._node.has_netmap = False
            self._node.state = NO_STATE
        begin = partial(self._begin, no_netmap_for)
        self._run = await self._nursery.start(Run().serve, self.socket_path, self._handle, begin)

    def _begin(self, no_netmap_for: float, nursery: trio.Nursery) -> None:
        self._certs.nursery = nursery
        if self._has_refresh_loop:
            nursery.start_soon(self._refresh_loop.run)
        if no_netmap_for:
            nursery.start_soon(self._login_after, no_netmap_for)

    async def _login_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.login()

    async def _handle(self, request: Request) -> Response | StreamResponse:
        if request.path.startswith(admin.PREFIX):
            return admin.answer(self, request, self._nursery)
        return await self._daemon.handle(request)

    def _set_state(self, state: int) -> None:
        self._node.state = state
        self._refresh_loop.look_again()
        self._bus.publish(notify(self.version, {"State": state}))

    def _publish_change(self) -> None:
        for message in self._node.change_messages():
            self._bus.publish(message)
