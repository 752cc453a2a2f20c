"""What is spent of the CA's limits, and who waits for them."""

from datetime import UTC, datetime, timedelta

import pytest
from certs import facts

from tscert_trio import Certificate, errors
from tscert_trio.errors import RateLimit, RateLimitedError
from tscert_trio.schedule import LETS_ENCRYPT, NO_LIMITS, DomainRecord, Ledger
from tscert_trio.schedule.budget import LONG_AGO
from tscert_trio.schedule.ledger import tailnet_of

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
NOW = datetime(2026, 11, 24, tzinfo=UTC)
A, B, C = (f"{letter}.tail1234.ts.net" for letter in "abc")
ELSEWHERE = "a.tail9.ts.net"


def leaf(not_before, life=90 * DAY):
    return facts((A,), not_before, life)


def record(domain=A, certificate=None):
    return DomainRecord(domain=domain, wanted_since=NOW, leaf=certificate)


@pytest.fixture
def ledger():
    return Ledger(LETS_ENCRYPT)


def order(ledger, record, now, outcome):
    """Spend for an attempt that ends at once, with a certificate or a failure."""
    ledger.take(record, now)
    if isinstance(outcome, Certificate):
        is_first, record.leaf = not record.has_valid_leaf(now), outcome
        ledger.settle_success(record, started_at=now, ended_at=now, is_first=is_first)
    else:
        ledger.settle_failure(record, outcome, now)


def orders_until_limit(ledger, record, now, outcome, **options):
    """Return how many attempts in a row with the same outcome pass, and what the next one waits for."""
    for count in range(1000):
        at, limit = ledger.ready_at(record, now)
        if at > now:
            return count, limit, at - now
        order(ledger, record, now, outcome)
    return None


def test_a_name_has_five_attempts_and_one_more_each_quarter_of_an_hour(ledger):
    a, error = record(), errors.ValidationError("no TXT")
    assert orders_until_limit(ledger, a, NOW, error) == (
        5,
        "the limit on attempts for a name in an hour",
        15 * MINUTE,
    )
    assert orders_until_limit(ledger, a, NOW + 15 * MINUTE, error)[0] == 1
    assert orders_until_limit(ledger, a, NOW + 45 * MINUTE, error)[0] == 2
    assert orders_until_limit(ledger, a, NOW + DAY, error)[0] == 5


def test_names_have_their_attempts_each_for_itself(ledger):
    error = errors.ValidationError("no TXT")
    for domain in (A, B):
        assert orders_until_limit(ledger, record(domain), NOW, error)[0] == 5


def certificates_until_limit(ledger, record, now):
    """The same with certificates, the attempts a quarter of an hour apart."""
    for count in range(100):
        at, limit = ledger.ready_at(record, now)
        if at > now:
            return count, limit, at
        order(ledger, record, now, leaf(now))
        now += 15 * MINUTE
    return None


def test_the_last_of_five_certificates_is_kept_for_worse_days(ledger):
    a = record(certificate=leaf(NOW - 60 * DAY))
    count, limit, at = certificates_until_limit(ledger, a, NOW)
    assert (count, limit) == (4, "the limit on certificates for the same name")
    assert at == NOW + 33.6 * HOUR
    assert ledger.ready_at(a, NOW + 33.6 * HOUR) == (NOW + 33.6 * HOUR, None)


def test_a_person_who_insists_has_all_five(ledger):
    a = record(certificate=leaf(NOW - 60 * DAY))
    a.is_forced = True
    assert certificates_until_limit(ledger, a, NOW)[0] == 5


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (None, 5),
        (leaf(NOW - 91 * DAY), 5),
        (leaf(NOW - 86 * DAY), 5),
        (leaf(NOW - 85.5 * DAY), 5),
        (leaf(NOW - 85 * DAY), 4),
    ],
    ids=["none", "expired", "dying", "at its last twentieth", "not yet"],
)
def test_the_last_certificate_is_for_a_name_in_its_last_twentieth_or_without_any(
    ledger, certificate, expected
):
    a = record(certificate=certificate)
    a.attempts_full_at = NOW - DAY
    count = 0
    while ledger.ready_at(a, NOW)[0] <= NOW:
        a.certificates_full_at = LETS_ENCRYPT.certificates_per_name.take(a.certificates_full_at, NOW)
        count += 1
    assert count == expected


