"""What a tailscaled knows of itself and its tailnet."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs

from .bus import (
    INITIAL_NETMAP,
    INITIAL_PREFS,
    INITIAL_STATE,
    INITIAL_STATUS,
    PEER_CHANGES,
    PEER_PATCHES,
    Watcher,
    notify,
)
from .go import dumps
from .netmap import make_peers, netmap_json, self_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .versions import SandboxVersion

__all__ = ["RUNNING", "STARTING", "Node", "names_to_renew"]

NO_STATE, NEEDS_LOGIN, STOPPED, STARTING, RUNNING = 0, 2, 4, 5, 6
_STATES = {0: "NoState", 2: "NeedsLogin", 3: "NeedsMachineAuth", 4: "Stopped", 5: "Starting", 6: "Running"}


@attrs.define(eq=False, kw_only=True)
class Node:
    """The state behind ``status``, ``cert-domains``, ``serve-config`` and the bus."""

    version: SandboxVersion
    cert_domains: tuple[str, ...]
    dns_name: str
    """With a trailing dot."""
    peer_count: int
    state: int = RUNNING
    has_netmap: bool = True
    may_read: bool = True
    may_write: bool = True
    may_get_certs: bool = True
    operator: str = ""
    magic_dns_enabled: bool = True
    advertised_services: frozenset[str] | None = None
    """``None``: those of the serve config, as ``tailscale serve`` sees to."""
    approved_services: frozenset[str] | None = None
    """``None``: all that are advertised."""
    serve_config: Mapping[str, Any] | None = attrs.field(default=None, init=False)
    serve_config_body: bytes = attrs.field(default=b"null", init=False)
    serve_config_etag: str = attrs.field(init=False)
    _peers: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.set_serve_config(None)
        self._peers = b""
        if not self.version.refuses_old_bits:
            self._peers = make_peers(self.peer_count, self.suffix, self.version.peer_bytes)

    @property
    def suffix(self) -> str:
        """The tailnet's MagicDNS suffix."""
        return self.dns_name.partition(".")[2].removesuffix(".")

    @property
    def listed(self) -> tuple[str, ...] | None:
        """The netmap's CertDomains; ``None``: there is no netmap."""
        return self.cert_domains if self.has_netmap else None

    def set_serve_config(self, config: Mapping[str, Any] | None) -> None:
        """Replace the serve config."""
        self.serve_config = config
        self.serve_config_body = dumps(config).encode()
        self.serve_config_etag = hashlib.sha256(self.serve_config_body).hexdigest()

    def status(self, health: list[str], *, with_peers: bool) -> dict[str, Any]:
        """Return an ``ipnstate.Status``."""
        tailnet = {
            "Name": "sandbox",
            "MagicDNSSuffix": self.suffix,
            "MagicDNSEnabled": self.magic_dns_enabled,
        }
        return {
            "Version": f"{self.version.version}-sandbox",
            "TUN": False,
            "BackendState": _STATES[self.state],
            "HaveNodeKey": True,
            "AuthURL": "",
            "TailscaleIPs": ["100.64.0.1"] if self.has_netmap else None,
            "Self": self._self_status(),
            "Health": health or None,
            "MagicDNSSuffix": self.suffix if self.has_netmap else "",
            "CurrentTailnet": tailnet if self.has_netmap else None,
            "CertDomains": list(self.listed or ()) or None,
            "Peer": self._peer_statuses() if with_peers and self.has_netmap else None,
            "User": None,
            "ClientVersion": None,
        }

    def prefs(self) -> dict[str, Any]:
        """Return the parts of an ``ipn.Prefs`` that somebody may look for."""
        return {
            "WantRunning": self.state >= STARTING,
            "LoggedOut": self.state == NEEDS_LOGIN,
            "AdvertiseServices": sorted(self._advertised()) or None,
            **({"OperatorUser": self.operator} if self.operator else {}),
        }

    def _advertised(self) -> frozenset[str]:
        if self.advertised_services is not None:
            return self.advertised_services
        return frozenset((self.serve_config or {}).get("Services") or {})

    def _self_status(self) -> dict[str, Any]:
        """Return the node itself, with its capabilities (``tailcfg.NodeCapMap``)."""
        if not self.has_netmap:
            return self._peer_status(0, "")
        approved = self._advertised() if self.approved_services is None else self.approved_services
        capabilities: dict[str, Any] = {"https": None}
        if approved:
            addresses = {name: [f"100.100.0.{number}"] for number, name in enumerate(sorted(approved), 1)}
            capabilities["service-host"] = [addresses]
        return self._peer_status(0, self.dns_name) | {"CapMap": capabilities}

    def _peer_statuses(self) -> dict[str, Any]:
        peers = range(1, self.peer_count + 1)
        return {f"nodekey:{n:064x}": self._peer_status(n, f"peer-{n:05}.{self.suffix}.") for n in peers}

    def _peer_status(self, number: int, dns_name: str) -> dict[str, Any]:
        return {
            "ID": f"n{number + 1:08}CNTRL",
            "PublicKey": f"nodekey:{number + 1:064x}",
            "HostName": dns_name.partition(".")[0],
            "DNSName": dns_name,
            "OS": "linux",
            "UserID": 1,
            "Online": True,
        }

    def first_message(self, watcher: Watcher, health: list[str]) -> bytes | None:
        """Return what a watcher gets at once, if its mask asks for anything."""
        mask, version = watcher.mask, self.version
        fields: dict[str, Any] = {}
        if mask & INITIAL_STATE:
            fields |= {"SessionID": watcher.session_id, "State": self.state}
        if mask & INITIAL_PREFS:
            fields["Prefs"] = {"WantRunning": self.state >= STARTING, "LoggedOut": self.state == NEEDS_LOGIN}
        if mask & INITIAL_STATUS and version.has_initial_status:
            with_peers = version.initial_status_has_peers or bool(mask & (PEER_CHANGES | PEER_PATCHES))
            fields["InitialStatus"] = self.status(health, with_peers=with_peers)
        if not mask & INITIAL_NETMAP:
            return notify(version, fields) if fields else None
        if version.initial_self_change and self.has_netmap:
            fields["SelfChange"] = self_node(self.dns_name)
        return notify(version, fields, netmap=self._netmap() if self.has_netmap else None)

    def change_messages(self) -> Iterator[bytes]:
        """Yield what the bus carries when the control server sends a full map, changed or not."""
        if not self.has_netmap:
            return
        changed = {"SelfChange": self_node(self.dns_name)} if self.version.sends_self_change else {}
        if self.version.sends_netmap:
            yield notify(self.version, changed, netmap=self._netmap())
        else:
            yield notify(self.version, changed)
            yield notify(self.version)

    def _netmap(self) -> bytes:
        return netmap_json(self_node(self.dns_name), self.cert_domains, self._peers, self.suffix)


def names_to_renew(config: Mapping[str, Any] | None) -> set[str]:
    """Return the names whose certificates tailscaled renews by itself (``feature/acme/refresh.go``)."""
    if not config:
        return set()
    names: set[str] = set()
    scopes = [config, *(config.get("Foreground") or {}).values(), *(config.get("Services") or {}).values()]
    for scope in filter(None, scopes):
        names |= {host_port.rpartition(":")[0] for host_port in scope.get("Web") or {}}
        names |= {handler.get("TerminateTLS", "") for handler in (scope.get("TCP") or {}).values()}
    return names - {""}
