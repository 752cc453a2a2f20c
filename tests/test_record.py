"""What each outcome makes of what is remembered of a name."""

from datetime import UTC, datetime, timedelta
from random import Random

import attrs
import pytest
from certs import facts

from tscert_trio import RetryPolicy, errors
from tscert_trio.errors import RateLimitedError
from tscert_trio.schedule import DomainRecord, RenewalWindow

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
NOW = datetime(2026, 11, 24, tzinfo=UTC)
A, B = "a.tail1234.ts.net", "b.tail1234.ts.net"


def leaf(age, fingerprint="00" * 32):
    """Return a certificate of 90 days, due after 60."""
    return facts((A,), NOW - age, 90 * DAY, fingerprint=fingerprint)


OLD, DUE, NEW = leaf(10 * DAY), leaf(70 * DAY), leaf(timedelta(0), "ff" * 32)


def record(certificate=None, **known):
    return DomainRecord(domain=A, wanted_since=NOW, leaf=certificate, **known)


def fail(record, error, now=NOW, *, is_order=True, policy=RetryPolicy()):  # noqa: B008 -- frozen
    return record.failed(error, now, policy=policy, rng=Random(0), is_order=is_order)


def test_a_certificate_is_due_from_its_due_time_on_and_when_there_is_none():
    due_at, _ = record(OLD).due()
    assert not record(OLD).is_due(due_at - timedelta(microseconds=1))
    assert record(OLD).is_due(due_at)
    assert record().is_due(NOW)
    assert record().due() is None


def test_what_is_left_counts_from_when_the_name_was_wanted_where_there_is_no_certificate():
    assert record(OLD).left(NOW) == 80 * DAY
    assert record(OLD).left(NOW + 81 * DAY) == -DAY
    assert record().left(NOW + 3 * DAY) == -3 * DAY


def test_a_certificate_is_valid_to_its_last_moment_and_before_its_first_too():
    assert record(OLD).has_valid_leaf(OLD.not_after)
    assert not record(OLD).has_valid_leaf(OLD.not_after + timedelta(microseconds=1))
    assert record(NEW).has_valid_leaf(NOW - DAY)
    assert not record().has_valid_leaf(NOW)


def test_a_certificate_that_is_not_due_ends_whatever_failed_before():
    a = record(DUE)
    fail(a, errors.ValidationError("no TXT"))
    fail(a, RateLimitedError("429", retry_after=HOUR))
    fail(a, errors.UnreachableError("refused"))
    a.is_lost = True
    assert a.saw(NEW, NOW + MINUTE)
    now = NOW + MINUTE
    assert a == record(NEW, ended_at=now, succeeded_at=now, looked_at=now, hold_until=NOW + HOUR)


def test_a_certificate_that_is_due_leaves_the_failures_of_its_renewal():
    a = record(DUE)
    error = errors.ValidationError("no TXT")
    wait = fail(a, error)
    assert not a.saw(DUE, NOW + SECOND)
    assert (a.failures, a.error, a.order_at) == (1, error, NOW + wait)
    assert a.succeeded_at is None
    assert a.looked_at == NOW + SECOND


def test_a_look_ends_a_failure_to_see_it_and_leaves_what_orders_wait_for():
    a = record(DUE)
    error = errors.ValidationError("no TXT")
    fail(a, error)
    fail(a, errors.UnreachableError("refused"), NOW + MINUTE, is_order=False)
    a.saw(DUE, NOW + HOUR)
    assert (a.error, a.retry_at) == (error, None)


def test_certificates_that_are_replaced_at_once_one_after_the_other_are_counted():
    a = record(leaf(timedelta(0)))
    for hours in (1, 2, 3):
        a.saw(leaf(-hours * HOUR, f"{hours:02x}" * 32), NOW + hours * HOUR)
    assert a.hasty == 3
    a.saw(leaf(-60 * DAY, "aa" * 32), NOW + 60 * DAY)
    assert a.hasty == 0


def test_a_certificate_that_is_due_ends_a_failure_to_see_it():
    a = record(DUE)
    fail(a, errors.UnreachableError("refused"), is_order=False)
    a.saw(DUE, NOW + SECOND)
    assert (a.error, a.retry_at) == (None, None)


def test_another_certificate_has_another_window():
    window = RenewalWindow(start=NOW, end=NOW + DAY)
    a = record(OLD, window=window, window_check_at=NOW + HOUR)
    a.saw(OLD, NOW)
    assert (a.window, a.window_check_at) == (window, NOW + HOUR)
    a.saw(NEW, NOW)
    assert (a.leaf, a.window, a.window_check_at) == (NEW, None, None)


