"""What the cert manager does on every release while the tailnet around it changes, on the real clock."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from tscert_trio import (
    CertManager,
    ControlError,
    DomainState,
    IssuanceError,
    LocalClient,
    NotACertDomainError,
    RateLimitedError,
    ServeConfig,
    UnreachableError,
)

from .managers import asked_again, failed, issued, quick_manager
from .tailnet import Problem, release, service_at, until
from .wiretap import most_at_once, open_wiretap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .tailnet import Tailnet

HANGING = Problem(status=429, type="rateLimited", detail="too many new orders recently")
REFUSING = Problem(status=400, type="rejectedIdentifier", detail="forbidden by policy")


@pytest.fixture
async def manager(client: LocalClient) -> AsyncIterator[CertManager]:
    async with quick_manager(client) as manager:
        yield manager


async def test_a_listed_name_is_issued_and_then_only_looked_at(
    tailnet: Tailnet, manager: CertManager, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    manager.ensure_cert_loops(ServeConfig.from_json(json.dumps(service_at(domain))))
    serial = await issued(manager, domain)
    await asked_again(manager, domain)
    assert await issued(manager, domain) == serial
    assert await tailnet.orders(domain) == 1


async def test_a_name_is_not_asked_for_before_it_enters_cert_domains(
    tailnet: Tailnet, manager: CertManager, domain: str
) -> None:
    await tailnet.set_cert_domains(f"not-{domain}")
    manager.ensure_domains({domain, f"not-{domain}"})
    await issued(manager, f"not-{domain}")
    assert manager.statistics()[domain].state is DomainState.WAITING
    assert manager.statistics()[domain].attempts == 0

    await tailnet.set_cert_domains(domain, f"not-{domain}")
    await issued(manager, domain)
    assert manager.statistics()[domain].attempts == 1
    assert await tailnet.orders(domain) == 1


async def test_a_name_that_leaves_the_config_and_returns_has_its_certificate_still(
    tailnet: Tailnet, manager: CertManager, domain: str
) -> None:
    await tailnet.set_cert_domains(domain, f"stays-{domain}")
    manager.ensure_domains({domain, f"stays-{domain}"})
    serial = await issued(manager, domain)
    await issued(manager, f"stays-{domain}")

    manager.ensure_domains({f"stays-{domain}"})
    assert [one.domain for one in manager.statistics().domains] == [f"stays-{domain}"]
    await asked_again(manager, f"stays-{domain}")

    manager.ensure_domains({domain, f"stays-{domain}"})
    assert await issued(manager, domain) == serial
    assert await tailnet.orders(domain) == 1


async def test_a_name_that_leaves_cert_domains_waits_until_it_returns(
    tailnet: Tailnet, manager: CertManager, domain: str
) -> None:
    """Before 1.96 tailscaled goes on to serve what it has, so there is nothing to wait for."""
    await tailnet.set_cert_domains(domain, f"stays-{domain}")
    manager.ensure_domains({domain})
    serial = await issued(manager, domain)

    await tailnet.set_cert_domains(f"stays-{domain}")
    if release(tailnet.version) >= (1, 96):
        await failed(manager, domain, NotACertDomainError)
        manager.renew(domain)  # else it asks again after a minute, or five
        await until(lambda: manager.statistics()[domain].state is DomainState.WAITING)
        assert manager.statistics()[domain].failures == 0
    else:
        await asked_again(manager, domain)

    await tailnet.set_cert_domains(domain, f"stays-{domain}")
    assert await issued(manager, domain) == serial
    assert await tailnet.orders(domain) == 1


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
async def test_it_survives_that_tailscaled_stops_and_starts(
    tailnet: Tailnet, manager: CertManager, domain: str, *, kill: bool
) -> None:
    await tailnet.set_cert_domains(domain, f"later-{domain}")
    manager.ensure_domains({domain})
    serial = await issued(manager, domain)

    await tailnet.stop(kill=kill)
    await failed(manager, domain, UnreachableError)
    manager.ensure_domains({domain, f"later-{domain}"})
    attempts = manager.statistics()[domain].attempts
    await until(lambda: manager.statistics()[domain].attempts > attempts)
    assert manager.statistics()[domain].failures == 0
    assert not manager.statistics().bus_connected

    await tailnet.start()
    assert await issued(manager, domain) == serial
    if release(tailnet.version) < (1, 96):  # without a netmap it says that no name is a CertDomain
        await tailnet.set_cert_domains(domain, f"later-{domain}")
        manager.renew(f"later-{domain}")
    await issued(manager, f"later-{domain}")
    await until(lambda: manager.statistics().bus_connected)
    assert await tailnet.orders(domain) == 1


async def test_it_waits_for_a_tailscaled_that_is_not_there_yet(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.stop()
    async with quick_manager(client) as manager:
        manager.ensure_domains({domain})
        with trio.move_on_after(1):  # nothing is to happen
            await until(lambda: manager.statistics()[domain].state is not DomainState.WAITING)
        assert manager.statistics()[domain].state is DomainState.WAITING
        await tailnet.start()
        await issued(manager, domain)
        assert manager.statistics()[domain].failures == 0


@pytest.mark.parametrize("what", ["CA", "control server"])
async def test_a_refusal_is_counted_and_retried_until_it_passes(
    tailnet: Tailnet, manager: CertManager, domain: str, what: str
) -> None:
    await tailnet.set_cert_domains(domain)
    if what == "CA":
        await tailnet.ca_refuses(REFUSING)
    else:
        await tailnet.control_fails("no DNS today")
    manager.ensure_domains({domain})
    await until(lambda: manager.statistics()[domain].failures >= 2)
    failing = manager.statistics()[domain]
    assert type(failing.last_error) is (IssuanceError if what == "CA" else ControlError)
    assert failing.leaf is None

    await tailnet.repair()
    await issued(manager, domain)
    assert manager.statistics()[domain].failures == 0


async def test_a_ca_that_hangs_with_429_is_seen_as_what_it_is_and_outlived(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.ca_refuses(HANGING)
    async with quick_manager(client, issue_timeout=timedelta(seconds=5)) as manager:
        manager.ensure_domains({domain})
        await failed(manager, domain, RateLimitedError)
        assert manager.statistics()[domain].failures == 1
        await tailnet.repair()
        manager.renew(domain)  # else it asks again after an hour
        await issued(manager, domain)


async def test_many_names_share_one_bus_watch_and_all_are_issued(tailnet: Tailnet, domain: str) -> None:
    domains = {f"{n}-{domain}" for n in range(12)}
    await tailnet.set_cert_domains(*domains)
    async with (
        open_wiretap(tailnet.socket_path) as tap,
        LocalClient(tap.socket_path) as client,
        quick_manager(client) as manager,
    ):
        manager.ensure_domains(domains)
        for name in domains:
            await issued(manager, name)
        watches = tap.of("watch-ipn-bus")
        assert [(watch.status, watch.is_open) for watch in watches] == [(200, True)]
        at_once = 8 if release(tailnet.version) >= (1, 102) else 1
        first_calls = [tap.of(f"cert/{name}")[0] for name in domains]  # the others are looks
        assert most_at_once(first_calls) <= at_once
    assert [await tailnet.orders(name) for name in sorted(domains)] == [1] * len(domains)


async def test_a_watch_that_ends_with_tailscaled_is_followed_by_one_other(
    tailnet: Tailnet, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    async with (
        open_wiretap(tailnet.socket_path) as tap,
        LocalClient(tap.socket_path) as client,
        quick_manager(client) as manager,
    ):
        manager.ensure_domains({domain})
        await issued(manager, domain)
        await tailnet.stop()
        await until(lambda: not manager.statistics().bus_connected)
        await tailnet.start()
        await until(lambda: manager.statistics().bus_connected)
        await issued(manager, domain)
        watches = [watch for watch in tap.of("watch-ipn-bus") if watch.status == 200]
        assert [watch.is_open for watch in watches] == [False, True]
