"""Let's Encrypt's limits in the sandbox: what they refuse, with which text, and when they give way."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from conftest import EPOCH, A, B, virtual_clock
from raw_client import ask_cert, open_exchange

from tscert_trio.sandbox import VERSIONS, Fault, open_sandbox

HOUR = 3600
RATE = "429 urn:ietf:params:acme:error:rateLimited: too many"
SEE = "see https://letsencrypt.org/docs/rate-limits/"
MANY = [f"n{number}.tail1234.ts.net" for number in range(60)]


@pytest.fixture
async def sandbox():
    async with open_sandbox(cert_domains=[A, B, *MANY], clock=virtual_clock, limits=True) as sandbox:
        yield sandbox


async def impatient_answer(sandbox, domain=A, query=""):
    """Ask for a certificate, and for the true answer after a second."""
    async with open_exchange(sandbox.socket_path) as exchange:
        await exchange.send("GET", f"/localapi/v0/cert/{domain}{query}")
        await trio.sleep(1)
        await exchange.stream.send_eof()
        return await exchange.answer()


async def issue_anew(sandbox, domain=A):
    sandbox.lose_certificate(domain)
    assert (await ask_cert(sandbox, domain)).status == 200


async def test_a_sixth_certificate_for_a_name_waits_until_a_token_is_back(autojump_clock, sandbox):
    for _ in range(5):
        await issue_anew(sandbox)
    sandbox.lose_certificate(A)
    answer = await impatient_answer(sandbox)
    text = (
        f"{RATE} certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, "
        f"retry after 2026-01-02 09:36:00 UTC: {SEE}#new-certificates-per-exact-set-of-identifiers"
    )
    assert (answer.status, answer.text, answer.headers["retry-after"]) == (429, text, "120960")
    assert sandbox.orders[-1].refused == text
    await issue_anew(sandbox)
    assert trio.current_time() == 1 + 120959  # tailscaled asks again after Retry-After
    assert [order.refused is None for order in sandbox.orders] == [True] * 5 + [False] * 2 + [True]
    await issue_anew(sandbox, B)
    assert trio.current_time() == 120960


@pytest.mark.parametrize("release", VERSIONS)
async def test_each_release_tells_a_limit_as_it_does(autojump_clock, release):
    async with open_sandbox(release, cert_domains=[A], clock=virtual_clock, limits=True) as sandbox:
        for _ in range(5):
            await issue_anew(sandbox)
        sandbox.lose_certificate(A)
        answer = await impatient_answer(sandbox)
        is_new = release in {"1.102.5", "1.104.5"}
        assert (answer.status, answer.text[: len(RATE)]) == (429 if is_new else 500, RATE)
        assert ("retry-after" in answer.headers) is is_new


async def test_a_tailnet_may_have_50_certificates_a_week(autojump_clock, sandbox):
    for name in MANY[:50]:
        assert (await ask_cert(sandbox, name)).status == 200
    answer = await impatient_answer(sandbox, MANY[50])
    assert answer.text == (
        f'{RATE} certificates (50) already issued for "tail1234.ts.net" in the last 168h0m0s, '
        f"retry after 2026-01-01 03:21:36 UTC: {SEE}#new-certificates-per-registered-domain"
    )
    assert (await ask_cert(sandbox, MANY[50])).status == 200
    assert trio.current_time() == 7 * 24 * HOUR / 50


async def test_the_registered_domain_of_other_names_is_their_last_two_labels(autojump_clock):
    names = [f"n{number}.example.com" for number in range(51)]
    async with open_sandbox(cert_domains=[*names, A], clock=virtual_clock, limits=True) as sandbox:
        for name in names[:50]:
            await ask_cert(sandbox, name)
        assert 'for "example.com" in' in (await impatient_answer(sandbox, names[50])).text
        assert (await ask_cert(sandbox, A)).status == 200


async def test_an_account_may_order_300_times_in_3_hours(autojump_clock, sandbox):
    """Also what comes to nothing counts."""
    sandbox.add_fault(Fault.control("no DNS today", count=300))
    for _ in range(300):
        assert (await ask_cert(sandbox, A)).status == 500
    answer = await impatient_answer(sandbox, B)
    assert answer.text == (
        f"{RATE} new orders (300) from this account in the last 3h0m0s, "
        f"retry after 2026-01-01 00:00:36 UTC: {SEE}#new-orders-per-account"
    )
    assert (await ask_cert(sandbox, B)).status == 200
    assert trio.current_time() == 36


async def test_a_sixth_failed_validation_in_an_hour_has_to_wait(autojump_clock, sandbox):
    sandbox.add_fault(Fault.validation(count=5))
    for _ in range(5):
        assert (await ask_cert(sandbox, A)).status == 500
    answer = await impatient_answer(sandbox)
    assert answer.text == (
        f'{RATE} failed authorizations (5) for "{A}" in the last 1h0m0s, '
        f"retry after 2026-01-01 00:12:00 UTC: {SEE}#authorization-failures-per-identifier-per-account"
    )
    assert (await ask_cert(sandbox, B)).status == 200
    assert (await ask_cert(sandbox, A)).status == 200
    assert trio.current_time() == 720
    assert len(sandbox.failed_validations) == 5


async def test_a_replacement_is_held_up_by_nothing_but_failed_validations(autojump_clock, sandbox):
    for _ in range(5):
        await issue_anew(sandbox)
    for name in MANY[:45]:
        await ask_cert(sandbox, name)
    for _ in range(3):
        assert (await ask_cert(sandbox, A, "?min_validity=9999h")).status == 200
    assert trio.current_time() == 0
    sandbox.add_fault(Fault.validation(count=5))
    for _ in range(5):
        await ask_cert(sandbox, A, "?min_validity=9999h")
    assert "failed authorizations" in (await impatient_answer(sandbox, A, "?min_validity=9999h")).text


async def test_a_replacement_counts_for_its_name_and_not_for_the_tailnet(autojump_clock, sandbox):
    """So does Boulder, though it lets the next replacement through."""
    for _ in range(5):
        await ask_cert(sandbox, A, "?min_validity=9999h")
    sandbox.lose_certificate(A)
    assert "exact set of identifiers" in (await impatient_answer(sandbox)).text
    for name in MANY[:49]:
        assert (await ask_cert(sandbox, name)).status == 200
    assert trio.current_time() == 1


async def test_of_several_limits_the_longest_is_told(autojump_clock, sandbox):
    for _ in range(5):
        await issue_anew(sandbox)
    sandbox.lose_certificate(A)
    for name in MANY[:45]:
        await ask_cert(sandbox, name)
    assert "exact set of identifiers" in (await impatient_answer(sandbox)).text


async def test_a_wildcard_has_a_bucket_of_its_own_and_fails_for_its_name(autojump_clock):
    async with open_sandbox(cert_domains=[A], wildcards=True, clock=virtual_clock, limits=True) as sandbox:
        for _ in range(5):
            await issue_anew(sandbox)
        await issue_anew(sandbox, f"*.{A}")
        sandbox.lose_certificate(f"*.{A}")
        sandbox.add_fault(Fault.validation(count=5))
        for _ in range(5):
            await ask_cert(sandbox, f"*.{A}")
        assert f'failed authorizations (5) for "{A}"' in (await impatient_answer(sandbox, f"*.{A}")).text


async def test_a_refused_order_takes_no_token(autojump_clock, sandbox):
    for _ in range(5):
        await issue_anew(sandbox)
    sandbox.lose_certificate(A)
    for _ in range(10):
        answer = await impatient_answer(sandbox)
    assert "retry after 2026-01-02 09:36:00 UTC" in answer.text
    assert sandbox.orders[-1].at == EPOCH + timedelta(seconds=9)


async def test_a_bucket_fills_up_to_its_size_and_no_more(autojump_clock, sandbox):
    await trio.sleep(30 * 24 * HOUR)
    began = trio.current_time()
    for _ in range(5):
        await issue_anew(sandbox)
    assert trio.current_time() == began
    await issue_anew(sandbox)
    assert trio.current_time() == began + 120960


async def test_without_limits_nothing_is_refused(autojump_clock):
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        for _ in range(20):
            await issue_anew(sandbox)
        assert trio.current_time() == 0
