"""A TLS server for the demonstration, which serves what lies in a folder."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import attrs
import trio

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DemoServer"]


@attrs.frozen
class DemoServer:
    """Serves for each name the files that ``tailscale cert`` would write, as they are at each connection."""

    folder: Path

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free port of 127.0.0.1, which is told by ``task_status``, until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, stream: trio.SocketStream) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._pick
        try:
            await trio.SSLStream(stream, context, server_side=True).do_handshake()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    def _pick(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> Any:  # noqa: ANN401
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        except OSError:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        return None
