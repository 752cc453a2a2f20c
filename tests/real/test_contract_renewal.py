"""How a certificate is renewed on every release, on the real clock: once, and with its failures told."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from tscert_trio import (
    ControlError,
    DomainState,
    DueReason,
    IssuanceError,
    Journal,
    LocalAPIError,
    LocalClient,
    RateLimitedError,
    RenewalInfoError,
    ValidationError,
)

from .managers import asked_again, failed, issued, quick_manager, renewed
from .tailnet import Problem, release, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .tailnet import Tailnet

SECOND = timedelta(seconds=1)
ENOUGH = 5 * SECOND
"""For an order to be finished, on a loaded machine too."""
HOUR = timedelta(hours=1)
REFUSING = Problem(status=400, type="rejectedIdentifier", detail="forbidden by policy")
HANGING = Problem(status=429, type="rateLimited", detail="too many new orders recently")


async def serial_served(client: LocalClient, domain: str) -> int:
    """Return the serial number of the certificate that tailscaled has. This orders none."""
    return (await client.cert(domain, min_validity=SECOND)).leaf.serial_number


async def test_a_wish_renews_a_fresh_certificate_once(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    async with quick_manager(client) as manager:
        manager.ensure_domains({domain})
        old = await issued(manager, domain)

        manager.renew(domain)  # it is not due, so this looks only
        await asked_again(manager, domain)
        assert await issued(manager, domain) == old
        assert await tailnet.orders(domain) == 1

        manager.renew(domain, force=True)
        new = await renewed(manager, domain, old)
        await asked_again(manager, domain)
        assert await issued(manager, domain) == new
    assert await serial_served(client, domain) == new
    assert await tailnet.orders(domain) == 2


async def test_the_ca_knows_a_certificate_by_its_ari_id(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    leaf = (await client.cert(domain)).leaf
    async with tailnet.renewal_info_client() as ca:
        await ca.check()
        assert ca.knows(leaf)
        info = await ca.fetch(leaf)
        assert leaf.not_before < info.window.start < info.window.end < leaf.not_after
        assert timedelta(minutes=1) <= info.retry_after <= timedelta(hours=12)

        await tailnet.make_due(domain)
        assert (await ca.fetch(leaf)).window.end == datetime(2020, 1, 2, tzinfo=UTC)

        assert leaf.ari_id is not None
        another = attrs.evolve(leaf, ari_id=f"{leaf.ari_id.partition('.')[0]}.Aa")
        with pytest.raises(RenewalInfoError, match="HTTP status 404"):
            await ca.fetch(another)


async def test_a_moved_window_is_learnt_from_the_ca_and_the_renewal_tried_until_it_succeeds(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    """No tailscaled ever learns it; a plain call gets 200 and the old certificate all the while."""
    await tailnet.set_cert_domains(domain)
    old = (await client.cert(domain)).leaf
    await client.cert(domain)  # tailscaled asks for the window, once for all
    await tailnet.make_due(domain)
    assert (await client.cert(domain)).leaf == old
    await tailnet.ca_refuses(REFUSING)
    async with (
        tailnet.renewal_info_client() as ca,
        quick_manager(client, renewal_info=ca) as manager,
    ):
        manager.ensure_domains({domain})
        assert await issued(manager, domain) == old.serial_number
        await until(lambda: manager.statistics()[domain].failures >= 2)
        failing = manager.statistics()[domain]
        assert (failing.leaf, failing.due_reason) == (old, DueReason.CA_WINDOW)
        assert REFUSING.detail in str(failing.last_error)
        assert (await client.cert(domain)).leaf == old
        assert await tailnet.orders(domain) == 1

        await tailnet.repair()
        new = await renewed(manager, domain, old.serial_number)
        await asked_again(manager, domain)
        assert await issued(manager, domain) == new
        assert manager.statistics()[domain].failures == 0
    assert await serial_served(client, domain) == new
    assert await tailnet.orders(domain) == 2


@pytest.mark.parametrize(
    ("breaks", "error", "text"),
    [
        (lambda tailnet: tailnet.ca_refuses(REFUSING), IssuanceError, REFUSING.detail),
        (lambda tailnet: tailnet.ca_refuses(HANGING), RateLimitedError, HANGING.detail),
        (lambda tailnet: tailnet.control_fails("no DNS today"), ControlError, "no DNS today"),
        (lambda tailnet: tailnet.record_stays_unseen(), ValidationError, "status: invalid"),
    ],
    ids=["refused", "429", "control", "validation"],
)
async def test_a_renewal_that_fails_is_told_at_once_though_the_old_certificate_is_served(
    tailnet: Tailnet,
    client: LocalClient,
    domain: str,
    caplog: pytest.LogCaptureFixture,
    breaks: Callable[[Tailnet], Awaitable[None]],
    error: type[LocalAPIError],
    text: str,
) -> None:
    await tailnet.set_cert_domains(domain)
    patience = ENOUGH if error is RateLimitedError else 20 * SECOND
    with Journal() as journal:
        async with quick_manager(
            client, refresh_interval=HOUR, issue_timeout=patience, journal=journal
        ) as manager:
            manager.ensure_domains({domain})
            old = await issued(manager, domain)
            before = manager.statistics()[domain]
            await breaks(tailnet)
            caplog.clear()
            caplog.set_level(logging.INFO)

            manager.renew(domain, force=True)
            await failed(manager, domain, error)
            failing = manager.statistics()[domain]
            assert text in str(failing.last_error)
            assert (failing.state, failing.failures) == (DomainState.FAILED, 1)
            assert failing.leaf == before.leaf
            assert failing.last_success_at == before.last_success_at
            assert await serial_served(client, domain) == old
            assert (await client.cert(domain)).leaf.serial_number == old
            attempts = journal.attempts(domain)
            assert [(one.request, one.outcome) for one in attempts] == [
                ("issue", "issued"),
                ("renew", error.__name__),
            ]
            assert text in (attempts[-1].text or "")
            logged = [line for line in caplog.records if domain in line.getMessage()]
            assert [line.levelname for line in logged] == ["WARNING"]
            assert text in logged[0].getMessage()

            await tailnet.repair()
            manager.renew(domain, force=True)
            new = await renewed(manager, domain, old)
            assert (await issued(manager, domain), manager.statistics()[domain].failures) == (new, 0)
            assert journal.attempts(domain)[-1].outcome == "issued"
    assert await serial_served(client, domain) == new


async def test_not_even_a_wish_goes_before_the_ca_s_retry_after(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    """It is taken for a minute at least. Before 1.102 tailscaled does not tell it."""
    await tailnet.set_cert_domains(domain)
    async with quick_manager(client, refresh_interval=HOUR, issue_timeout=ENOUGH) as manager:
        manager.ensure_domains({domain})
        old = await issued(manager, domain)
        await tailnet.ca_refuses(attrs.evolve(HANGING, retry_after=3))
        manager.renew(domain, force=True)
        await failed(manager, domain, RateLimitedError)
        await tailnet.repair()
        manager.renew(domain, force=True)
        if release(tailnet.version) < (1, 102):
            await renewed(manager, domain, old)
            return
        with trio.move_on_after(2):  # nothing is to happen
            await renewed(manager, domain, old)
        held = manager.statistics()[domain]
        assert (held.state, held.limit) == (DomainState.LIMITED, "the CA's Retry-After")
        assert held.next_attempt_at is not None
        assert held.last_attempt_at is not None
        assert held.next_attempt_at - held.last_attempt_at > timedelta(seconds=50)
        assert await tailnet.orders(domain) == 1