def test_the_last_certificate_can_be_had_from_the_moment_at_which_the_last_twentieth_begins(ledger):
    a = record(certificate=leaf(NOW - 85.5 * DAY + HOUR))
    a.certificates_full_at = NOW + 4 * 33.6 * HOUR
    expected = (NOW + HOUR, "the limit on certificates for the same name")
    assert ledger.ready_at(a, NOW) == expected
    assert ledger.ready_at(a, NOW + HOUR) == (NOW + HOUR, None)


def test_the_account_has_300_orders_in_three_hours(ledger):
    error = errors.ValidationError("no TXT")
    for n in range(300):
        order(ledger, record(f"n{n}.tail1234.ts.net"), NOW, error)
    expected = (NOW + 36 * SECOND, "the limit on orders")
    assert ledger.ready_at(record(), NOW) == expected
    assert ledger.ready_at(record(), NOW + 3 * HOUR)[1] is None


def spent(ledger, record, now=NOW):
    """Return the tokens missing: attempts and certificates of the name, orders of the account."""
    limits = ledger.limits
    return (
        limits.attempts_per_name.used(record.attempts_full_at, now),
        limits.certificates_per_name.used(record.certificates_full_at, now),
        limits.orders.used(ledger.account.orders_full_at, now),
    )


def test_everything_an_attempt_may_cost_is_spent_before_it_is_sent(ledger):
    a = record()
    ledger.take(a, NOW)
    assert spent(ledger, a) == (1, 1, 1)


@pytest.mark.parametrize("back", [timedelta(0), HOUR], ids=["dated now", "dated back by an hour"])
def test_a_certificate_that_was_issued_costs_all_three(ledger, back):
    a = record()
    order(ledger, a, NOW, leaf(NOW - back))
    assert spent(ledger, a) == (1, 1, 1)


@pytest.mark.parametrize("age", [3 * MINUTE, 30 * MINUTE, 2 * HOUR, 40 * DAY])
def test_a_certificate_that_was_there_costs_nothing(ledger, age):
    """So a thousand names with certificates start at no cost."""
    a = record()
    order(ledger, a, NOW, leaf(NOW - age))
    assert spent(ledger, a) == (0, 0, 0)


def test_a_certificate_issued_at_any_time_during_a_long_attempt_costs(ledger):
    for age in (300, 150, 0):
        a = record(f"n{age}.tail1234.ts.net")
        ledger.take(a, NOW - 300 * SECOND)
        a.leaf = leaf(NOW - HOUR - age * SECOND)
        ledger.settle_success(a, started_at=NOW - 300 * SECOND, ended_at=NOW, is_first=True)
        assert spent(ledger, a)[:2] == (1, 1)


