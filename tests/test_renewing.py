"""When a certificate is due: what tailscaled is asked, and what is taken for a success."""

from datetime import timedelta

import pytest
import trio
from certs import make_cert, make_key
from conftest import EPOCH, A, B, cert_times, virtual_clock

from tscert_trio import (
    AlreadyReplacedError,
    ControlError,
    DomainState,
    LocalClient,
    ProtocolError,
    RateLimitedError,
    RetryPolicy,
    StaleCertificateError,
    ValidationError,
    open_cert_manager,
)
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.schedule import due_time
from tscert_trio.schedule.renewal import share_of

DAY, HOUR, SECOND = 86400, 3600, timedelta(seconds=1)


def open_manager(client, **options):
    return open_cert_manager(client, clock=virtual_clock, **options)


def after_epoch(moment):
    return (moment - EPOCH).total_seconds()


def due_at(sandbox, domain=A):
    return after_epoch(due_time(sandbox.certificate(domain), None)[0])


def asked(sandbox, domain=A):
    """Return for each certificate that was asked for when, and the least validity wanted."""
    return [
        (pytest.approx(after_epoch(call.at), abs=1e-3), call.query.get("min_validity"))
        for call in sandbox.calls
        if call.domain == domain
    ]


async def chain_of(client, domain=A):
    return (await client.cert(domain, min_validity=SECOND)).pem


async def first_that_is_due_late(sandbox, client, domain=A):
    """Have a certificate that is due hours after tailscaled itself would renew it."""
    while True:
        leaf = (await client.cert(domain, min_validity=SECOND)).leaf
        if share_of(leaf.fingerprint) > 0.2:
            return leaf
        sandbox.lose_certificate(domain)


async def test_a_due_certificate_is_looked_at_renewed_in_the_foreground_and_looked_at_again(
    autojump_clock, sandbox, client
):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        due, old = due_at(sandbox), sandbox.certificate(A)
        await trio.sleep(62 * DAY - 1)
        assert manager.statistics()[A].leaf.serial_number == sandbox.certificate(A).serial_number
    assert 60 * DAY <= due <= 60.9 * DAY
    looks = [(day * DAY, "1.000000s") for day in range(61)]
    left = after_epoch(old.not_after) - due
    renewal = [(due, "1.000000s"), (due, f"{left + 1:.6f}s"), (due, "1.000000s")]
    assert asked(sandbox) == [*looks, *renewal, (due + DAY, "1.000000s")]
    assert [(after_epoch(order.at), order.replaces) for order in sandbox.orders] == [
        (0, None),
        (pytest.approx(due), old.serial_number),
    ]


async def test_no_call_of_a_year_lacks_min_validity_and_each_renewal_is_one_order(
    autojump_clock, sandbox, client
):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(365 * DAY)
    wanted = [float(call.query["min_validity"].removesuffix("s")) for call in sandbox.calls if call.domain]
    assert len(sandbox.orders) == 7
    assert len([seconds for seconds in wanted if seconds > 1]) == 6


async def test_a_renewal_that_tailscaled_made_by_itself_is_found_and_not_repeated(
    autojump_clock, sandbox, client
):
    await first_that_is_due_late(sandbox, client)
    orders, due = len(sandbox.orders), due_at(sandbox)
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(60 * DAY + 60)
        await client.cert(A)  # another program's plain call, which renews behind its back
        await trio.sleep(1)
        assert manager.statistics()[A].leaf.serial_number != sandbox.certificate(A).serial_number
        await trio.sleep(DAY)
        assert manager.statistics()[A].leaf.serial_number == sandbox.certificate(A).serial_number
    assert len(sandbox.orders) == orders + 1
    assert {wanted for at, wanted in asked(sandbox) if at != 60 * DAY + 60} == {"1.000000s"}
    assert (due, "1.000000s") in asked(sandbox)


async def test_what_failed_is_known_until_an_order_goes_well_though_a_person_asks_for_one(
    autojump_clock, sandbox, client
):
    """The look with which that begins says nothing about orders."""
    leaf = await first_that_is_due_late(sandbox, client)
    sandbox.add_fault(Fault.rate_limited(retry_after=5 * HOUR, hang=False, count=1))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(due_at(sandbox) - trio.current_time() + 60)
        before = manager.statistics()[A]
        assert (before.state, type(before.last_error)) == (DomainState.LIMITED, RateLimitedError)
        manager.renew(A)
        await trio.sleep(60)
        after = manager.statistics()[A]
        assert (after.state, after.last_error) == (before.state, before.last_error)
        assert after.last_attempt_at > before.last_attempt_at
        await trio.sleep(5 * HOUR)
        assert manager.statistics()[A].last_error is None
    assert sandbox.certificate(A).fingerprint != leaf.fingerprint


async def test_that_a_failure_is_over_is_an_event_though_only_a_look_says_so(autojump_clock, sandbox, client):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(60)
        sandbox.add_fault(Fault.answer(403, "cert access denied", count=1))
        await trio.sleep(3 * DAY)
        events = [(each.request, each.outcome) for each in manager.journal.attempts()]
    assert events == [("issue", "issued"), ("look", "AccessDeniedError"), ("look", "found")]


