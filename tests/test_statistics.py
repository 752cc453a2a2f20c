"""How names stand, told in numbers and words; and what a person's wish can do where a limit stands."""

from datetime import timedelta

import pytest
import trio
from conftest import EPOCH, A, B, cert_times, virtual_clock
from statuses import NOW, cert, domain

from tscert_trio import (
    AccessDeniedError,
    AccountError,
    AccountMismatchError,
    AlreadyReplacedError,
    ConnectionLostError,
    ControlError,
    DomainState,
    IssuanceError,
    IssuanceTimeoutError,
    LocalAPIError,
    LocalClient,
    NoAnswerError,
    NotACertDomainError,
    PausedError,
    ProtocolError,
    RateLimitedError,
    ReadOnlyStoreError,
    StaleCertificateError,
    StorageError,
    UnreachableError,
    ValidationError,
    open_cert_manager,
)
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.schedule import (
    LETS_ENCRYPT,
    NO_LIMITS,
    AccountState,
    DueReason,
    Ledger,
    Mode,
    TailnetState,
    due_time,
)
from tscert_trio.statistics import limit_statistics

DAY, HOUR, SECOND = 86400, 3600, timedelta(seconds=1)
SAME_NAME = "the limit on certificates for the same name"


def open_manager(client, **options):
    return open_cert_manager(client, clock=virtual_clock, **options)


def after_epoch(moment):
    return pytest.approx((moment - EPOCH).total_seconds(), abs=1e-3)


def failing(**options):
    return Fault.answer(500, "something that nobody has seen before", **options)


PAUSED = "Your account is temporarily prevented from requesting certificates for it. Please visit: https://x"
FAULTS = [
    (Fault.connection_reset(), UnreachableError, "socket"),
    (Fault.answer(500, "no netmap available"), UnreachableError, "no netmap available"),
    (Fault.answer(403, "cert access denied"), AccessDeniedError, "cert access denied"),
    (Fault.answer(500, 'invalid domain "x"; must be one of []'), NotACertDomainError, 'invalid domain "x"'),
    (Fault.answer(500, "read-only mode, not attempting to issue"), ReadOnlyStoreError, "read-only"),
    (Fault.control("the DNS provider is away"), ControlError, "the DNS provider is away"),
    (Fault.rate_limited(hang=False), RateLimitedError, ":rateLimited"),
    (Fault.rate_limited(hang=True), RateLimitedError, ":rateLimited"),
    (Fault.hang(), IssuanceTimeoutError, ""),
    (Fault.problem("alreadyReplaced", "replaced", status=409), AlreadyReplacedError, "replaced"),
    (Fault.account_mismatch(), AccountMismatchError, "requester account did not request"),
    (Fault.account_status(), AccountError, '"deactivated"'),
    (Fault.storage(), StorageError, "no space left on device"),
    (Fault.validation(), ValidationError, "status: invalid"),
    (Fault.problem("rateLimited", PAUSED), PausedError, "https://x"),
    (failing(), IssuanceError, "nobody has seen"),
    (Fault.garbage_body(), ProtocolError, "no certificate"),
    (Fault.large_body(), ProtocolError, "larger than 1 MiB"),
    (Fault.cut_body(), ProtocolError, ""),
]


@pytest.mark.parametrize(
    ("fault", "error", "words"), FAULTS, ids=lambda value: getattr(value, "__name__", None)
)
async def test_each_failure_is_told_with_its_class_its_words_what_it_means_and_what_to_do(
    autojump_clock, sandbox, client, caplog, fault, error, words
):
    sandbox.add_fault(fault)
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(310)
        statistics = manager.statistics()[A]
    told = statistics.last_error
    assert type(told) is error
    assert words in str(told)
    assert "\n" not in str(told)
    assert (statistics.failures > 0) == error.counted
    line = next(each.getMessage() for each in caplog.records if each.getMessage().startswith(f"{A}: request"))
    assert words in line
    assert error.meaning in line
    assert error.remedy in line
    assert statistics.last_attempt_at is not None


def test_every_class_of_failures_is_provoked_here_or_in_other_tests():
    provoked = {error for _, error, _ in FAULTS} | {StaleCertificateError, ConnectionLostError, NoAnswerError}
    assert set(LocalAPIError.__subclasses__()) == provoked


