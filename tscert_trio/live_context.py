"""Keeps the ``ssl.SSLContext``s that servers asked for at the newest certificates.

The private key is asked for only here, and for the names of these contexts only: by a look, so that it is no
order (``docs/design.rst``, rule 9). It is in memory from tailscaled's answer until OpenSSL has it.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakSet

import attrs
import trio

from .cert_requests import look_at_pair
from .errors import LocalAPIError
from .hints import Hints
from .server_context import NameContext, ServerContext, SNIContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .cert_loop import CertLoop, LoopContext
    from .certificate import Certificate, CertPair

__all__ = ["LiveContexts"]

_logger = logging.getLogger(__name__)

_MIN_ROUND_INTERVAL = 0.2  # seconds: thousands of names may have news at once
_MIN_BACKOFF, _MAX_BACKOFF = 1.0, 60.0


@attrs.define(eq=False)
class _Fetch:
    """A certificate that is being fetched."""

    leaf: Certificate | None = None
    """The one that was to be had when it failed last."""
    nap: trio.CancelScope | None = None


@attrs.define(eq=False)
class LiveContexts:
    """The contexts of one manager. They are followed as long as somebody else holds them.

    One task follows them from the first on, and one more for each name whose certificate is being fetched.
    """

    _context: LoopContext
    _nursery: trio.Nursery
    _news: Hints
    _loops: Callable[[], Mapping[str, CertLoop]]
    """All cert loops by name, in order."""
    _contexts: WeakSet[ServerContext] = attrs.field(factory=WeakSet, init=False)
    _fetching: dict[str, _Fetch] = attrs.field(factory=dict, init=False)
    _changed: Hints = attrs.field(factory=Hints, init=False)
    _is_followed: bool = attrs.field(default=False, init=False)
    _is_closed: bool = attrs.field(default=False, init=False)

    async def for_name(self, domain: str) -> ssl.SSLContext:
        """See :meth:`CertManager.ssl_context`."""
        context = NameContext(ssl.PROTOCOL_TLS_SERVER)
        context.domain = self._full_name(domain)
        await self._wait_for(context, context.domain)
        return context

    async def by_sni(self, default: str | None) -> ssl.SSLContext:
        """See :meth:`CertManager.sni_context`."""
        context = SNIContext(ssl.PROTOCOL_TLS_SERVER)
        context.managed, context.expand = self._loops, self._meant_by
        context.default = self._full_name(default) if default is not None else None
        await self._wait_for(context, context.default)
        return context

    def _full_name(self, domain: str) -> str:
        loops, name = self._loops(), domain.lower().removesuffix(".")
        if name in loops:
            return name
        meant = self._meant_by(name)
        if not meant:
            raise KeyError(f"{domain} has no cert loop")
        if len(meant) > 1:
            raise KeyError(f"{domain} may be {' or '.join(meant)}: write the whole name")
        return meant[0]

    def _meant_by(self, label: str) -> list[str]:
        """Return the managed names that a short host name may mean.

        Tailscale's Go client (``ExpandSNIName``) takes the first CertDomain that begins with it. A managed
        name need be no CertDomain (yet); it is enough that it lies in a tailnet of which the node has some.
        """
        known = self._context.cert_domains.view.names
        tailnets = {name.partition(".")[2] for name in known or ()}
        return [
            name
            for name, (first, _, tailnet) in ((name, name.partition(".")) for name in self._loops())
            if first == label and (known is None or tailnet in tailnets)
        ]

    async def _wait_for(self, context: ServerContext, domain: str | None) -> None:
        """Wait until a context presents the certificate of a name, or any."""
        if self._nursery.cancel_scope.cancel_called:
            raise trio.ClosedResourceError("the cert manager is closed")
        if not self._is_followed:
            self._is_followed = True
            self._nursery.start_soon(self._follow, name="live contexts")
        self._contexts.add(context)
        self._fetch_what_is_new()
        while True:
            seen = self._changed.count
            await trio.lowlevel.checkpoint()
            if domain in context.leaves if domain is not None else context.leaves:
                return
            if self._is_closed:
                raise trio.ClosedResourceError("the cert manager is closed")
            if domain is not None and domain not in self._loops():
                raise KeyError(f"{domain} has no cert loop any more")
            await self._changed.wait(seen)

    async def _follow(self) -> NoReturn:
        try:
            while True:
                seen = self._news.count
                self._forget_what_is_gone()  # in a frame of its own, which holds no context afterwards
                self._fetch_what_is_new()
                self._changed.give()
                await trio.sleep(_MIN_ROUND_INTERVAL)
                await self._news.wait(seen)
        finally:
            self._is_closed = True
            self._changed.give()

    def _forget_what_is_gone(self) -> None:
        for context in self._contexts:
            if isinstance(context, SNIContext):
                context.keep_only(self._loops())

    def _fetch_what_is_new(self) -> None:
        for domain, loop in self._loops().items():
            fetch = self._fetching.get(domain)
            if fetch is None and self._behind(domain, loop):
                fetch = self._fetching[domain] = _Fetch()
                self._nursery.start_soon(self._fetch, domain, fetch, name=f"live context {domain}")
            elif fetch is not None and fetch.nap is not None and fetch.leaf is not loop.record.leaf:
                fetch.nap.cancel(reason="there is another one")

    def _behind(self, domain: str, loop: CertLoop) -> list[ServerContext]:
        """Return the contexts that do not present the certificate that tailscaled was seen to have."""
        leaf = loop.leaf_at_hand()
        if leaf is None:
            return []
        return [
            context
            for context in self._contexts
            if context.wants(domain) and _is_behind(context.leaves.get(domain), leaf)
        ]

    async def _fetch(self, domain: str, fetch: _Fetch) -> None:
        """Bring all contexts of a name up to date, however often that fails."""
        wait, told = _MIN_BACKOFF, ""
        changes = self._context.cert_domains.changes
        try:
            while (loop := self._loops().get(domain)) and self._behind(domain, loop):
                seen, fetch.leaf = changes.count, loop.record.leaf
                trouble = await self._fetch_once(domain, loop)
                if not trouble:
                    continue
                _logger.log(
                    logging.DEBUG if trouble == told else logging.WARNING,
                    "%s: servers here cannot present the newest certificate yet: %s",
                    domain,
                    trouble,
                    extra={"domain": domain},
                )
                told = trouble
                await trio.sleep(_MIN_BACKOFF)
                with trio.move_on_after(wait - _MIN_BACKOFF) as fetch.nap:
                    await changes.wait(seen)
                fetch.nap = None
                wait = min(2 * wait, _MAX_BACKOFF)
        finally:
            del self._fetching[domain]

    async def _fetch_once(self, domain: str, loop: CertLoop) -> str:
        """Return what went wrong, which is nothing where the text is empty."""
        context = self._context
        try:
            async with context.look_gate.slot():
                if not self._behind(domain, loop):  # it took long, and a look may order by now
                    return ""
                pair = await look_at_pair(context.client, domain)
        except LocalAPIError as exc:
            if exc.reached_ca is not False:
                loop.look_failed(exc)
            return f"{str(exc).rstrip('.')}. {exc.meaning} {exc.remedy}"
        return self._put(domain, loop, pair)

    def _put(self, domain: str, loop: CertLoop, pair: CertPair) -> str:
        trouble = ""
        for context in self._behind(domain, loop):
            if _is_behind(context.leaves.get(domain), pair.leaf):
                try:
                    context.put(domain, pair)
                except (OSError, ValueError) as exc:  # an SSLError is an OSError
                    trouble = f"it cannot be loaded: {exc}"
        self._changed.give()
        if self._behind(domain, loop):
            return trouble or "tailscaled gives an older one than it had"
        return ""


def _is_behind(leaf: Certificate | None, other: Certificate) -> bool:
    """Return whether another certificate is to be presented instead."""
    return leaf is None or (leaf.fingerprint != other.fingerprint and leaf.not_before <= other.not_before)
