"""What ``LocalClient`` can rely on, on every release: each failure becomes its exception, with its text."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from tscert_trio import (
    AccountMismatchError,
    AlreadyReplacedError,
    ControlError,
    IssuanceError,
    IssuanceTimeoutError,
    LocalAPIError,
    LocalClient,
    NotACertDomainError,
    PausedError,
    RateLimitedError,
    ReadOnlyStoreError,
    ValidationError,
)

from .tailnet import Problem, release

if TYPE_CHECKING:
    from .tailnet import Tailnet

SHORT = timedelta(seconds=0.5)
ENOUGH = timedelta(seconds=3)
"""For what the CA says to have reached tailscaled, on a loaded machine too."""
TOO_MANY = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s"


async def test_no_name_is_a_cert_domain_of_a_tailnet_that_has_none(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains()
    with pytest.raises(
        NotACertDomainError, match="your Tailscale account does not support getting TLS certs"
    ):
        await client.cert(domain)


async def test_a_name_that_is_not_listed_is_no_cert_domain(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(f"not-{domain}")
    with pytest.raises(
        NotACertDomainError, match=rf'invalid domain "{domain}"; must be one of \["not-{domain}"\]'
    ):
        await client.cert(domain)
    assert await tailnet.orders(domain) == 0


async def test_a_wildcard_is_no_cert_domain(tailnet: Tailnet, client: LocalClient, domain: str) -> None:
    await tailnet.set_cert_domains(domain)
    with pytest.raises(NotACertDomainError):
        await client.cert(f"*.{domain}")


@pytest.mark.parametrize("name", ["localhost", "a..b", "a:443"])
async def test_a_name_of_the_wrong_shape_is_no_cert_domain(
    tailnet: Tailnet, client: LocalClient, name: str
) -> None:
    await tailnet.set_cert_domains("a.tn.ts.net")
    with pytest.raises(NotACertDomainError, match=r"^invalid domain$"):
        await client.cert(name)


async def test_a_control_server_that_publishes_no_record_is_a_control_error_until_it_does(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.control_fails("no DNS today")
    with pytest.raises(ControlError, match=f'^SetDNS "_acme-challenge.{domain}" => ".*, no DNS today$'):
        await client.cert(domain)
    await tailnet.repair()
    assert (await client.cert(domain)).leaf.names == (domain,)


async def test_a_record_that_the_ca_cannot_see_is_a_validation_error(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.record_stays_unseen()
    with pytest.raises(ValidationError, match="status: invalid") as caught:
        await client.cert(domain)
    tells_why = "TXT record" in str(caught.value)
    assert tells_why == (release(tailnet.version) >= (1, 102))


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (Problem(status=400, type="rejectedIdentifier", detail="forbidden by policy"), IssuanceError),
        (Problem(status=403, type="unauthorized", detail="not for you"), ValidationError),
        (Problem(status=403, type="caa", detail="CAA record prevents issuance"), ValidationError),
        (Problem(status=400, type="dns", detail="SERVFAIL looking up TXT"), ValidationError),
        (
            Problem(
                status=409, type="alreadyReplaced", detail="cannot indicate an order replaces a certificate"
            ),
            AlreadyReplacedError,
        ),
        (
            Problem(
                status=403,
                type="unauthorized",
                detail="requester account did not request the certificate being replaced by this order",
            ),
            AccountMismatchError,
        ),
        (
            Problem(
                status=403,
                type="rateLimited",
                detail="Your account is temporarily prevented from requesting certificates for it",
            ),
            PausedError,
        ),
    ],
    ids=lambda value: value.type if isinstance(value, Problem) else value.__name__,
)
async def test_a_ca_that_refuses_tells_why(
    tailnet: Tailnet, client: LocalClient, domain: str, problem: Problem, error: type[LocalAPIError]
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.ca_refuses(problem)
    with pytest.raises(LocalAPIError) as caught:
        await client.cert(domain)
    assert type(caught.value) is error
    text = f"{problem.status} urn:ietf:params:acme:error:{problem.type}: {problem.detail}"
    assert text in str(caught.value)
    assert await tailnet.orders(domain) == 0


async def test_a_final_rate_limit_is_told_at_once_and_with_its_time_from_1_102_on(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.ca_refuses(Problem(status=403, type="rateLimited", detail=TOO_MANY, retry_after=3600))
    with pytest.raises(RateLimitedError, match="too many certificates") as caught:
        await client.cert(domain)
    _check_rate_limit(caught.value, tailnet, timedelta(hours=1))


@pytest.mark.parametrize("seconds", [3600, None], ids=["Retry-After", "bare"])
async def test_a_rate_limit_that_hangs_is_learnt_when_the_patience_is_over(
    tailnet: Tailnet, client: LocalClient, domain: str, seconds: int | None
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.ca_refuses(Problem(status=429, type="rateLimited", detail=TOO_MANY, retry_after=seconds))
    began = trio.current_time()
    with pytest.raises(RateLimitedError, match="too many certificates") as caught:
        await client.cert(domain, patience=ENOUGH)
    assert trio.current_time() - began >= ENOUGH.total_seconds()
    _check_rate_limit(caught.value, tailnet, timedelta(hours=1) if seconds else None)

    await tailnet.repair()  # and nothing of the request is left behind
    assert (await client.cert(domain)).leaf.names == (domain,)


def _check_rate_limit(error: RateLimitedError, tailnet: Tailnet, wait: timedelta | None) -> None:
    if release(tailnet.version) >= (1, 102):
        assert (error.status, error.retry_after) == (429, wait)
    else:
        assert (error.status, error.retry_after) == (500, None)


async def test_a_rate_limit_at_the_end_of_an_order_is_one_without_a_time(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.ca_refuses_to_finalize(
        Problem(status=403, type="rateLimited", detail=TOO_MANY, retry_after=3600)
    )
    with pytest.raises(RateLimitedError, match=r"CreateOrder: .*too many certificates") as caught:
        await client.cert(domain)
    assert (caught.value.status, caught.value.retry_after) == (500, None)


async def test_a_ca_that_is_down_is_learnt_when_the_patience_is_over(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.ca_is_down()
    with pytest.raises(IssuanceError, match=r"503 .*The service is down for maintenance"):
        await client.cert(domain, patience=ENOUGH)
    await tailnet.repair()
    assert (await client.cert(domain)).leaf.names == (domain,)


async def test_a_control_server_that_hangs_is_a_timeout(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    """An answer to the half-close that shows our own doing ("SetDNS …: context canceled") is no reason."""
    await tailnet.set_cert_domains(domain)
    await tailnet.control_hangs()
    with pytest.raises(IssuanceTimeoutError):
        await client.cert(domain, patience=SHORT)


async def test_a_call_that_is_cancelled_leaves_nothing_behind(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.ca_refuses(Problem(status=429, type="rateLimited", detail=TOO_MANY, retry_after=3600))
    with trio.move_on_after(SHORT.total_seconds()) as scope:
        await client.cert(domain)
    assert scope.cancelled_caught
    await tailnet.repair()
    assert (await client.cert(domain)).leaf.names == (domain,)


async def test_a_probe_is_not_held_up_by_a_renewal_that_hangs(
    tailnet: Tailnet, client: LocalClient, domain: str
) -> None:
    await tailnet.set_cert_domains(domain)
    old = await client.cert(domain)
    await tailnet.ca_refuses(Problem(status=429, type="rateLimited", detail=TOO_MANY, retry_after=3600))
    async with trio.open_nursery() as nursery:

        async def renew() -> None:
            await client.cert(domain, min_validity=timedelta(days=100))
            raise AssertionError("it is to hang, for as long as its caller has patience: minutes")

        nursery.start_soon(renew)
        for _ in range(10):
            assert (await client.cert(domain, min_validity=timedelta(seconds=1))).leaf == old.leaf
            await trio.sleep(0.05)
        nursery.cancel_scope.cancel(reason="all have been answered while it hung")


async def test_a_read_only_replica_issues_nothing(tailnet: Tailnet, client: LocalClient, domain: str) -> None:
    await tailnet.stop()
    await tailnet.start(read_only=True)
    await tailnet.set_cert_domains(domain)
    with pytest.raises(ReadOnlyStoreError):
        await client.cert(domain)
    assert await tailnet.orders(domain) == 0
