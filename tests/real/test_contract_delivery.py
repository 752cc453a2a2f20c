"""From a renewal on tailscaled of each release to a server, Debian's own, that is seen serving the new leaf.

The targets are those of ``docs/recipes.rst``, but for paths and ports.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
from certs import key_pem, make_cert, make_key

from tscert_trio import CertPair, open_cert_manager
from tscert_trio.delivery_record import DeliveryState
from tscert_trio.target_settings import (
    FileSettings,
    FilesSettings,
    HookSettings,
    ProbeSettings,
    TargetSettings,
)

from .servers import HAProxy, PostgreSQL
from .systemctl import write_systemctl
from .tailnet import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tscert_trio import CertManager, LocalClient
    from tscert_trio.statistics import DeliveryStatistics

    from .server import Server
    from .tailnet import Tailnet

UNIT = "server.service"


@pytest.fixture
async def systemctl(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let ``systemctl`` reload the server of the test; return the file with its calls."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return write_systemctl(tmp_path, {UNIT: server})


def target_of(server: Server, **options: object) -> TargetSettings:
    """Return the target of the server's recipe."""
    files = FilesSettings(directory=str(server.tls))
    if isinstance(server, HAProxy):
        files = FilesSettings(combined=FileSettings(path=f"{server.tls}/{{domain}}.pem"))
    if isinstance(server, PostgreSQL):
        files = FilesSettings(directory=str(server.tls), owner=server.user)
    probe = None if isinstance(server, PostgreSQL) else ProbeSettings(host="127.0.0.1", port=server.port)
    found = TargetSettings(name="server", files=files, reload=UNIT, probe=probe)
    return attrs.evolve(found, **options)


@asynccontextmanager
async def open_manager(client: LocalClient, *targets: TargetSettings) -> AsyncIterator[CertManager]:
    async with open_cert_manager(client, targets=targets) as manager:
        yield manager


def delivery(manager: CertManager) -> DeliveryStatistics:
    (found,) = manager.statistics().deliveries
    return found


async def with_first_certificate(tailnet: Tailnet, client: LocalClient, server: Server) -> str:
    """Start the server with the name's first certificate, as ``tailscale cert`` would have written it."""
    await tailnet.set_cert_domains(server.domain)
    pair = await client.cert_pair(server.domain)
    server.install(pair.chain_pem, pair.key_pem)
    await server.start()
    assert await server.served_fingerprint() == pair.leaf.fingerprint
    return pair.leaf.fingerprint


async def test_a_renewed_certificate_is_written_the_server_reloaded_and_seen_serving_it(
    tailnet: Tailnet, client: LocalClient, server: Server, systemctl: Path
) -> None:
    first = await with_first_certificate(tailnet, client, server)
    async with open_manager(client, target_of(server)) as manager:
        manager.ensure_domains([server.domain])
        await until(lambda: bool(manager.statistics().deliveries) and delivery(manager).is_done)
        orders = await tailnet.orders(server.domain)
        manager.renew(server.domain, force=True)
        await until(lambda: delivery(manager).is_done and delivery(manager).fingerprint != first)
        found = delivery(manager)
    assert found.error is None
    assert found.state is found.goal
    await server.wait_until_served(found.fingerprint)
    if not isinstance(server, PostgreSQL):
        assert (found.state, found.served) == (DeliveryState.SEEN_SERVED, "new")
    assert any(UNIT in call for call in systemctl.read_text().splitlines())
    assert await tailnet.orders(server.domain) == orders + 1


async def test_a_server_that_is_down_meanwhile_is_seen_serving_when_it_is_back(
    tailnet: Tailnet, client: LocalClient, server: Server, systemctl: Path
) -> None:
    if isinstance(server, PostgreSQL):
        return  # nobody looks at what it serves
    first = await with_first_certificate(tailnet, client, server)
    async with open_manager(client, target_of(server)) as manager:
        manager.ensure_domains([server.domain])
        await until(lambda: bool(manager.statistics().deliveries) and delivery(manager).is_done)
        await server.stop()
        manager.renew(server.domain, force=True)
        await until(lambda: delivery(manager).failures == 1 and delivery(manager).fingerprint != first)
        assert delivery(manager).served == "none"
        await server.start()
        manager.renew(server.domain)
        await until(lambda: delivery(manager).is_done)


async def test_the_certificate_of_another_server_on_its_port_is_told(
    tailnet: Tailnet, client: LocalClient, server: Server
) -> None:
    if isinstance(server, PostgreSQL):
        return
    key = make_key()
    other = CertPair.from_pem(key_pem(key) + make_cert(key, server.domain))
    server.install(other.chain_pem, other.key_pem)
    await server.start()
    await tailnet.set_cert_domains(server.domain)
    async with open_manager(client, target_of(server, files=None, reload=None)) as manager:
        manager.ensure_domains([server.domain])
        await until(lambda: bool(manager.statistics().deliveries) and delivery(manager).failures == 1)
        found = delivery(manager)
    assert found.served == "other"
    assert "serves another certificate" in (found.error or "")


async def test_a_hook_of_certbots_kind_works_unchanged(
    tailnet: Tailnet, client: LocalClient, server: Server, tmp_path: Path
) -> None:
    hook = tmp_path / "deploy"
    hook.write_text(
        f'#!/bin/sh\nset -e\ncp "$RENEWED_LINEAGE/fullchain.pem" {tmp_path}/chain\n'
        f'cp "$RENEWED_LINEAGE/privkey.pem" {tmp_path}/key\n'
    )
    hook.chmod(0o700)
    await tailnet.set_cert_domains(server.domain)
    target = TargetSettings(name="hook", hook=HookSettings(command=(str(hook),)))
    async with open_manager(client, target) as manager:
        manager.ensure_domains([server.domain])
        await until(lambda: bool(manager.statistics().deliveries) and delivery(manager).is_done)
        leaf = manager.statistics()[server.domain].leaf
    pair = CertPair.from_pem((tmp_path / "key").read_bytes() + (tmp_path / "chain").read_bytes())
    assert pair.leaf == leaf