async def test_an_answer_with_the_old_certificate_is_no_success(autojump_clock, sandbox, client):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        due, old = due_at(sandbox), sandbox.certificate(A)
        await trio.sleep(due - 2)
        sandbox.add_fault(Fault.answer(200, await chain_of(client), count=2))  # to the look and the renewal
        await trio.sleep(2)
        statistics = manager.statistics()[A]
        assert (type(statistics.last_error), statistics.failures) == (StaleCertificateError, 1)
        assert "reported a renewal and still gives the certificate valid until" in str(statistics.last_error)
        assert (statistics.state, statistics.leaf.fingerprint) == (DomainState.FAILED, old.fingerprint)
        assert after_epoch(statistics.next_attempt_at) == pytest.approx(due + 60)
        await trio.sleep(60)
        statistics = manager.statistics()[A]
        assert (statistics.state, statistics.failures) == (DomainState.ISSUED, 0)
        assert statistics.leaf.serial_number == sandbox.certificate(A).serial_number != old.serial_number


async def for_another_name(client):
    return await chain_of(client, B)


async def not_linked(client):
    end = b"-----END CERTIFICATE-----\n"
    return (await chain_of(client)).partition(end)[0] + end + make_cert(make_key(), "x.ts.net")


async def expired(client):
    chain = await chain_of(client)
    await trio.sleep(91 * DAY)
    return chain


SCHEDULE = [0, 60, 180, 420, 900, 1860, 3780, 7620, 15300, 30660, 61380]


@pytest.mark.parametrize(
    ("wrong", "error", "words", "times"),
    [
        (for_another_name, ProtocolError, f"for {A} is for other names: {B}", SCHEDULE),
        (not_linked, ProtocolError, "its chain does not link", SCHEDULE),
        # For all that is known each of these was one of the five certificates a week.
        (expired, StaleCertificateError, "gives a certificate that ended at", SCHEDULE[:5]),
    ],
)
async def test_a_wrong_certificate_is_never_taken_and_asked_for_on_the_schedule(
    autojump_clock, sandbox, client, wrong, error, words, times
):
    sandbox.add_fault(Fault.answer(200, await wrong(client)))
    began, calls = trio.current_time(), len(cert_times(sandbox))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(DAY)
        statistics = manager.statistics()[A]
    assert (type(statistics.last_error), statistics.leaf) == (error, None)
    assert words in str(statistics.last_error)
    assert [at - began for at in cert_times(sandbox)[calls:]] == pytest.approx(times)


async def test_a_wrong_certificate_does_not_replace_one_that_is_due(autojump_clock, sandbox, client):
    wrong = await chain_of(client, B)
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        due, old = due_at(sandbox), sandbox.certificate(A)
        await trio.sleep(due - 2)
        sandbox.add_fault(Fault.answer(200, wrong))
        before = len(cert_times(sandbox))
        await trio.sleep(DAY)
        statistics = manager.statistics()[A]
    assert (type(statistics.last_error), statistics.leaf.fingerprint) == (ProtocolError, old.fingerprint)
    assert len(cert_times(sandbox)) - before <= len(SCHEDULE) + 2  # the look of the day fails, too


def serve(sandbox, *names):
    """Let tailscaled's own loop renew these."""
    web = {f"{name}:443": {"Handlers": {}} for name in names}
    sandbox.set_serve_config({"TCP": {"443": {"HTTPS": True}}, "Web": web})


@pytest.mark.parametrize("version", ["1.100.0", "1.104.5"])
@pytest.mark.parametrize(
    ("fault", "errors", "words"),
    [
        (Fault.validation(), {ValidationError}, "status: invalid"),
        # tailscaled's own order is pending since it failed, so that the CA takes no other.
        (Fault.control("no DNS"), {ControlError, AlreadyReplacedError}, ""),
    ],
    ids=["validation", "control"],
)
async def test_renewals_of_tailscaleds_own_that_fail_in_silence_are_told_and_pass_no_limit(
    autojump_clock, version, fault, errors, words
):
    async with (
        open_sandbox(
            version, cert_domains=[A], clock=virtual_clock, background_renewal=True, limits=True
        ) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client, retry_policy=RetryPolicy(urgency=True)) as manager,
    ):
        serve(sandbox, A)
        manager.ensure_domains([A])
        await trio.sleep(59 * DAY)
        due = due_at(sandbox)
        sandbox.add_fault(fault)
        await trio.sleep(due - 59 * DAY + 1)
        statistics = manager.statistics()[A]
        assert type(statistics.last_error) in errors
        assert words in str(statistics.last_error)
        await trio.sleep(20 * DAY)
        assert type(manager.statistics()[A].last_error) in errors
    assert [order for order in sandbox.orders if order.refused and "in the last" in order.refused] == []
    assert len(sandbox.orders) > 20 * 24


async def test_a_renewal_by_tailscaleds_own_loop_is_taken_over_and_other_names_are_renewed_here(
    autojump_clock,
):
    async with (
        open_sandbox(cert_domains=[A, B], clock=virtual_clock, background_renewal=True) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client) as manager,
    ):
        await first_that_is_due_late(sandbox, client)
        serve(sandbox, A)
        orders = len(sandbox.orders)
        manager.ensure_domains([A, B])
        await trio.sleep(62 * DAY)
        for name in (A, B):
            assert manager.statistics()[name].leaf.serial_number == sandbox.certificate(name).serial_number
        assert {wanted for _, wanted in asked(sandbox, A)} == {"1.000000s"}
        assert len([wanted for _, wanted in asked(sandbox, B) if wanted != "1.000000s"]) == 1
    assert [order.domain for order in sandbox.orders[orders:]].count(A) == 1
    assert [order.domain for order in sandbox.orders[orders:]].count(B) == 2