def all_errors():
    return [error for error in errors.LocalAPIError.__subclasses__() if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", all_errors())
def test_a_failure_costs_an_attempt_if_the_ca_may_have_seen_it_and_a_certificate_if_one_was_issued(
    ledger, error
):
    a = record()
    order(ledger, a, NOW, error("text"))
    is_order = error.reached_ca is not False or error is errors.ProtocolError
    is_issued = error in {errors.StorageError, errors.StaleCertificateError}
    assert spent(ledger, a) == (is_order, is_issued, is_order)


def test_a_timeout_costs_an_attempt(ledger):
    a = record()
    order(ledger, a, NOW, errors.IssuanceTimeoutError("text"))
    assert spent(ledger, a) == (1, 0, 1)


def test_a_store_that_fails_burns_certificates_until_none_is_left(ledger):
    a, now = record(), NOW
    for _ in range(5):
        assert ledger.ready_at(a, now)[1] is None
        order(ledger, a, now, errors.StorageError("disk full"))
        now += HOUR
    assert ledger.ready_at(a, now) == (
        NOW + 33.6 * HOUR,
        "the limit on certificates for the same name",
    )


def test_what_tailscaled_does_by_itself_is_counted(ledger):
    a = record()
    ledger.spend_behind(a, NOW, is_order=True)
    assert spent(ledger, a) == (1, 0, 1)
    ledger.spend_behind(a, NOW, is_order=False)
    assert spent(ledger, a) == (1, 1, 1)


def limited(limit, hold=2 * HOUR):
    return RateLimitedError("429", limit=limit, retry_after=hold)


@pytest.mark.parametrize("limit", [RateLimit.ORDERS, RateLimit.REGISTRATIONS])
def test_a_limit_of_the_account_makes_all_names_wait(ledger, limit):
    order(ledger, record(A), NOW, limited(limit))
    for other in (record(B), record(ELSEWHERE), record(C, leaf(NOW - 60 * DAY))):
        assert ledger.ready_at(other, NOW) == (NOW + 2 * HOUR, "the CA's Retry-After for all names")
        assert ledger.ready_at(other, NOW + 2 * HOUR)[1] is None
        other.is_forced = True
        assert ledger.ready_at(other, NOW)[0] == NOW + 2 * HOUR


@pytest.mark.parametrize(
    "error",
    [limited(RateLimit.CERTIFICATES_PER_NAME), limited(RateLimit.VALIDATIONS), limited(RateLimit.OTHER)],
)
def test_a_limit_of_one_name_lets_others_pass(ledger, error):
    order(ledger, record(A), NOW, error)
    assert ledger.ready_at(record(B), NOW)[1] is None


def test_a_hold_of_one_name_outlasts_its_force(ledger):
    a = record()
    a.hold_until, a.is_forced = NOW + HOUR, True
    assert ledger.ready_at(a, NOW) == (NOW + HOUR, "the CA's Retry-After")


def test_new_names_of_a_full_tailnet_wait_in_order_for_one_place_each_three_hours(ledger):
    names = [record(f"n{n}.tail1234.ts.net") for n in range(4)]
    assert [ledger.ready_at(each, NOW)[1] for each in names] == [None] * 4
    order(ledger, names[0], NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET))
    for _ in range(2):  # looked at again, nobody loses a place
        places = [ledger.ready_at(each, NOW) for each in names]
        assert [at - NOW for at, _ in places] == [2 * HOUR + n * 3.36 * HOUR for n in range(4)]
        assert {limit for _, limit in places} == {"the limit on new names of the tailnet"}
    now = NOW + 2 * HOUR
    assert ledger.ready_at(names[0], now) == (now, None)
    order(ledger, names[0], now, leaf(now))
    assert [ledger.ready_at(each, now)[0] - NOW for each in names[1:]] == [
        2 * HOUR + n * 3.36 * HOUR for n in (1, 2, 3)
    ]


def test_who_leaves_the_queue_makes_room(ledger):
    names = [record(f"n{n}.tail1234.ts.net") for n in range(3)]
    order(ledger, names[0], NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET))
    before = [ledger.ready_at(each, NOW)[0] for each in names]
    ledger.leave_queue(names[0].domain)
    assert [ledger.ready_at(each, NOW)[0] for each in names[1:]] == before[:2]
    order(ledger, names[1], NOW, leaf(NOW - 20 * DAY))  # was there all the time
    assert ledger.ready_at(names[2], NOW)[0] == before[0]


def test_a_full_tailnet_stops_no_renewal_and_no_other_tailnet(ledger):
    order(ledger, record(A), NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET))
    assert ledger.ready_at(record(B, leaf(NOW - 60 * DAY)), NOW)[1] is None
    assert ledger.ready_at(record(ELSEWHERE), NOW)[1] is None
    assert ledger.ready_at(record(B, leaf(NOW - 91 * DAY)), NOW)[1] is None  # a renewal, to the CA
    assert ledger.ready_at(record(B), NOW)[1] is not None


def test_a_full_tailnet_without_a_time_waits_an_hour(ledger):
    order(ledger, record(A), NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET, hold=None))
    assert ledger.ready_at(record(A), NOW)[0] == NOW + HOUR