def test_a_look_does_not_end_the_silence_that_the_ca_wants():
    """A person's forced renewal fails; the next look finds the same good certificate, or another."""
    a = record(OLD)
    fail(a, RateLimitedError("429", retry_after=DAY))
    a.saw(OLD, NOW + MINUTE)
    assert (a.failures, a.order_at, a.hold_until) == (0, None, NOW + DAY)
    a.saw(NEW, NOW + MINUTE)
    assert a.hold_until == NOW + DAY


@pytest.mark.parametrize(
    "error", [each for each in errors.LocalAPIError.__subclasses__() if each.__module__ == errors.__name__]
)
def test_a_failed_order_delays_orders_if_it_counts_and_everything_if_not(error):
    a = record(DUE)
    wait = fail(a, error("text"))
    assert type(a.error) is error
    assert a.ended_at == NOW
    assert (a.failures, a.repeats) == (int(error.counted), 1)
    assert a.order_at == (NOW + wait if error.counted else None)
    # A look would fare the same where the CA had no part in it.
    assert a.retry_at == (NOW + wait if error.reached_ca is False else None)
    assert not a.is_lost


def test_failures_in_a_row_are_counted_and_those_of_one_class_too():
    a = record(DUE)
    for error, failures, repeats in [
        (errors.ControlError, 1, 1),
        (errors.ControlError, 2, 2),
        (errors.UnreachableError, 2, 1),
        (errors.UnreachableError, 2, 2),
        (errors.ControlError, 3, 1),
        (errors.IssuanceError, 4, 1),
    ]:
        fail(a, error("text"))
        assert (a.failures, a.repeats) == (failures, repeats)


def test_an_uncounted_failure_keeps_the_counted_schedule():
    a = record(DUE)
    for _ in range(5):
        fail(a, errors.IssuanceError("text"))
    assert a.order_at == NOW + 16 * MINUTE
    fail(a, errors.UnreachableError("refused"), NOW + MINUTE)
    assert (a.failures, a.order_at) == (5, NOW + 16 * MINUTE)
    assert a.retry_at == NOW + MINUTE + SECOND
    assert fail(a, errors.IssuanceError("text"), NOW + 16 * MINUTE) == 32 * MINUTE


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (errors.UnreachableError, False),
        (errors.AccessDeniedError, False),
        (errors.NotACertDomainError, False),
        (errors.ReadOnlyStoreError, False),
        (errors.ProtocolError, False),
        (errors.ControlError, True),
        (errors.IssuanceTimeoutError, True),
        (errors.IssuanceError, True),
        (errors.ValidationError, True),
        (errors.StorageError, True),
        (RateLimitedError, True),
    ],
)
def test_a_look_that_led_to_the_ca_shows_that_tailscaled_has_lost_the_certificate(error, is_lost):
    a = record(OLD)
    wait = fail(a, error("text"), is_order=False)
    assert a.is_lost is is_lost
    assert (a.order_at, a.retry_at) == ((NOW + wait, None) if is_lost else (None, NOW + wait))
    a.saw(OLD, NOW + DAY)
    assert not a.is_lost


def test_what_the_ca_says_is_kept_apart_from_the_backoff():
    a = record(DUE)
    fail(a, RateLimitedError("429", retry_after=30 * DAY))
    assert (a.hold_until, a.order_at) == (NOW + 7 * DAY, NOW + 7 * DAY)
    a.skip_backoff()
    assert (a.hold_until, a.order_at) == (NOW + 7 * DAY, None)
    assert a.failures == 1


def test_a_person_skips_every_wait_but_the_cas():
    a = record(DUE, looked_at=NOW)
    fail(a, errors.ValidationError("no TXT"))
    fail(a, errors.AccessDeniedError("403"))
    a.skip_backoff()
    assert (a.retry_at, a.order_at, a.looked_at) == (None, None, None)
    assert a.failures == 1


def resumed(domain, error, later):
    """Return how long after its failure a name asks again if the cause passes so much later."""
    a = DomainRecord(domain=domain, wanted_since=NOW, leaf=DUE, failures=9)
    fail(a, error)
    a.resume(NOW + later)
    return (a.order_at if error.counted else a.retry_at) - NOW


