"""tailscaled's own hourly renewal of the names in its serve config (``feature/acme/refresh.go``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
import trio

from .acme import DaemonError
from .ca import AcmeError
from .contexts import BackgroundContext
from .node import RUNNING, names_to_renew

if TYPE_CHECKING:
    from .certs import Certs
    from .node import Node

__all__ = ["RefreshLoop"]

_INTERVAL = 3600
_PATIENCE = 120


@attrs.define(eq=False)
class RefreshLoop:
    """Runs while the node is up and its serve config has names; the first pass is at once."""

    node: Node
    certs: Certs
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def look_again(self) -> None:
        """Notice a new serve config or state."""
        self._changed.set()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            while not self._should_run():
                await self._wait_for_change()
            next_pass = trio.current_time()
            async with trio.open_nursery() as nursery:
                while self._should_run():
                    if trio.current_time() >= next_pass:
                        next_pass += _INTERVAL
                        for name in self._names():
                            nursery.start_soon(self._refresh, name)
                    with trio.move_on_at(next_pass):
                        await self._wait_for_change()
                nursery.cancel_scope.cancel(reason="no names to renew")

    def _should_run(self) -> bool:
        return self.node.state == RUNNING and bool(names_to_renew(self.node.serve_config))

    def _names(self) -> list[str]:
        names = names_to_renew(self.node.serve_config)
        return sorted(name for name in names if name in (self.node.listed or ()))

    async def _refresh(self, name: str) -> None:
        try:
            context = BackgroundContext(trio.current_time() + _PATIENCE)
            await self.certs.get(context, name, timedelta(0))
        except (DaemonError, AcmeError):
            pass  # tailscaled logs it, and nobody learns of it

    async def _wait_for_change(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()
