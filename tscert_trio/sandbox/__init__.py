"""A fake tailscaled with a certificate authority inside, to test and to try things with.

It listens on a real Unix socket and answers as a tailscaled of the chosen release does, its mistakes
included; what goes wrong can be scripted::

    async with open_sandbox("1.100.0", cert_domains=["box.tail1234.ts.net"]) as sandbox:
        sandbox.add_fault(Fault.rate_limited(retry_after=3600, domain="box.tail1234.ts.net"))
        async with LocalClient(sandbox.socket_path) as client:
            ...
        assert len(sandbox.orders) == 1

Another process can script it too: see :mod:`tscert_trio.sandbox.admin`.
"""

from __future__ import annotations

from .ca import Order
from .daemon import Call
from .faults import Fault, FaultKind, Stage
from .opening import open_sandbox
from .tailscaled import Sandbox
from .versions import VERSIONS, SandboxVersion

__all__ = [
    "VERSIONS",
    "Call",
    "Fault",
    "FaultKind",
    "Order",
    "Sandbox",
    "SandboxVersion",
    "Stage",
    "open_sandbox",
]
