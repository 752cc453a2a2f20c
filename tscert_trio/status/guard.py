"""Who may ask what, and what every answer says to a browser. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..http_server import Request

__all__ = ["SECURITY_HEADERS", "is_from_here", "is_host_allowed", "may_renew"]

SECURITY_HEADERS = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
"""Of every answer: nothing from elsewhere, nothing inline, no frame, nothing kept."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?")
_ALWAYS = "localhost"
_ANY = "*"
_OF_BROWSERS_AND_PROXIES = re.compile(
    "origin|referer|sec-.*|forwarded|x-forwarded-.*|x-real-ip|via|tailscale-.*"
)


def is_host_allowed(host: str, allowed: Collection[str]) -> bool:
    """Return whether a request for this host may be answered.

    A web page elsewhere could have its own name point here (DNS rebinding) and read the answers. So only
    names that are known are answered to, and addresses, which no such page can have.

    Args:
        host: the Host field of the request, with or without a port.
        allowed: names that are known besides ``localhost``, in lower case and without a dot at the end;
            ``*`` for all.
    """
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return False
    name = match[1].strip("[]")
    name = name.removesuffix(".")
    if name == _ALWAYS or name in allowed or _ANY in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_from_here(request: Request) -> bool:
    """Return whether a program on this machine asks, over the Unix socket.

    A proxy may stand before the socket, as root, and pass on what browsers ask: that is nobody's wish.
    """
    return request.is_local and not any(map(_OF_BROWSERS_AND_PROXIES.fullmatch, request.headers))


def may_renew(peer_uid: int | None, *, is_local: bool, own_uid: int) -> bool:
    """Return whether a client may have certificates renewed: root, and who runs the service.

    Args:
        peer_uid: of the client's process; ``None`` where the platform does not tell. The socket is its
            owner's alone then.
        is_local: whether it asks from here, see :func:`is_from_here`.
        own_uid: of this process.
    """
    return is_local and peer_uid in {0, own_uid, None}
