"""What the whole service does on every release, on the real clock."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from tscert_trio import DomainState
from tscert_trio.service import serve
from tscert_trio.settings import Settings

from .tailnet import service_at, until
from .wiretap import open_wiretap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tscert_trio import CertManager

    from .tailnet import Tailnet


@asynccontextmanager
async def open_service(socket: Path) -> AsyncIterator[CertManager]:
    settings = Settings(
        socket=socket, retry_initial=timedelta(seconds=0.2), refresh_interval=timedelta(seconds=0.5)
    )
    async with trio.open_nursery() as nursery:
        manager: CertManager = await nursery.start(serve, settings)
        yield manager
        nursery.cancel_scope.cancel()


async def all_issued(manager: CertManager, *domains: str) -> None:
    """Wait until the service keeps certificates for exactly these names, and has them."""

    def is_so() -> bool:
        kept = manager.statistics().domains
        return [one.domain for one in kept] == sorted(domains) and all(
            one.state is DomainState.ISSUED for one in kept
        )

    await until(is_so)


async def test_a_change_of_the_serve_config_is_picked_up(tailnet: Tailnet, domain: str) -> None:
    await tailnet.set_cert_domains(domain, f"second-{domain}")
    await tailnet.set_serve_config(service_at(domain))
    async with open_service(tailnet.socket_path) as manager:
        await all_issued(manager, domain)
        await tailnet.set_serve_config(service_at(domain, f"second-{domain}"))
        await all_issued(manager, domain, f"second-{domain}")
        await tailnet.set_serve_config(service_at(f"second-{domain}"))
        await all_issued(manager, f"second-{domain}")


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
async def test_a_serve_config_changed_by_a_restart_is_picked_up(
    tailnet: Tailnet, domain: str, *, kill: bool
) -> None:
    await tailnet.set_cert_domains(domain, f"second-{domain}")
    await tailnet.set_serve_config(service_at(domain))
    async with open_service(tailnet.socket_path) as manager:
        await all_issued(manager, domain)
        await tailnet.stop(kill=kill)
        await until(lambda: not manager.statistics().bus_connected)
        await tailnet.start()
        await tailnet.set_serve_config(service_at(domain, f"second-{domain}"))
        await all_issued(manager, domain, f"second-{domain}")


async def test_the_command_issues_and_ends_by_sigterm_with_status_0(tailnet: Tailnet, domain: str) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.set_serve_config(service_at(domain))
    async with open_wiretap(tailnet.socket_path) as tap:
        process = await trio.lowlevel.open_process(
            [
                sys.executable,
                "-m",
                "tscert_trio",
                "run",
                "--socket",
                str(tap.socket_path),
                "--state",
                ":memory:",
                "--log-format",
                "json",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            await until(
                lambda: (
                    process.poll() is not None or [one.status for one in tap.of(f"cert/{domain}")] == [200]
                )
            )
            await until(lambda: process.poll() is not None or len(tap.open()) == 1)
            still_open = [one.target for one in tap.open()]
            process.terminate()
            with trio.fail_after(30):
                await process.wait()
        finally:
            process.kill()
        assert process.stdout is not None
        output = b"".join([piece async for piece in process.stdout]).decode()
        await process.stdout.aclose()
    assert process.returncode == 0, output
    assert still_open == ["/localapi/v0/watch-ipn-bus?mask=18"]
    assert any(json.loads(line).get("domain") == domain for line in output.splitlines())
    assert "PRIVATE KEY" not in output