async def test_a_healthy_name_says_when_it_is_due_why_and_when_it_is_looked_at(
    autojump_clock, sandbox, client
):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(DAY + 100)
        statistics = manager.statistics()[A]
    assert (statistics.due_at, statistics.due_reason) == due_time(statistics.leaf, None)
    assert statistics.due_reason is DueReason.TWO_THIRDS
    assert after_epoch(statistics.last_attempt_at) == after_epoch(statistics.last_success_at) == DAY
    assert after_epoch(statistics.next_attempt_at) == 2 * DAY
    assert (statistics.limit, statistics.window, statistics.state) == (None, None, DomainState.ISSUED)
    # Ten waits from a minute to 8.5 hours are 17 hours, then there is one a day for what is left of 30 days.
    left = (statistics.leaf.not_after - statistics.due_at).total_seconds()
    assert statistics.runway(virtual_clock()) == 12 + (left - 122820) // DAY


async def test_a_failing_renewal_says_how_many_attempts_are_left(autojump_clock, sandbox, client):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        due = (due_time(sandbox.certificate(A), None)[0] - EPOCH).total_seconds()
        await trio.sleep(due - 2)
        sandbox.add_fault(failing())
        await trio.sleep(2)
        statistics = manager.statistics()[A]
    assert (statistics.state, statistics.failures) == (DomainState.FAILED, 1)
    assert after_epoch(statistics.next_attempt_at) == due + 60
    assert statistics.runway(virtual_clock()) == 11 + (90 * DAY - due - 122820) // DAY


async def test_a_name_whose_certificate_has_ended_has_no_runway(autojump_clock, sandbox, client):
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        sandbox.add_fault(failing())
        await trio.sleep(91 * DAY)
        statistics = manager.statistics()[A]
        assert statistics.leaf.not_after < virtual_clock()
        assert (statistics.runway(virtual_clock()), statistics.state) == (0, DomainState.FAILED)
        manager.ensure_domains([A, B])
        await trio.sleep(1)
        assert (manager.statistics()[B].leaf, manager.statistics()[B].runway(virtual_clock())) == (None, 0)


@pytest.mark.parametrize(("left", "runway"), [(2 * HOUR, 7), (0, 0), (-3 * DAY, 0)])
@pytest.mark.parametrize("state", [DomainState.WAITING, DomainState.REQUESTING])
def test_the_runway_begins_now_where_no_attempt_is_set(left, runway, state):
    """By the plain schedule, attempts begin 0, 1, 3, 7, 15, 31 and 63 minutes from now."""
    one = domain(state=state, leaf=cert(left=timedelta(seconds=left)), next_attempt_at=None)
    assert one.runway(NOW) == runway


async def test_a_guest_has_no_next_attempt_and_is_no_longer_waited_for(autojump_clock, sandbox, client):
    async with open_manager(client, mode_of=lambda _domain: Mode.GUEST) as manager:
        manager.ensure_domains([A])
        await trio.sleep(DAY)
        statistics = manager.statistics()[A]
    assert (statistics.mode, statistics.next_attempt_at, statistics.leaf) == (Mode.GUEST, None, None)
    assert sandbox.orders == []


async def test_five_certificates_in_a_row_are_had_by_force_and_the_sixth_waits_for_the_ca(
    autojump_clock, sandbox, client
):
    async with open_manager(client, refresh_interval=timedelta(days=2)) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        for number in range(1, 5):
            manager.renew(A, force=True)
            await trio.sleep(1)
            assert len(sandbox.orders) == number + 1
        manager.renew(A, force=True)
        await trio.sleep(1)
        statistics = manager.statistics()[A]
        assert (statistics.state, statistics.limit) == (DomainState.LIMITED, SAME_NAME)
        assert after_epoch(statistics.next_attempt_at) == 33.6 * HOUR
        orders, tailnet = manager.statistics().limits
        assert (orders.used, orders.capacity, orders.is_exceeded) == (5, 300, False)
        assert (tailnet.scope, tailnet.used, tailnet.capacity) == ("tail1234.ts.net", 1, 50)
        await trio.sleep(10 * DAY)
    assert [after_epoch(order.at) for order in sandbox.orders] == [0, 1, 2, 3, 4, 33.6 * HOUR]


