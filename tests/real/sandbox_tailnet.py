"""The sandbox as a ``Tailnet``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from tscert_trio.ari import RenewalInfoClient
from tscert_trio.localapi.transport import UnixTransport
from tscert_trio.sandbox import Fault, Sandbox, Stage, open_sandbox

from .tailnet import CA_IS_DOWN, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from .tailnet import Problem


@attrs.define(eq=False)
class SandboxTailnet:
    """One sandbox."""

    _sandbox: Sandbox
    version: str

    @property
    def socket_path(self) -> Path:
        return self._sandbox.socket_path

    async def set_cert_domains(self, *names: str) -> None:
        self._sandbox.set_cert_domains(names)
        if self._sandbox.is_running:
            await until(lambda: self._sandbox._node.has_netmap)

    async def set_serve_config(self, config: Mapping[str, Any]) -> None:
        self._sandbox.set_serve_config(config)

    async def control_fails(self, text: str) -> None:
        self._sandbox.add_fault(Fault.control(text))

    async def control_hangs(self) -> None:
        self._sandbox.add_fault(Fault.delay(60, at=Stage.SET_DNS))

    async def record_stays_unseen(self) -> None:
        self._sandbox.add_fault(Fault.validation())

    async def ca_refuses(self, problem: Problem) -> None:
        self._refuse(problem, Stage.ORDER)

    async def ca_refuses_to_finalize(self, problem: Problem) -> None:
        self._refuse(problem, Stage.FINALIZE)

    async def ca_is_down(self) -> None:
        self._refuse(CA_IS_DOWN, Stage.ACCOUNT)

    def _refuse(self, problem: Problem, at: Stage) -> None:
        fault = Fault.problem(
            problem.type, problem.detail, status=problem.status, retry_after=problem.retry_after, at=at
        )
        self._sandbox.add_fault(fault)

    async def repair(self) -> None:
        self._sandbox.clear_faults()

    async def make_due(self, domain: str) -> None:
        self._sandbox.set_ari_window(
            domain, datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)
        )

    def renewal_info_client(self) -> RenewalInfoClient:
        return RenewalInfoClient(
            self._sandbox.directory_url, transport=UnixTransport(self._sandbox.ca_socket_path)
        )

    async def orders(self, domain: str) -> int:
        return sum(order.domain == domain and order.refused is None for order in self._sandbox.orders)

    async def stop(self, *, kill: bool = False) -> None:
        await self._sandbox.stop(killed=kill)

    async def start(self, *, read_only: bool = False) -> None:
        self._sandbox.set_read_only(read_only)
        await self._sandbox.start(no_netmap_for=0.1)


@asynccontextmanager
async def open_sandbox_tailnet(version: str) -> AsyncIterator[SandboxTailnet]:
    """Open a sandbox of one release, without CertDomains or serve config, whose CA is like Pebble."""
    async with open_sandbox(
        version,
        cert_domains=(),
        issue_delay=0.1,
        background_renewal=True,
        pending_order_life=timedelta(0),
    ) as sandbox:
        yield SandboxTailnet(sandbox, version)
