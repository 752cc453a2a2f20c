"""A node and its tailnet, as JSON of the size that real ones have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .go import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["make_peers", "netmap_json", "self_node"]

_KEY_DIGITS = 64


def self_node(dns_name: str, peer_number: int = 0) -> dict[str, object]:
    """Return a ``tailcfg.Node``: this one, or a peer."""
    number = peer_number + 1
    address = f"100.{64 + number // 65536 % 64}.{number // 256 % 256}.{number % 256}"
    return {
        "ID": number,
        "StableID": f"n{number:08}CNTRL",
        "Name": dns_name,
        "User": 1,
        "Key": f"nodekey:{number:0{_KEY_DIGITS}x}",
        "KeyExpiry": "2027-01-01T00:00:00Z",
        "Machine": f"mkey:{number:0{_KEY_DIGITS}x}",
        "DiscoKey": f"discokey:{number:0{_KEY_DIGITS}x}",
        "Addresses": [f"{address}/32", f"fd7a:115c:a1e0::{number:x}/128"],
        "AllowedIPs": [f"{address}/32", f"fd7a:115c:a1e0::{number:x}/128"],
        "Endpoints": [f"198.51.100.{number % 256}:41641", "192.168.1.20:41641"],
        "HomeDERP": 1,
        "Hostinfo": {"OS": "linux", "Hostname": dns_name.partition(".")[0], "Services": []},
        "Created": "2026-01-01T00:00:00Z",
        "Cap": 123,
        "Online": True,
        "MachineAuthorized": True,
        "ComputedName": dns_name.partition(".")[0],
        "ComputedNameWithHost": dns_name.partition(".")[0],
    }


def make_peers(count: int, suffix: str, size: int) -> bytes:
    """Return that many peers as the elements of a JSON array, each of about ``size`` bytes."""
    return b",".join(_peer(number, suffix, size) for number in range(1, count + 1))


def _peer(number: int, suffix: str, size: int) -> bytes:
    node = self_node(f"peer-{number:05}.{suffix}.", number)
    node["CapMap"] = {}
    padding = max(0, size - len(dumps(node)) - len('"":null'))
    node["CapMap"] = {f"https://tailscale.com/cap/{'x' * padding}"[:padding]: None} if padding else {}
    return dumps(node).encode()


def netmap_json(node: dict[str, object], cert_domains: Sequence[str], peers: bytes, suffix: str) -> bytes:
    """Return a ``netmap.NetworkMap`` with these peers."""
    dns = {"Resolvers": None, "Domains": [suffix], "Proxied": True, "CertDomains": list(cert_domains) or None}
    head = {"SelfNode": node, "NodeKey": node["Key"], "Name": node["Name"], "DNS": dns, "Domain": suffix}
    return b"".join([dumps(head)[:-1].encode(), b',"Peers":[', peers, b"]}"])
