"""What ``LocalClient`` can rely on, on every release: the calls that succeed."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from tscert_trio import IssuanceError, LocalAPIError, LocalClient, NotACertDomainError, UnreachableError

from .tailnet import Problem, release, service_at

if TYPE_CHECKING:
    from tscert_trio import Certificate

    from .tailnet import Tailnet

CAPABILITIES = {"1.86.5": 123, "1.98.10": 138, "1.100.0": 141, "1.102.5": 142, "1.104.5": 148}
MORE_THAN_A_LIFE = timedelta(days=100)


async def test_the_first_call_issues_and_the_next_one_returns_the_same(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    first = await client.cert(domain)
    second = await client.cert(domain)
    assert first.leaf.names == (domain,)
    assert timedelta(days=89) < first.leaf.lifetime < timedelta(days=91)
    assert second.leaf == first.leaf
    assert await tailnet.orders(domain) == 1


async def test_a_pair_has_the_key_of_the_certificate_and_hides_it(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    pair = await client.cert_pair(domain)
    chain = await client.cert(domain)
    assert pair.leaf == chain.leaf
    assert pair.chain_pem == chain.pem
    assert pair.key_pem.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    assert "PRIVATE KEY" not in repr(pair)


async def test_ten_calls_at_once_make_one_order(tailnet: Tailnet, client: LocalClient, domain: str) -> None:
    names = [f"{n}-{domain}" for n in range(5)]
    await tailnet.set_cert_domains(*names)
    # tailscaled takes a certificate for too young that begins after the call did, and Pebble's begins in
    # the second of its issuance (Let's Encrypt's an hour before): where the machine was so slow that they
    # straddled a second, that says nothing, and another name is tried.
    for name in names:
        await trio.sleep(1 - time.time() % 1)
        called_at = datetime.now(UTC)
        leaves = await _ask_ten_times(client, name)
        if max(leaf.not_before for leaf in leaves) <= called_at:
            break
    assert len({leaf.serial_number for leaf in leaves}) == 1
    assert await tailnet.orders(name) == 1


async def _ask_ten_times(client: LocalClient, name: str) -> list[Certificate]:
    leaves = []

    async def ask() -> None:
        leaves.append((await client.cert(name)).leaf)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    return leaves


async def test_the_release_shows_in_capability_and_version(tailnet: Tailnet, client: LocalClient) -> None:
    status = await client.status()
    assert client.capability == CAPABILITIES[tailnet.version]
    assert status.version.startswith(tailnet.version)


async def test_cert_domains_are_told_by_both_calls(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    assert await client.cert_domains() == frozenset()
    await tailnet.set_cert_domains(domain, f"also-{domain}")
    assert await client.cert_domains() == {domain, f"also-{domain}"}
    status = await client.status()
    assert set(status.cert_domains) == {domain, f"also-{domain}"}
    assert status.backend_state in {"Starting", "Running"}
    assert status.self_dns_name


async def test_the_status_and_the_prefs_tell_of_tailnet_and_services(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    status, prefs = await client.status(), await client.prefs()
    assert status.magic_dns_suffix
    assert status.self_dns_name.endswith(status.magic_dns_suffix)
    assert status.magic_dns_enabled is not None
    assert not status.approved_services
    assert (prefs.advertised_services, prefs.operator) == (frozenset(), "")
    assert client.version is not None
    assert client.version.startswith(tailnet.version)


async def test_a_serve_config_is_known_by_its_etag(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    empty = await client.serve_config()
    assert empty is not None
    assert empty.config.domains() == frozenset()
    assert await client.serve_config(known_etag=empty.etag) is None

    await tailnet.set_serve_config(service_at(domain))
    changed = await client.serve_config(known_etag=empty.etag)
    assert changed is not None
    assert changed.etag != empty.etag
    assert changed.config.domains() == {domain}
    assert await client.serve_config(known_etag=changed.etag) is None


async def test_the_bus_tells_its_state_first_and_then_each_change_of_cert_domains(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    async with client.watch_ipn_bus() as messages:
        assert "State" in await anext(messages)
        await tailnet.set_cert_domains(domain)
        hint = "SelfChange" if release(tailnet.version) >= (1, 98) else "NetMap"
        async for fields in messages:
            if hint in fields:
                break
        assert await client.cert_domains() == {domain}


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
async def test_a_bus_watch_ends_with_tailscaled(tailnet: Tailnet, client: LocalClient, *, kill: bool) -> None:
    async with client.watch_ipn_bus() as messages:
        assert "State" in await anext(messages)
        await tailnet.stop(kill=kill)
        with contextlib.suppress(LocalAPIError):
            async for _fields in messages:
                pass


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
async def test_a_tailscaled_that_is_gone_is_unreachable_and_then_serves_what_it_had(
    tailnet: Tailnet, client: LocalClient, domain: str, *, kill: bool
) -> None:
    await tailnet.set_cert_domains(domain)
    before = await client.cert(domain)
    await tailnet.stop(kill=kill)
    for call in (client.cert(domain), client.cert_domains(), client.status(), client.serve_config()):
        with pytest.raises(UnreachableError):
            await call
    with pytest.raises(UnreachableError):
        async with client.watch_ipn_bus():
            raise AssertionError("it cannot be watched")

    await tailnet.start()
    with trio.fail_after(60):
        while True:
            with contextlib.suppress(UnreachableError):  # "no netmap available" for a moment
                after = await client.cert(domain)
                break
            await trio.sleep(0.01)
    assert after.leaf == before.leaf
    assert await tailnet.orders(domain) == 1


async def test_more_validity_than_is_left_brings_a_new_certificate(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    first = await client.cert(domain)
    assert (await client.cert(domain, min_validity=timedelta(seconds=1))).leaf == first.leaf
    assert (await client.cert(domain, min_validity=timedelta(days=80))).leaf == first.leaf
    assert await tailnet.orders(domain) == 1

    renewed = await client.cert(domain, min_validity=MORE_THAN_A_LIFE)
    assert renewed.leaf.serial_number != first.leaf.serial_number
    assert (await client.cert(domain)).leaf == renewed.leaf
    assert await tailnet.orders(domain) == 2


async def test_a_plain_call_on_a_due_certificate_returns_the_old_one_and_renews_behind_it(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    old = await client.cert(domain)
    await tailnet.make_due(domain)
    assert (await client.cert(domain)).leaf == old.leaf
    while (await client.cert(domain, min_validity=timedelta(seconds=1))).leaf == old.leaf:  # noqa: ASYNC110
        await trio.sleep(0.01)
    assert await tailnet.orders(domain) == 2


async def test_a_renewal_that_fails_shows_only_to_a_call_with_min_validity(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    old = await client.cert(domain)
    await tailnet.make_due(domain)
    await tailnet.ca_refuses(Problem(status=400, type="rejectedIdentifier", detail="forbidden by policy"))
    for _ in range(3):
        assert (await client.cert(domain)).leaf == old.leaf
    with pytest.raises(IssuanceError, match="forbidden by policy"):
        await client.cert(domain, min_validity=MORE_THAN_A_LIFE)

    await tailnet.repair()
    renewed = await client.cert(domain, min_validity=MORE_THAN_A_LIFE)
    assert renewed.leaf.serial_number != old.leaf.serial_number


async def test_a_final_dot_is_understood_from_1_102_on(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    if release(tailnet.version) >= (1, 102):
        assert (await client.cert(f"{domain}.")).leaf.names == (domain,)
    else:
        with pytest.raises(NotACertDomainError):
            await client.cert(f"{domain}.")


async def test_a_cached_certificate_of_a_withdrawn_name_is_served_before_1_96_only(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    cached = await client.cert(domain)
    await tailnet.set_cert_domains(f"not-{domain}")
    if release(tailnet.version) < (1, 96):
        assert (await client.cert(domain)).leaf == cached.leaf
    else:
        with pytest.raises(NotACertDomainError):
            await client.cert(domain)
    await tailnet.set_cert_domains(domain)
    assert (await client.cert(domain)).leaf == cached.leaf
    assert await tailnet.orders(domain) == 1
