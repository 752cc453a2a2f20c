"""The certificates that a tailscaled has, and when it gets new ones (``feature/acme/cert.go``)."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs
import trio

from .acme import Context, DaemonError, Issuance
from .ca import AcmeError
from .contexts import BackgroundContext
from .faults import FaultKind, Stage
from .go import quoted, quoted_list

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..clock import Clock
    from .ca import CertificateAuthority, Issued
    from .ca_server import Window
    from .fault_list import Faults
    from .versions import SandboxVersion

__all__ = ["Certs"]

_ARI_TIMEOUT = 5
_NO_ACCOUNT = "your Tailscale account does not support getting TLS certs"
_READ_ONLY = (
    "retrieving cached TLS certificate failed and cert store is configured in read-only mode, "
    "not attempting to issue a new certificate: "
)


@attrs.define(eq=False, kw_only=True)
class _Memory:
    """What a tailscaled forgets when it stops."""

    renew_at: dict[str, datetime] = attrs.field(factory=dict)
    renewing: set[str] = attrs.field(factory=set)
    locks: defaultdict[str, trio.Lock] = attrs.field(factory=lambda: defaultdict(trio.Lock))
    renewal_lock: trio.Lock = attrs.field(factory=trio.Lock)
    account_lock: trio.Lock = attrs.field(factory=trio.Lock)


@attrs.define(eq=False, kw_only=True)
class Certs:
    """Gives certificates, and sees to their renewal."""

    version: SandboxVersion
    ca: CertificateAuthority
    faults: Faults
    clock: Clock
    cert_domains: Callable[[], Sequence[str] | None]
    """The netmap's CertDomains; ``None``: there is no netmap."""
    issue_delay: float
    is_read_only: bool = False
    wildcards_enabled: bool = False
    pending: set[str] = attrs.field(factory=set, init=False)
    """Names without a usable certificate for which one is being ordered."""
    stored: dict[str, Issued] = attrs.field(factory=dict, init=False)
    windows: dict[str, Window] = attrs.field(factory=dict, init=False)
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    """For renewals that nobody waits for; set while the daemon runs."""
    _memory: _Memory = attrs.field(factory=_Memory, init=False)
    _has_account: bool = attrs.field(default=False, init=False)
    _random: random.Random = attrs.field(factory=lambda: random.Random(0), init=False)  # noqa: S311 -- no secret

    def forget(self) -> None:
        """Do what the end of a process does."""
        self._memory = _Memory()
        self.pending.clear()

    async def get(
        self, context: Context, domain: str, min_validity: timedelta, *, may_meet_faults: bool = True
    ) -> Issued:
        """Return a certificate, a new one if need be (``GetCertPEMWithValidity``).

        Args:
            context: ends the work when it ends.
            domain: as in the URL.
            min_validity: what it must be valid for; 0: whatever there is, while a due one is renewed behind.
            may_meet_faults: whether no fault has bitten this request yet.

        Raises:
            DaemonError: with the text of the answer.
            AcmeError: the same, and the CA said so.
        """
        if self.version.trims_trailing_dot:
            domain = domain.removesuffix(".")
        if not self._looks_valid(domain):
            raise DaemonError("invalid domain")
        if self.version.checks_list_first:
            self.check_listed(domain)
        now = self.clock()
        valid = self._valid(domain, now)
        if valid is not None:
            if self.is_read_only or not await self._should_renew(domain, valid, now, min_validity):
                return valid
            if not min_validity:
                self._renew_behind(domain, now)
                return valid
        if self.is_read_only:
            raise DaemonError(_READ_ONLY + self._read_cause(domain))
        return await self._renew(context, domain, now, min_validity, may_meet_faults=may_meet_faults)

    def check_listed(self, domain: str) -> None:
        """Raise :exc:`DaemonError` unless a certificate may be had for a name (``resolveCertDomain``)."""
        listed = self.cert_domains()
        if listed is None and self.version.checks_list_first:
            raise DaemonError("no netmap available")
        if not listed:
            raise DaemonError(_NO_ACCOUNT)
        if domain.startswith("*.") and self.version.knows_wildcards:
            if not self.wildcards_enabled:
                raise DaemonError("wildcard certificates are not enabled for this node")
            if domain.removeprefix("*.") not in listed:
                raise DaemonError(
                    f"invalid domain {quoted(domain)}; wildcard certificates are not enabled for this domain"
                )
        elif domain not in listed:
            raise DaemonError(f"invalid domain {quoted(domain)}; must be one of {quoted_list(listed)}")

    def set_window(self, domain: str, window: Window) -> None:
        """Set the ARI window of the certificate that is stored, or of the first that will be."""
        self.windows[domain] = window

    def _looks_valid(self, domain: str) -> bool:
        if ".." in domain or "." not in domain or any(character in domain for character in ":/\\\0"):
            return False
        if not self.version.knows_wildcards:
            return True
        rest = domain.removeprefix("*.")
        return "*" not in rest and "." in rest

    def _valid(self, domain: str, now: datetime) -> Issued | None:
        stored = self.stored.get(domain)
        return stored if stored is not None and stored.leaf.valid_at(now) else None

    def _read_cause(self, domain: str) -> str:
        if not self.version.shows_read_cause:
            return "%!w(<nil>)"
        return "cert expired" if domain in self.stored else "no state with given ID"

    async def _should_renew(self, domain: str, valid: Issued, now: datetime, min_validity: timedelta) -> bool:
        if min_validity:
            return valid.leaf.not_after - now < min_validity
        memory = self._memory
        if domain not in memory.renew_at or memory.renewal_lock.locked():
            async with memory.renewal_lock:
                if domain not in memory.renew_at:
                    memory.renew_at[domain] = await self._choose_renewal_time(domain, valid)
        return now > memory.renew_at[domain]

    async def _choose_renewal_time(self, domain: str, valid: Issued) -> datetime:
        """Choose a point in the CA's window; without one, at two thirds of the life.

        A CA that is away is asked again and again until the time for it is over.
        """
        if self.ca.is_away and not self.ca.is_cut_off:
            await trio.sleep(_ARI_TIMEOUT)
        fault = self.faults.take(Stage.ARI, domain=domain)
        has_answer = fault is None or (fault.kind is FaultKind.DELAY and fault.seconds < _ARI_TIMEOUT)
        if fault is not None and fault.kind in {FaultKind.DELAY, FaultKind.HANG}:
            await trio.sleep(min(fault.seconds, _ARI_TIMEOUT))
        window = self.windows.get(domain)
        if has_answer and window is not None and not (self.ca.is_away or self.ca.is_cut_off):
            return window.start + (window.end - window.start) * self._random.random()
        return valid.leaf.not_before + valid.leaf.lifetime * 2 / 3

    def _renew_behind(self, domain: str, now: datetime) -> None:
        memory = self._memory
        if self.version.one_background_renewal:
            if domain in memory.renewing:
                return
            memory.renewing.add(domain)

        async def renew() -> None:
            try:
                await self._renew(BackgroundContext(), domain, now, timedelta(0))
            except (DaemonError, AcmeError):
                pass  # tailscaled logs it, and nobody learns of it
            finally:
                memory.renewing.discard(domain)

        assert self.nursery is not None
        self.nursery.start_soon(renew, name=f"background renewal of {domain}")

    async def _renew(
        self,
        context: Context,
        domain: str,
        now: datetime,
        min_validity: timedelta,
        *,
        may_meet_faults: bool = True,
    ) -> Issued:
        memory = self._memory
        lock = memory.locks[domain if self.version.locks_per_domain else ""]
        async with context.holding(lock):
            # Not as of ``now``: a CA antedates, so that what came while this queued is valid for tailscaled.
            previous = self._valid(domain, self.clock())
            if previous is not None and not await self._should_renew(domain, previous, now, min_validity):
                return previous
            issuance = Issuance(
                version=self.version,
                ca=self.ca,
                faults=self.faults,
                clock=self.clock,
                context=context,
                domain=domain,
                replaces=previous.leaf.serial_number if previous is not None else None,
                may_meet_faults=may_meet_faults,
            )
            if previous is None:
                self.pending.add(domain)
            try:
                async with context.holding(memory.account_lock):
                    await issuance.check_account(is_known=self._has_account)
                    self._has_account = True
                if not self.version.checks_list_first:
                    self.check_listed(domain)
                issued = await issuance.run(self.issue_delay)
            finally:
                self.pending.discard(domain)
            if self.stored.get(domain) is not None:
                self.windows.pop(domain, None)  # it was the window of the old one
            self.stored[domain] = issued
            memory.renew_at.pop(domain, None)
            return issued
