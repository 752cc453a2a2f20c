"""A tailnet that tests can change: the sandbox, or the real programs. The contract suite runs on both."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
import httpx
import trio

from tscert_trio.ari import RenewalInfoClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .stack.admin import Admin
    from .stack.node import Node
    from .stack.stack import Stack

_T = TypeVar("_T")

PATIENCE = 60
"""Seconds within which what takes one on a quiet machine must have come about."""


def release(version: str) -> tuple[int, ...]:
    """Return a version to compare with."""
    return tuple(int(part) for part in version.split("."))


async def until(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Wait until something has come about."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 -- what changes is in another process or has no event
            await trio.sleep(0.01)


def service_at(*domains: str) -> dict[str, Any]:
    """Return a serve config with a Service that speaks HTTPS at each name."""
    return {
        "Services": {
            f"svc:{domain.split('.')[0]}": {
                "TCP": {"443": {"HTTPS": True}},
                "Web": {f"{domain}:443": {"Handlers": {"/": {"Text": "hello"}}}},
            }
            for domain in domains
        }
    }


@attrs.frozen(kw_only=True)
class Problem:
    """How a CA says no (RFC 8555, section 6.7)."""

    type: str
    """Without ``urn:ietf:params:acme:error:``."""
    detail: str
    status: int = 403
    retry_after: int | None = None
    """Seconds."""

    def body(self) -> str:
        """Return the problem document."""
        return json.dumps({"type": f"urn:ietf:params:acme:error:{self.type}", "detail": self.detail})


CA_IS_DOWN = Problem(status=503, type="serverInternal", detail="The service is down for maintenance")


class Tailnet(Protocol):
    """One node of a tailnet, and what is around it. Each change has taken effect when its call returns."""

    @property
    def version(self) -> str:
        """The tailscaled's release, such as ``1.104.5``."""

    @property
    def socket_path(self) -> Path:
        """The tailscaled's socket."""

    async def set_cert_domains(self, *names: str) -> None:
        """Replace the tailnet's CertDomains."""

    async def set_serve_config(self, config: Mapping[str, Any]) -> None:
        """Replace the node's serve config."""

    async def control_fails(self, text: str) -> None:
        """Let the control server refuse to publish DNS records."""

    async def control_hangs(self) -> None:
        """Let the control server take a minute to publish a DNS record."""

    async def record_stays_unseen(self) -> None:
        """Let the control server say that it published the DNS record, and not do it."""

    async def ca_refuses(self, problem: Problem) -> None:
        """Let the CA refuse every new order.

        tailscaled's ACME client asks again until its caller has left, after a problem with status 429 or
        5xx; every other is final.
        """

    async def ca_refuses_to_finalize(self, problem: Problem) -> None:
        """Let the CA refuse every order when it is to be finalized."""

    async def ca_is_down(self) -> None:
        """Let the CA answer everything with 503."""

    async def repair(self) -> None:
        """Undo all of the above."""

    async def make_due(self, domain: str) -> None:
        """Let the CA want the certificate renewed.

        tailscaled itself learns it only if no plain call for the certificate has followed its issuance.
        """

    def renewal_info_client(self) -> RenewalInfoClient:
        """Return a client that asks the CA when to renew; use it as a context manager."""

    async def orders(self, domain: str) -> int:
        """Return how many orders for this name the CA has accepted."""

    async def stop(self, *, kill: bool = False) -> None:
        """End tailscaled: by SIGTERM, or by SIGKILL, which leaves the socket's file."""

    async def start(self, *, read_only: bool = False) -> None:
        """Start tailscaled again, with its state, perhaps in read-only share mode; it is not ready yet."""


@attrs.define(eq=False)
class RealTailnet:
    """Real programs, started by ``stack``."""

    _stack: Stack
    version: str
    _admin: Admin = attrs.field(init=False)
    _node: Node = attrs.field(init=False)
    _is_running: bool = attrs.field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self._admin, self._node = self._stack.admin, self._stack.node(self.version)

    @property
    def socket_path(self) -> Path:
        return self._node.socket_path

    async def reset(self) -> None:
        """Give the next test a tailscaled that has just started, and a CA that works."""
        await self.stop(kill=True)
        await self.repair()
        await self.start()
        await self.set_cert_domains()
        await self.set_serve_config({})

    async def set_cert_domains(self, *names: str) -> None:
        await _in_thread(lambda: self._admin.set_cert_domains(names))
        if self._is_running:
            await self._has_netmap(sorted(names))

    async def set_serve_config(self, config: Mapping[str, Any]) -> None:
        await self._has_netmap()
        await _in_thread(lambda: self._node.request("POST", "serve-config", config))

    async def _has_netmap(self, cert_domains: list[str] | None = None) -> None:
        def is_so() -> bool:
            status = json.loads(self._node.request("GET", "status?peers=false"))
            known = sorted(status.get("CertDomains") or ())
            return status.get("CurrentTailnet") is not None and cert_domains in (None, known)

        with trio.fail_after(PATIENCE):
            while not await _in_thread(is_so):  # noqa: ASYNC110 -- it is in another process
                await trio.sleep(0.01)

    async def control_fails(self, text: str) -> None:
        await _in_thread(lambda: self._admin.set_dns(fail=text))

    async def control_hangs(self) -> None:
        await _in_thread(lambda: self._admin.set_dns(delay=60))

    async def record_stays_unseen(self) -> None:
        await _in_thread(lambda: self._admin.set_dns(skip=True))

    async def ca_refuses(self, problem: Problem) -> None:
        await self._refuse("/order-plz", problem)

    async def ca_refuses_to_finalize(self, problem: Problem) -> None:
        await self._refuse("/finalize-order/", problem)

    async def _refuse(self, path: str, problem: Problem) -> None:
        headers = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
        body = problem.body()
        await _in_thread(
            lambda: self._admin.add_acme_fault(path, status=problem.status, headers=headers, body=body)
        )

    async def ca_is_down(self) -> None:
        await self._refuse("", CA_IS_DOWN)

    async def repair(self) -> None:
        await _in_thread(self._admin.set_dns)
        await _in_thread(self._admin.clear_acme_faults)

    async def make_due(self, domain: str) -> None:
        def move_window() -> None:
            chain = self._node.request("GET", f"cert/{domain}?type=crt&min_validity=1s").decode()
            end_of_leaf = "-----END CERTIFICATE-----\n"
            leaf = chain[: chain.index(end_of_leaf)] + end_of_leaf
            self._admin.set_renewal_window(leaf, "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z")

        await _in_thread(move_window)

    def renewal_info_client(self) -> RenewalInfoClient:
        trust = ssl.create_default_context(cafile=str(self._stack.trust))
        return RenewalInfoClient(self._stack.directory_url, transport=httpx.AsyncHTTPTransport(verify=trust))

    async def orders(self, domain: str) -> int:
        log = await _in_thread(self._admin.acme_log)
        accepted = [entry["order"] for entry in log if entry.get("order") and "fault" not in entry]
        return sum({"type": "dns", "value": domain} in order["identifiers"] for order in accepted)

    async def stop(self, *, kill: bool = False) -> None:
        await _in_thread(lambda: self._node.stop(kill=kill))
        self._is_running = False

    async def start(self, *, read_only: bool = False) -> None:
        environ = {"TS_CERT_SHARE_MODE": "ro"} if read_only else {}
        await _in_thread(lambda: self._node.start(**environ))
        self._is_running = True


async def _in_thread(call: Callable[[], _T]) -> _T:
    return await trio.to_thread.run_sync(call)
