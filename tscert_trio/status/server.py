"""The status server: on a Unix socket, and, where asked for, on TCP."""

from __future__ import annotations

import grp
import logging
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import trio

from ..http_server import serve_http
from ..serve_config import split_host_port
from ..unix_listener import open_unix_listener
from .feed import Feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from ..cert_manager import CertManager
    from ..http_server import Handler, Request, Response, StreamResponse
    from .routes import StatusRoutes

    Listeners: TypeAlias = Sequence[trio.SocketListener]

__all__ = ["serve_status"]

_logger = logging.getLogger(__name__)

_MAX_CONNECTIONS = 64
_STALL_SECONDS = 15
_RETRY_SECONDS = _LOOK_SECONDS = 30
_FIRST_TRY_SECONDS = 1
"""So long the certificates wait for a name server that is slow to tell the address to listen on."""
_MAX_BODY = 1024
_TELLS_PEERS = hasattr(socket, "SO_PEERCRED")


async def serve_status(
    manager: CertManager,
    *,
    socket_path: Path | None,
    group: str | None = None,
    listen: str | None = None,
    allowed_hosts: Sequence[str] = (),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Tell how the manager stands, until cancelled, which closes all connections at once.

    What cannot be listened on is told, and tried again every half minute: the certificates are more
    important, and an address of the tailnet may come only later.

    Args:
        manager: what is told about, and made to renew.
        socket_path: of the Unix socket; ``None`` for none. Its folder is made if need be.
        group: who may connect to that besides its owner; by default the group of this process.
        listen: ``host:port`` for TCP, which is read only, on each of the host's addresses; ``None`` for none.
            Port 0 is any that is free.
        allowed_hosts: names by which it may be asked over TCP, besides ``localhost`` and addresses.
        task_status: told after the first try to listen, or after a second. The log says where.
    """
    feed = Feed(manager)

    @cache
    def routes() -> StatusRoutes:
        from .handlers import StatusContext  # what they need is not loaded before somebody asks
        from .routes import StatusRoutes

        known = tuple(host.lower().removesuffix(".") for host in allowed_hosts)
        return StatusRoutes(StatusContext(manager, feed), known)

    async def answer(request: Request) -> Response | StreamResponse:
        return await routes().answer(request)

    places: dict[str, Callable[[], AbstractAsyncContextManager[Listeners]]] = {}
    if socket_path is not None:
        places[str(socket_path)] = partial(_open_unix, socket_path, group)
    if listen is not None:
        places[listen] = partial(_open_tcp, listen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        tries = [trio.Event() for _ in places]
        for (place, open_listeners), tried in zip(places.items(), tries, strict=True):
            nursery.start_soon(_keep_serving, answer, place, open_listeners, tried)
        with trio.move_on_after(_FIRST_TRY_SECONDS):
            for tried in tries:
                await tried.wait()
        task_status.started()
        await trio.sleep_forever()


async def _keep_serving(
    answer: Handler,
    place: str,
    open_listeners: Callable[[], AbstractAsyncContextManager[Listeners]],
    tried: trio.Event,
) -> NoReturn:
    told = ""
    while True:
        pause: float = 0
        try:
            async with open_listeners() as listeners:
                wheres = [_where(listener) for listener in listeners]
                for where in wheres:
                    _logger.info("the status %s", where)
                told = ""
                tried.set()
                await _serve_until_gone(answer, listeners)
                _logger.warning("the status %s no more, since its file is gone; making it anew", wheres[0])
        except* (OSError, LookupError) as exc:
            pause, reason = _RETRY_SECONDS, str(_first(exc))
            if reason != told:
                told = reason
                _logger.error(  # noqa: TRY400 -- no bug
                    "nobody can ask at %s how it stands (%s); trying again every half minute", place, told
                )
        tried.set()
        await trio.sleep(pause)


async def _serve_until_gone(answer: Handler, listeners: Listeners) -> None:
    """Serve until something, which tidies up perhaps, has removed or replaced the socket's file."""
    path = listeners[0].socket.getsockname()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: serve_http(
                answer,
                listeners,
                stall_timeout=_STALL_SECONDS,
                max_connections=_MAX_CONNECTIONS,
                max_body=_MAX_BODY,
                may_skip_line=True,
                on_bug=_tell_bug,
            )
        )
        ours = _stat(path)
        while ours == _stat(path):  # noqa: ASYNC110 -- the file system tells nobody
            await trio.sleep(_LOOK_SECONDS)
        nursery.cancel_scope.cancel(reason="the socket's file is gone")


def _stat(path: object) -> tuple[int, int] | None:
    """Return which file this is; always the same where it is none, but an address."""
    if not isinstance(path, str | bytes):
        return None
    try:
        found = Path(os.fsdecode(path)).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _tell_bug(exc: Exception) -> None:
    _logger.error("a bug in the status server has ended a connection; please report it", exc_info=exc)


def _first(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


def _where(listener: trio.SocketListener) -> str:
    name = listener.socket.getsockname()
    if isinstance(name, str | bytes):
        return f"socket is {os.fsdecode(name)}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"page is at http://{host}:{name[1]}/"


@asynccontextmanager
async def _open_unix(path: Path, group: str | None) -> AsyncIterator[Listeners]:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    async with open_unix_listener(path, mode=0o600) as listener:
        if group is not None:
            os.chown(path, -1, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid)
        if _TELLS_PEERS:  # else nobody could tell who asks to renew
            path.chmod(0o660)
        yield [listener]


@asynccontextmanager
async def _open_tcp(address: str) -> AsyncIterator[Listeners]:
    host, port = split_host_port(address)
    async with AsyncExitStack() as stack:  # a host such as localhost has two addresses
        yield [
            await stack.enter_async_context(listener)
            for listener in await trio.open_tcp_listeners(int(port), host=host)
        ]
