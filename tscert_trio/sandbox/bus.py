"""The IPN bus: what ``watch-ipn-bus`` sends (``ipn/localapi/localapi.go``, ``ipn/ipnlocal/local.go``)."""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING

import attrs
import trio

from ..http_server import HangUp, StreamResponse
from .go import dumps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .versions import SandboxVersion

__all__ = ["Bus", "MaskError", "Watcher", "check_mask", "notify"]

INITIAL_STATE, INITIAL_PREFS, INITIAL_NETMAP, NO_PRIVATE_KEYS = 2, 4, 8, 16
RATE_LIMIT, PEER_CHANGES, NO_NETMAP, INITIAL_STATUS, PEER_PATCHES = 256, 4096, 8192, 16384, 32768
IN_PROCESS = 65536
_QUEUE = 128
_DELTA_BITS = {
    PEER_CHANGES: "NotifyPeerChanges",
    NO_NETMAP: "NotifyNoNetMap",
    INITIAL_STATUS: "NotifyInitialStatus",
    PEER_PATCHES: "NotifyPeerPatches",
}


class MaskError(Exception):
    """A mask that is refused, with this text and status."""

    def __init__(self, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def check_mask(text: str, version: SandboxVersion, *, may_write: bool) -> int:
    """Return the mask, if this release takes it.

    Raises:
        MaskError: it does not, or not from this caller.
    """
    if text and not (text.isascii() and text.isdigit() and int(text) < 2**64):
        raise MaskError("bad mask")
    mask = int(text or "0")
    if version.refuses_unhidden_keys and not mask & NO_PRIVATE_KEYS and not may_write:
        raise MaskError(
            "watch IPN bus access denied, must set ipn.NotifyNoPrivateKeys "
            "when not running as admin/root or operator",
            status=403,
        )
    if version.refuses_in_process_bit and mask & IN_PROCESS:
        raise MaskError("NotifyInProcessNoDisconnect is only valid for in-process IPN bus subscribers")
    if version.refuses_old_bits:
        if mask & RATE_LIMIT:
            raise MaskError("the NotifyRateLimit IPN bus subscription bit is no longer supported")
        if mask & INITIAL_NETMAP:
            raise MaskError(
                "the NotifyInitialNetMap IPN bus subscription bit is no longer supported; "
                "seed from NotifyInitialStatus instead"
            )
    elif version.refuses_mixed_rate_limit and mask & RATE_LIMIT:
        names = [f"ipn.{name}" for bit, name in _DELTA_BITS.items() if mask & bit]
        if names:
            listed = names[0] if len(names) == 1 else f"({' | '.join(names)})"
            raise MaskError(
                f"NotifyRateLimit is incompatible with new-style IPN bus subscription bits {listed}"
            )
    return mask


def notify(
    version: SandboxVersion, fields: Mapping[str, object] | None = None, *, netmap: bytes | None = None
) -> bytes:
    """Return one message: an ``ipn.Notify`` with these fields set, and the older ones ``null``."""
    message: dict[str, object] = {"Version": f"{version.version}-sandbox"}
    message |= dict.fromkeys(["ErrMessage", "LoginFinished", "State", "Prefs"])
    if netmap is None and not version.refuses_old_bits:
        message["NetMap"] = None
    message |= dict.fromkeys(["Engine", "BrowseToURL", "DriveShares"])
    message |= fields or {}
    text = dumps(message).encode()
    if netmap is None:
        return text + b"\n"
    return b"".join([text[:-1], b',"NetMap":', netmap, b"}\n"])


@attrs.define(eq=False, kw_only=True)
class Watcher:
    """One ``watch-ipn-bus`` stream."""

    version: SandboxVersion
    mask: int
    session_id: str = attrs.field(factory=lambda: secrets.token_hex(8), init=False)
    has_ended: bool = attrs.field(default=False, init=False)
    _is_cut: bool = attrs.field(default=False, init=False)
    _queue: deque[bytes] = attrs.field(factory=deque, init=False)
    _more: trio.Event = attrs.field(factory=trio.Event, init=False)

    def put(self, message: bytes) -> None:
        """Queue a message; a watcher that is too slow loses it, or is cut off."""
        if self.has_ended:
            return
        if len(self._queue) < _QUEUE:
            self._queue.append(message)
            self._more.set()
        elif self.version.ends_lagging_watch:
            self._queue.clear()
            text = "IPN bus consumer fell behind; closing watch"
            self._queue.append(notify(self.version, {"ErrMessage": text}))
            self.end()

    def end(self, *, cut: bool = False) -> None:
        """End the stream when all is sent that is queued; ``cut``: at once, without its last chunk."""
        self.has_ended, self._is_cut = True, cut
        self._more.set()

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send what is put, until `end`."""
        while True:
            while self._queue and not self._is_cut:
                await send(self._queue.popleft())
            if self._is_cut:
                raise HangUp
            if self.has_ended:
                return
            self._more = trio.Event()
            await self._more.wait()


@attrs.define(eq=False)
class Bus:
    """All the watchers."""

    _watchers: dict[Watcher, StreamResponse] = attrs.field(factory=dict, init=False)
    _to_drop: int = attrs.field(default=0, init=False)

    def add(self, watcher: Watcher, headers: Sequence[tuple[str, str]]) -> StreamResponse:
        """Let a watcher have what is published from now on, in the answer that is returned."""
        self._prune()
        response = StreamResponse(
            headers=[*headers, ("Content-Type", "application/json")], write_body=watcher.run
        )
        self._watchers[watcher] = response
        return response

    def publish(self, message: bytes) -> None:
        """Give every watcher a message."""
        if self._to_drop:
            self._to_drop -= 1
            return
        self._prune()
        for watcher in self._watchers:
            watcher.put(message)

    def drop_next(self) -> None:
        """Lose the next message, as older releases do when a watcher is slow."""
        self._to_drop += 1

    def end_all(self, *, cut: bool = False) -> None:
        """End every stream."""
        for watcher in self._watchers:
            watcher.end(cut=cut)

    async def wait_until_ended(self) -> None:
        """Wait until every stream has ended, its last chunk included."""
        for response in list(self._watchers.values()):
            await response.finished.wait()

    def _prune(self) -> None:
        for watcher in [watcher for watcher, answer in self._watchers.items() if answer.finished.is_set()]:
            del self._watchers[watcher]
