"""What a handler is asked, and what it may answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["HangUp", "Request", "Response", "StreamResponse"]


class HangUp(Exception):  # noqa: N818 -- an order, not an error
    """Raised by a handler, or by the body of a `StreamResponse`: close the connection as it is."""


class _Client(Protocol):
    client_is_gone: bool
    peer_uid: int | None

    @property
    def is_local(self) -> bool: ...

    async def wait_until_gone(self) -> None: ...


@attrs.define(eq=False)
class Request:
    """One request, its body included."""

    method: str
    target: str
    """As sent: path and query, percent-encoded; before them perhaps a scheme and a host."""
    path: str
    """Decoded. It begins with a slash and has no NUL; what is no UTF-8 has become U+FFFD."""
    query: Mapping[str, str]
    """Of a name given twice the first value, as in Go."""
    headers: Mapping[str, str]
    """Names in lower case. ``host`` is that of the target where it names one."""
    body: bytes
    _client: _Client

    @property
    def is_local(self) -> bool:
        """Whether it came over a Unix socket."""
        return self._client.is_local

    @property
    def peer_uid(self) -> int | None:
        """The user at the other end of a Unix socket when it was connected; None on TCP.

        Also None where the platform does not tell: only Linux does (``SO_PEERCRED``).
        """
        return self._client.peer_uid

    @property
    def is_gone(self) -> bool:
        """Whether `wait_until_gone` has found the client gone."""
        return self._client.client_is_gone

    async def wait_until_gone(self) -> None:
        """Wait until the client closes its side of the connection, or half of it: nobody can tell.

        This is Go's request context. One task at a time may wait, and only while the handler runs. May be
        cancelled at any time, which loses nothing.
        """
        await self._client.wait_until_gone()


@attrs.frozen(kw_only=True)
class Response:
    """An answer that is known whole."""

    status: int = 200
    body: bytes = attrs.field(default=b"", repr=False)
    headers: Sequence[tuple[str, str]] = ()
    cut_at: int | None = None
    """Hang up after this many bytes of the body, though all were promised. For tests of clients."""


@attrs.frozen(kw_only=True, eq=False)
class StreamResponse:
    """An answer sent piece by piece, each at once, in chunks (RFC 9112, section 7.1)."""

    write_body: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
    """Called with a function that sends one piece. It is cancelled when the client has gone."""
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    finished: trio.Event = attrs.field(factory=trio.Event)
    """Set when nothing more will be sent, for whatever reason."""
