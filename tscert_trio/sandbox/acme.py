"""One issuance, as tailscaled and its CA do it together (``feature/acme/cert.go``, ``tempfork/acme``)."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .ca import AcmeError
from .contexts import BackgroundContext, ContextError, RequestContext
from .faults import Fault, FaultKind, Stage
from .limits import exact_name_text

if TYPE_CHECKING:
    from ..clock import Clock
    from .ca import CertificateAuthority, Issued
    from .fault_list import Faults
    from .versions import SandboxVersion

__all__ = ["Context", "DaemonError", "Issuance"]

Context: TypeAlias = RequestContext | BackgroundContext

_LONGEST_BACKOFF = 10
_SHORTEST_BACKOFF = 0.001  # tempfork/acme: never 0, which would end the retries
_CA_HOST = "acme-v02.api.letsencrypt.org"
_REQUESTS = {
    Stage.ACCOUNT: ("Get", "directory"),
    Stage.ORDER: ("Post", "acme/new-order"),
    Stage.VALIDATE: ("Post", "acme/chall/1/1/1"),
    Stage.FINALIZE: ("Post", "acme/finalize/1/1"),
}
"""The first request of each step, which is the one that fails where the CA is out of reach."""


class DaemonError(Exception):
    """An error of tailscaled itself: its text is the answer's."""


class _DialError(DaemonError):
    """The CA is out of reach."""