def test_names_ask_soon_after_tailscaled_is_back_and_not_all_at_once():
    names = [f"n{n}.tail1234.ts.net" for n in range(200)]
    slow = errors.UnreachableError("refused")
    for later, earliest in ((timedelta(0), SECOND), (SECOND / 2, SECOND), (30 * SECOND, 30 * SECOND)):
        waits = []
        for name in names:
            a = DomainRecord(domain=name, wanted_since=NOW, leaf=DUE, repeats=9, error=slow)
            fail(a, errors.UnreachableError("refused"))
            a.resume(NOW + later)
            waits.append(a.retry_at - NOW)
        assert earliest <= min(waits) < earliest + SECOND / 5
        assert earliest + 4.8 * SECOND < max(waits) <= earliest + 5 * SECOND
        assert len(set(waits)) == len(names)


@pytest.mark.parametrize("error", [errors.ControlError, errors.IssuanceTimeoutError, errors.IssuanceError])
def test_what_reached_the_ca_is_not_asked_again_within_a_minute(error):
    for later, earliest in ((timedelta(0), MINUTE), (59 * SECOND, MINUTE), (10 * MINUTE, 10 * MINUTE)):
        assert earliest <= resumed(A, error("text"), later) <= earliest + 5 * SECOND


def test_a_name_that_becomes_a_cert_domain_does_not_wait_for_others():
    error = errors.NotACertDomainError("invalid domain")
    assert resumed(A, error, 2 * MINUTE) == resumed(B, error, 2 * MINUTE) == 2 * MINUTE
    assert resumed(A, error, SECOND) == MINUTE


def test_a_resumed_wait_gets_no_longer():
    assert resumed(A, errors.UnreachableError("refused"), DAY) == SECOND
    a = record(DUE)
    a.resume(NOW)
    assert (a.retry_at, a.order_at) == (None, None)


def test_tailscaleds_return_does_not_hurry_what_failed_for_another_reason():
    """Else a store that is full would burn a certificate at each restart of tailscaled."""
    a = record(DUE)
    for _ in range(2):
        fail(a, errors.StorageError("disk full"))
    fail(a, errors.UnreachableError("refused"), NOW + HOUR, is_order=False)
    a.resume(NOW + HOUR)
    assert a.order_at == NOW + DAY
    assert a.retry_at == NOW + HOUR + SECOND


def full_record():
    return record(
        OLD,
        window=RenewalWindow(start=NOW, end=NOW + DAY),
        **{
            field.name: NOW + number * MINUTE
            for number, field in enumerate(attrs.fields(DomainRecord))
            if field.name.endswith(("_at", "_until"))
        },
    )


def test_a_clock_that_was_set_back_moves_every_moment_but_when_the_name_was_wanted():
    a, before = full_record(), full_record()
    a.shift(-DAY)
    moments = [name for name in a.__slots__ if name.endswith(("_at", "_until"))]
    assert len(moments) == 9
    for name in moments:
        assert getattr(a, name) == getattr(before, name) - DAY, name
    assert (a.window, a.leaf, a.wanted_since) == (before.window, before.leaf, before.wanted_since)


def test_a_clock_that_was_set_back_makes_nothing_of_nothing():
    a = record()
    a.shift(-DAY)
    assert (a.retry_at, a.order_at, a.hold_until, a.ended_at) == (None,) * 4


def test_what_was_written_under_another_clock_lies_no_further_ahead_than_it_can():
    a, now = full_record(), NOW - 4000 * DAY
    a.clamp(now, RetryPolicy())
    assert a.retry_at == now + 5 * MINUTE
    assert (a.order_at, a.hold_until) == (now + 7 * DAY, now + 7 * DAY)
    assert a.window_check_at == now + 12 * HOUR
    assert a.ended_at == a.succeeded_at == a.wanted_since == now


def test_without_a_word_of_the_ca_an_order_waits_for_a_day_and_a_tenth_at_most():
    a, now = full_record(), NOW - 4000 * DAY
    a.hold_until = None
    a.clamp(now, RetryPolicy())
    assert a.order_at == now + 1.1 * DAY
    a = full_record()
    a.hold_until = None
    a.clamp(now, RetryPolicy(maximum=3 * DAY, jitter=0.5))
    assert a.order_at == now + 4.5 * DAY


@pytest.mark.parametrize(
    "error",
    [
        errors.StorageError("text"),
        errors.PausedError("text"),
        errors.UnreachableError("text"),
        errors.ReadOnlyStoreError("text"),
        RateLimitedError("text", retry_after=7 * DAY),
    ],
)
def test_what_was_written_under_this_clock_is_left_as_it_is(error):
    policy = RetryPolicy(jitter=0.1)
    a = record(DUE, failures=20, repeats=20)
    fail(a, error, policy=policy)
    before = attrs.evolve(a)
    a.clamp(NOW, policy)
    assert a == before
