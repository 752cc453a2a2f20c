"""The token buckets of the CA's limits."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, strategies as st

from tscert_trio.schedule import LETS_ENCRYPT, NO_LIMITS, Bucket, CALimits
from tscert_trio.schedule.budget import LONG_AGO

NOW = datetime(2026, 11, 24, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FIVE = Bucket(5, 15 * MINUTE)

buckets = st.builds(Bucket, st.integers(1, 20), st.timedeltas(timedelta(seconds=1), timedelta(days=2)))
gaps = st.lists(st.timedeltas(timedelta(0), timedelta(days=1)), min_size=1, max_size=60)


def test_the_limits_are_those_of_lets_encrypt():
    """https://letsencrypt.org/docs/rate-limits/."""
    limits = LETS_ENCRYPT
    assert limits.attempts_per_name == Bucket(5, 15 * MINUTE)
    assert limits.certificates_per_name == Bucket(5, 33.6 * HOUR)
    assert limits.orders == Bucket(300, timedelta(seconds=36))
    assert limits.names_per_tailnet == Bucket(50, 3.36 * HOUR)


def test_five_go_at_once_and_then_one_each_quarter_of_an_hour():
    full_at, times = LONG_AGO, []
    now = NOW
    for _ in range(8):
        now = max(now, FIVE.ready_at(full_at))
        times.append((now - NOW) / MINUTE)
        full_at = FIVE.take(full_at, now)
    assert times == [0, 0, 0, 0, 0, 15, 30, 45]
    assert FIVE.used(full_at, now) == 5
    assert FIVE.used(full_at, now + 15 * MINUTE) == 4
    assert FIVE.used(full_at, now + 75 * MINUTE) == 0


def test_a_reserve_is_left_over():
    full_at = LONG_AGO
    for _ in range(4):
        assert FIVE.ready_at(full_at, reserve=1) <= NOW
        full_at = FIVE.take(full_at, NOW)
    assert FIVE.ready_at(full_at) <= NOW
    assert FIVE.ready_at(full_at, reserve=1) == NOW + 15 * MINUTE


@given(bucket=buckets, waits=gaps, reserve=st.integers(0, 3))
def test_no_stretch_of_time_sees_more_tokens_than_the_bucket_holds_and_gets_back(bucket, waits, reserve):
    reserve = min(reserve, bucket.capacity - 1)
    full_at, now, taken = LONG_AGO, NOW, []
    for wait in waits:
        now = max(now + wait, bucket.ready_at(full_at, reserve=reserve))
        full_at = bucket.take(full_at, now)
        taken.append(now)
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            assert last - first + 1 <= bucket.capacity - reserve + (end - begin) / bucket.interval


@given(bucket=buckets, waits=gaps)
def test_who_waits_long_enough_never_waits_for_a_token(bucket, waits):
    full_at, now = LONG_AGO, NOW
    for wait in waits:
        now += max(wait, bucket.interval)
        assert bucket.ready_at(full_at) <= now
        full_at = bucket.take(full_at, now)


@given(
    bucket=buckets,
    ahead=st.timedeltas(timedelta(days=-9), timedelta(days=9)),
    later=st.timedeltas(timedelta(0), timedelta(days=9)),
)
def test_a_token_that_is_put_back_was_never_taken(bucket, ahead, later):
    full_at = NOW + ahead
    back = bucket.give_back(bucket.take(full_at, NOW))
    assert back == max(full_at, NOW)
    assert bucket.used(back, NOW) == bucket.used(full_at, NOW)
    now = NOW + later
    assert (bucket.ready_at(back) <= now) is (bucket.ready_at(full_at) <= now)


@given(bucket=buckets, ahead=st.timedeltas(timedelta(days=-99), timedelta(days=99)))
def test_what_another_clock_wrote_down_means_at_most_an_empty_bucket(bucket, ahead):
    full_at = bucket.clamp(NOW + ahead, NOW)
    assert full_at <= NOW + ahead
    assert bucket.ready_at(full_at) <= NOW + bucket.interval
    assert bucket.used(full_at, NOW) <= bucket.capacity
    if ahead <= bucket.interval * bucket.capacity:
        assert full_at == NOW + ahead


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(CALimits)])
def test_a_ca_of_ones_own_has_no_limits(name):
    bucket, full_at = getattr(NO_LIMITS, name), LONG_AGO
    for _ in range(1000):
        assert bucket.ready_at(full_at, reserve=1) <= NOW
        full_at = bucket.take(full_at, NOW)
    assert bucket.used(full_at, NOW) == 0
    assert bucket.clamp(NOW + HOUR, NOW) == NOW


def test_what_is_left_is_what_is_not_used_and_nothing_is_counted_where_nothing_runs_out():
    bucket = Bucket(5, MINUTE)
    assert bucket.left(NOW, NOW) == 5
    assert bucket.left(bucket.take(bucket.take(NOW, NOW), NOW), NOW) == 3
    assert bucket.left(NOW + 9 * MINUTE, NOW) == 0
    assert NO_LIMITS.orders.left(NOW, NOW) is None
