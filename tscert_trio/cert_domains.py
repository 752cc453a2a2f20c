"""The node's CertDomains, kept up to date by one IPN bus watch for all cert loops.

Tailscale's own managers open one watch per name, and each release's fails on the tailscaled of some
other. This one asks for nothing that any release from v1.86 on refuses, takes each message only as a
hint to ask, and while a name waits asks now and then without one, so that a lost message costs minutes
at most.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import attrs
import trio
from trio_util import AsyncValue

from .errors import LocalAPIError, NotACertDomainError, UnreachableError, without_frames
from .hints import Hints
from .serve_config import some_of

if TYPE_CHECKING:
    from .localapi import LocalAPI

__all__ = ["CertDomains", "CertDomainsView"]

_logger = logging.getLogger(__name__)

_POLL_SECONDS = 300
_MIN_QUERY_INTERVAL = 1
_MAX_BACKOFF = 60
_BLIND_AFTER = 60
_GREETING_SECONDS = 1
_SILENT_WAIT_SECONDS = 10
"""How long a new name may take to become a CertDomain before that is worth a line."""


@attrs.frozen(kw_only=True)
class CertDomainsView:
    """What is known of the node's CertDomains."""

    names: frozenset[str] | None = None
    """The newest answer; ``None`` before the first."""
    is_blind: bool = False
    """tailscaled is there and has not answered the question for a minute. Waiting is best effort:
    who waits goes on to one attempt then, as in ``kube/certs``."""

    def lets_through(self, domain: str) -> bool:
        """Return whether a loop may ask for this name."""
        # A wildcard is had for a name that is listed, where the tailnet allows it (from v1.98 on).
        return self.is_blind or (self.names is not None and domain.removeprefix("*.") in self.names)


class CertDomains:
    """Follows the node's CertDomains. :meth:`run` does the work.

    Args:
        client: asks tailscaled.
        hints: given one whenever tailscaled says that something may have changed; one given by
            somebody else makes it ask, too.
    """

    def __init__(self, client: LocalAPI, hints: Hints) -> None:
        self._client = client
        self.hints = hints
        """Occasions to look again, whoever gives them."""
        self._view = AsyncValue(CertDomainsView())
        self._waiting = AsyncValue(0)
        self.changes = Hints()
        """Told by tailscaled itself: what failed because of it may go well now."""
        self._silent_since: float | None = None
        self.trouble: LocalAPIError | None = None
        """Why the last question was not answered; ``None`` where it was."""
        self._first_connected_at: float | None = None
        self.bus_connected = False
        """Whether the bus is being watched just now."""

    @property
    def view(self) -> CertDomainsView:
        """What is known now."""
        return self._view.value

    async def wait_for(self, domain: str) -> None:
        """Wait until a loop may ask for ``domain``: it is listed, or nobody can tell.

        Where that takes longer than it does as a rule, it is logged once.
        """
        if self.view.lets_through(domain):
            await trio.lowlevel.checkpoint()
            return
        self._waiting.value += 1
        try:
            with trio.move_on_after(_SILENT_WAIT_SECONDS):
                await self._view.wait_value(lambda view: view.lets_through(domain))
                return
            view = await self._view.wait_value(lambda view: view.names is not None or view.is_blind)
            if not view.lets_through(domain):
                _logger.warning(
                    "%s: waiting, since it is not among this node's CertDomains (%s). %s",
                    domain,
                    some_of(view.names or ()),
                    NotACertDomainError.remedy,
                    extra={"domain": domain},
                )
            await self._view.wait_value(lambda view: view.lets_through(domain))
        finally:
            self._waiting.value -= 1

    async def run(self) -> None:
        """Follow the CertDomains until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_bus, name="IPN bus watch")
            nursery.start_soon(self._poll)
            await self._ask_on_hints()

    async def _watch_bus(self) -> None:
        failures, told = 0, ""
        while True:
            began = trio.current_time()
            trouble = ""
            try:
                async with self._client.watch_ipn_bus() as messages:
                    self.bus_connected = True
                    self._tell_message()
                    async for _fields in messages:
                        self._tell_message()
                _logger.debug("tailscaled ended the IPN bus watch; watching again")
            except LocalAPIError as exc:
                if self.bus_connected:
                    _logger.debug("the IPN bus watch broke off (%s); watching again", exc)
                elif isinstance(exc, UnreachableError):  # the question for the CertDomains tells that
                    if failures == 1:
                        self.hints.give()
                else:
                    trouble = f"cannot watch the IPN bus: {exc}. {exc.meaning} {exc.remedy}"
            finally:
                self.bus_connected = False
            if trouble and trouble != told:
                _logger.warning("%s", trouble)
            told = trouble
            if trio.current_time() - began > _MAX_BACKOFF:
                failures = 0
            await trio.sleep(_backoff(failures))
            failures += 1

    async def _ask_on_hints(self) -> None:
        failures = 0
        while True:
            seen = self.hints.count
            failures = 0 if await self._ask() else failures + 1
            await trio.sleep(_MIN_QUERY_INTERVAL)
            at_most = _backoff(failures) - _MIN_QUERY_INTERVAL if failures else math.inf
            await self.hints.wait(seen, at_most=at_most)

    async def _poll(self) -> None:
        while True:
            await self._waiting.wait_value(lambda waiting: waiting > 0)
            with trio.move_on_after(_POLL_SECONDS) as patience:
                await self._waiting.wait_value(0)
            if patience.cancelled_caught:
                self.hints.give()

    async def _ask(self) -> bool:
        try:
            names = await self._client.cert_domains()
        except UnreachableError as exc:
            self._no_answer(exc, is_there=False)
            return False
        except LocalAPIError as exc:
            self._no_answer(exc, is_there=True)
            return False
        if self.trouble is not None:
            _logger.info("tailscaled answers")
            self._tell_change()
        if names != self.view.names:
            _logger.info("the node may have certificates for %s", some_of(names))
        self._silent_since = self.trouble = None
        self._view.value = CertDomainsView(names=names)
        return True

    def _tell_message(self) -> None:
        """Take a message as a change, but not the state that a first watch begins with."""
        if self._first_connected_at is None:
            self._first_connected_at = trio.current_time()
        if trio.current_time() - self._first_connected_at < _GREETING_SECONDS:
            self.hints.give()
        else:
            self._tell_change()

    def _tell_change(self) -> None:
        self.changes.give()
        self.hints.give()

    def _no_answer(self, exc: LocalAPIError, *, is_there: bool) -> None:
        if str(exc) != str(self.trouble):
            _logger.warning("cannot learn the node's CertDomains: %s. %s %s", exc, exc.meaning, exc.remedy)
        self.trouble = without_frames(exc)
        if not is_there:  # it is waited for, uncounted
            self._silent_since = None
            self._view.value = attrs.evolve(self.view, is_blind=False)
            return
        now = trio.current_time()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since >= _BLIND_AFTER and not self.view.is_blind:
            _logger.warning(
                "tailscaled has not told the node's CertDomains for a minute: trying without knowing them"
            )
            self._view.value = attrs.evolve(self.view, is_blind=True)


def _backoff(failures: int) -> float:
    """Return seconds: 1, 2, 4 … 60."""
    return float(min(2 ** min(failures, 6), _MAX_BACKOFF))