def test_a_tailnet_is_no_longer_full_after_a_quiet_week(ledger):
    order(ledger, record(A), NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET))
    later = NOW + 2 * HOUR + 49 * 3.36 * HOUR
    assert ledger.account.tailnets["tail1234.ts.net"].is_exceeded
    assert all(ledger.ready_at(record(each), later)[1] is None for each in (A, B, C))
    assert not ledger.account.tailnets["tail1234.ts.net"].is_exceeded


def test_new_names_are_counted_before_the_ca_complains(ledger):
    for n in range(3):
        order(ledger, record(f"n{n}.tail1234.ts.net"), NOW, leaf(NOW))
    tailnet = ledger.account.tailnets["tail1234.ts.net"]
    assert ledger.limits.names_per_tailnet.used(tailnet.full_at, NOW) == 3
    order(ledger, record(A, leaf(NOW - 60 * DAY)), NOW, leaf(NOW))
    assert ledger.limits.names_per_tailnet.used(tailnet.full_at, NOW) == 3


def test_a_ca_of_ones_own_lets_everything_through_but_may_ask_for_silence():
    ledger, a = Ledger(NO_LIMITS), record(certificate=leaf(NOW - 60 * DAY))
    assert orders_until_limit(ledger, a, NOW, leaf(NOW)) is None
    order(ledger, record(B), NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET, hold=MINUTE))
    assert ledger.ready_at(record(B), NOW)[0] == NOW + MINUTE
    assert ledger.ready_at(record(B), NOW + MINUTE)[1] is None


def test_a_clock_that_was_set_back_makes_no_wait_longer(ledger):
    order(ledger, record(B), NOW, limited(RateLimit.ORDERS))
    order(ledger, record(B), NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET, hold=5 * HOUR))
    before = [ledger.ready_at(record(each), NOW)[0] - NOW for each in (B, ELSEWHERE)]
    assert before == [5 * HOUR, 2 * HOUR]
    ledger.shift(-3 * DAY)
    back = NOW - 3 * DAY
    assert [ledger.ready_at(record(each), back)[0] - back for each in (B, ELSEWHERE)] == before
    assert ledger.account.orders_full_at == back + 72 * SECOND


def test_what_was_written_under_another_clock_is_cut_to_what_can_be(ledger):
    a = record()
    order(ledger, a, NOW, errors.StorageError("disk full"))
    order(ledger, record(B), NOW, limited(RateLimit.ORDERS))
    order(ledger, record(B), NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET))
    now = NOW - 4000 * DAY
    ledger.clamp(now)
    ledger.clamp_record(a, now)
    assert ledger.account.orders_full_at == now + 3 * HOUR
    assert ledger.account.hold_until == now + 7 * DAY
    assert ledger.account.tailnets["tail1234.ts.net"].full_at == now + 14 * DAY
    assert a.attempts_full_at == now + 75 * MINUTE
    assert a.certificates_full_at == now + 7 * DAY


def test_what_was_written_under_this_clock_is_left_as_it_is(ledger):
    a = record()
    order(ledger, a, NOW, errors.StorageError("disk full"))
    order(ledger, a, NOW, limited(RateLimit.ORDERS, hold=7 * DAY))
    order(ledger, a, NOW, limited(RateLimit.CERTIFICATES_PER_TAILNET, hold=7 * DAY))

    def remembered():
        account, tailnet = ledger.account, ledger.account.tailnets["tail1234.ts.net"]
        return (
            a.attempts_full_at, a.certificates_full_at, account.orders_full_at, account.hold_until,
            tailnet.full_at,
        )  # fmt: skip

    before = remembered()
    assert LONG_AGO not in before
    ledger.clamp(NOW)
    ledger.clamp_record(a, NOW)
    assert remembered() == before


@pytest.mark.parametrize(
    ("domain", "tailnet"),
    [
        ("box.tail1234.ts.net", "tail1234.ts.net"),
        ("a.box.tail1234.ts.net", "tail1234.ts.net"),
        ("tail1234.ts.net", "tail1234.ts.net"),
        ("box.corp.example.com", "example.com"),
        ("example.com", "example.com"),
        ("localhost", "localhost"),
    ],
)
def test_the_ca_counts_by_the_registered_domain(domain, tailnet):
    assert tailnet_of(domain) == tailnet