@attrs.define(eq=False, kw_only=True)
class Issuance:
    """One attempt for one name. Its locks are its caller's business."""

    version: SandboxVersion
    ca: CertificateAuthority
    faults: Faults
    clock: Clock
    context: Context
    domain: str
    replaces: int | None
    """Serial number of the valid certificate that is to be replaced."""
    may_meet_faults: bool = True
    """Whether no fault has bitten this request yet."""

    async def check_account(self, *, is_known: bool) -> None:
        """Ask the CA for the account, or open one.

        Raises:
            DaemonError: the flow ends with this text.
            AcmeError: the same, and the CA said so.
        """
        step = "acme.GetReg" if is_known else "acme.Register"
        try:
            self.context.check()
            await self._ask_ca(Stage.ACCOUNT)
        except AcmeError as exc:
            raise _wrapped(exc, step) from None
        except (_DialError, ContextError) as exc:
            raise DaemonError(f"{step}: {exc}") from None

    async def run(self, issue_delay: float) -> Issued:
        """Order, prove, finalize and store.

        Args:
            issue_delay: how long the CA takes, in seconds.

        Raises:
            DaemonError: the flow ends with this text.
            AcmeError: the same, and the CA said so in a way that tailscaled can tell.
        """
        try:
            await self._order()
            await self._set_dns()
            await self._validate()
            if issue_delay:
                await self.context.sleep(issue_delay)
            try:
                await self._ask_ca(Stage.FINALIZE)
            except (AcmeError, _DialError, ContextError) as exc:
                raise DaemonError(f"CreateOrder: {exc}") from None
        except ContextError as exc:
            raise DaemonError(str(exc)) from None
        issued = self.ca.finalize_order(self.domain, replaces=self.replaces, now=self.clock())
        fault = await self._meet(Stage.STORE)
        if fault is not None:
            raise DaemonError(fault.text or self._no_space())
        return issued

    async def _order(self) -> None:
        await self._ask_ca(Stage.ORDER)
        self.ca.new_order(self.domain, replaces=self.replaces, now=self.clock())

    async def _set_dns(self) -> None:
        name, value = self._record_name, secrets.token_urlsafe(32)
        step = f'SetDNS "{name}" => "{value}"'
        try:
            fault = await self._meet(Stage.SET_DNS)
        except ContextError as exc:
            url = "https://controlplane.tailscale.com/machine/set-dns"
            raise DaemonError(f'{step}: Post "{url}": {exc}') from None
        if fault is not None:
            raise DaemonError(f"{step}: set-dns response: 500 Internal Server Error, {fault.text[:200]}")

    async def _validate(self) -> None:
        try:
            await self._ask_ca(Stage.VALIDATE)
        except (AcmeError, _DialError) as exc:
            raise DaemonError(f"Accept: {exc}") from None
        fault = await self._meet(Stage.VALIDATE)
        if fault is None:
            return
        self.ca.invalidate_order(self.domain, replaces=self.replaces, now=self.clock())
        text = "acme: order  status: invalid"  # the CA does not repeat the order's URL
        if self.version.shows_problem:
            detail = fault.text or f"No TXT record found at {self._record_name}"
            text += f"; problem: {AcmeError(fault.type, detail, status=fault.status)}"
        raise DaemonError(text)

    async def _ask_ca(self, stage: Stage) -> None:
        """Send the CA one request; again, while it answers with 429 or 5xx and the context lasts."""
        tries, fault = 0, None
        while True:
            if self.ca.is_cut_off:
                raise _DialError(_dial_text(stage))
            problem = self.ca.away_problem()
            if problem is None:
                fault = await self._next_fault(stage, fault)
                problem = self._refusal(stage, fault)
            if problem is None:
                return
            if stage is Stage.ORDER:
                self.ca.refuse_order(self.domain, problem, replaces=self.replaces, now=self.clock())
            if not (problem.status == 429 or problem.status >= 500):
                raise problem
            tries += 1
            wait = min(2 ** (min(tries, 30) - 1), _LONGEST_BACKOFF)
            if problem.retry_after is not None:
                wait = max(problem.retry_after, _SHORTEST_BACKOFF)
            try:
                await self.context.sleep(wait)
            except ContextError:
                raise problem from None  # the last answer of the CA is what is told

    async def _next_fault(self, stage: Stage, previous: Fault | None) -> Fault | None:
        """Return the fault that bites a request to the CA: the one that bit before, while it lasts."""
        if previous is not None:
            return previous if self.faults.take_again(previous) else None
        # What goes wrong with the validation is told by the order, and not by this request.
        return await self._meet(stage) if stage is not Stage.VALIDATE else None

    def _refusal(self, stage: Stage, fault: Fault | None) -> AcmeError | None:
        """Return the problem that the CA answers with, if any."""
        if fault is None:
            if stage is not Stage.ORDER:
                return None
            return self.ca.limits.breach(self.domain, replaces=self.replaces, now=self.clock())
        if fault.kind is FaultKind.ERROR:
            raise DaemonError(fault.text)
        detail = fault.text or self._limit_text(fault.retry_after)
        return AcmeError(fault.type, detail, status=fault.status, retry_after=fault.retry_after)

    async def _meet(self, stage: Stage) -> Fault | None:
        """Return the fault that ends this stage, if any; a delay or a hang is over when this returns.

        Raises:
            ContextError: the context ended meanwhile.
        """
        if not self.may_meet_faults:
            return None
        fault = self.faults.take(
            stage, domain=self.domain, in_background=isinstance(self.context, BackgroundContext)
        )
        if fault is None:
            return None
        self.may_meet_faults = False
        if fault.kind in {FaultKind.DELAY, FaultKind.HANG}:
            await self.context.sleep(fault.seconds)
            return None
        return fault

    def _limit_text(self, retry_after: float | None) -> str:
        return exact_name_text(None if retry_after is None else self.clock() + timedelta(seconds=retry_after))

    def _no_space(self) -> str:
        path = f"/var/lib/tailscale/certs/{self.domain.replace('*', 'wildcard_')}"
        return f"write {path}.key.tmp1719391219: no space left on device"

    @property
    def _record_name(self) -> str:
        return f"_acme-challenge.{self.domain.removeprefix('*.')}"


def _dial_text(stage: Stage) -> str:
    method, path = _REQUESTS[stage]
    return f'{method} "https://{_CA_HOST}/{path}": dial tcp: lookup {_CA_HOST}: i/o timeout'


def _wrapped(error: AcmeError, step: str) -> AcmeError:
    """Return the same error with Go's ``%w`` round it, which keeps what it is."""
    error.args = (f"{step}: {error}",)
    return error