def test_limits_that_never_run_out_are_left_out_but_for_those_of_which_the_ca_says_that_they_are_reached():
    """There are none of them to be shown, unless the CA has some all the same."""
    account = AccountState(tailnets={"b.ts.net": TailnetState()})
    assert [*limit_statistics(Ledger(NO_LIMITS, account), EPOCH)] == []
    assert len([*limit_statistics(Ledger(LETS_ENCRYPT, account), EPOCH)]) == 2
    account.hold_until = EPOCH + SECOND
    account.tailnets["a.ts.net"] = TailnetState(is_exceeded=True, full_at=EPOCH + SECOND)
    told = [*limit_statistics(Ledger(NO_LIMITS, account), EPOCH)]
    assert [(each.scope, each.is_exceeded) for each in told] == [("this machine", True), ("a.ts.net", True)]
    assert {each.until for each in told} == {EPOCH + SECOND}
    assert [*limit_statistics(Ledger(NO_LIMITS, account), EPOCH + SECOND)] == []


def test_a_limit_says_until_when_only_while_it_is_exceeded():
    account = AccountState(hold_until=NOW, tailnets={"tail1234.ts.net": TailnetState(NOW, is_exceeded=True)})
    before, after = (
        [(limit.is_exceeded, limit.until) for limit in limit_statistics(Ledger(LETS_ENCRYPT, account), at)]
        for at in (NOW - SECOND, NOW + SECOND)
    )
    assert before[0] == (True, NOW)
    assert [is_exceeded for is_exceeded, _ in before] == [True, True]
    assert all(until is not None for _, until in before)
    assert after == [(False, None), (False, None)]


async def test_neither_wish_nor_force_brings_a_request_before_the_retry_after_is_over(
    autojump_clock, sandbox, client
):
    sandbox.add_fault(Fault.rate_limited(retry_after=2 * HOUR, hang=False, count=1))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(1)
        for force in (False, True) * 10:
            manager.renew(A, force=force)
            await trio.sleep(10)
        statistics = manager.statistics()[A]
        assert (statistics.state, statistics.limit) == (DomainState.LIMITED, "the CA's Retry-After")
        assert after_epoch(statistics.next_attempt_at) == 2 * HOUR
        await trio.sleep(3 * HOUR)
    assert cert_times(sandbox) == pytest.approx([0, 2 * HOUR])


async def test_a_persons_wish_skips_the_backoff(autojump_clock, sandbox, client):
    sandbox.add_fault(failing(count=6))
    async with open_manager(client) as manager:
        manager.ensure_domains([A])
        await trio.sleep(2000)
        assert after_epoch(manager.statistics()[A].next_attempt_at) == 3780
        manager.renew(A)
        await trio.sleep(1)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert cert_times(sandbox)[-1] == 2000


async def test_the_last_certificate_of_a_week_is_kept_for_the_last_twentieth_of_a_life(autojump_clock):
    """Each answer with the old certificate may have been a new one that tailscaled has lost."""
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock, validity=timedelta(hours=96)) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client) as manager,
    ):
        manager.ensure_domains([A])
        await trio.sleep(1)
        old = (await client.cert(A, min_validity=SECOND)).pem
        sandbox.set_permissions(write=False, cert=False)
        await trio.sleep(90 * HOUR - 1)
        sandbox.set_permissions()
        sandbox.add_fault(Fault.answer(200, old))
        manager.renew(A)
        await trio.sleep(1000)
        statistics = manager.statistics()[A]
        assert (statistics.failures, statistics.state) == (4, DomainState.LIMITED)
        assert after_epoch(statistics.next_attempt_at) == 96 * HOUR * 19 / 20
        sandbox.clear_faults()
        await trio.sleep(2 * HOUR)
        assert manager.statistics()[A].state is DomainState.ISSUED
    assert [after_epoch(order.at) for order in sandbox.orders] == [0, 96 * HOUR * 19 / 20]


async def test_a_certificate_in_its_last_twentieth_goes_before_all_that_queue(autojump_clock):
    names = [f"n{number}.tail1234.ts.net" for number in range(10)]
    async with (
        open_sandbox(
            "1.100.0",
            cert_domains=[A, *names],
            clock=virtual_clock,
            issue_delay=10,
            validity=timedelta(hours=96),
        ) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_manager(client) as manager,
    ):
        manager.ensure_domains([A])
        await trio.sleep(20)
        sandbox.set_permissions(write=False, cert=False)
        await trio.sleep(92 * HOUR)
        sandbox.set_permissions()
        manager.ensure_domains([A, *names])
        await trio.sleep(1)
        manager.renew(A)
        await trio.sleep(200)
    assert [order.domain for order in sandbox.orders].index(A, 1) == 2
    assert len(sandbox.orders) == 2 + len(names)
