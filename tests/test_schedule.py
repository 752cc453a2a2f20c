"""How long to wait, and who goes first."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, strategies as st

from tscert_trio import Certificate, RetryPolicy
from tscert_trio.clock import describe_duration
from tscert_trio.schedule import is_due, slot_priority

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def seconds(policy, *failures):
    return [policy.wait(n, Random(0)).total_seconds() for n in failures]


def test_waits_double_from_one_minute_to_a_day():
    assert seconds(RetryPolicy(), *range(1, 13)) == [
        60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720, 61440, 86400
    ]  # fmt: skip


def test_waits_stay_a_day_where_gos_shift_overflows():
    """Go's seed computed 0 or a negative wait from failure 29 and 54 on."""
    assert seconds(RetryPolicy(), 29, 54, 1000, 10**9) == [86400] * 4


def test_an_uncounted_failure_waits_as_the_first():
    assert seconds(RetryPolicy(), 0, 1) == [60, 60]


def test_factor_ten_is_the_schedule_of_later_go_managers():
    assert seconds(RetryPolicy(factor=10), 1, 2, 3, 4, 5) == [60, 600, 6000, 60000, 86400]


@pytest.mark.parametrize(
    "fault", [{"initial": timedelta(0)}, {"factor": 0.5}, {"maximum": -DAY}, {"jitter": 2}]
)
def test_a_policy_that_makes_no_sense_is_refused(fault):
    with pytest.raises(ValueError, match=next(iter(fault))):
        RetryPolicy(**fault)


@given(
    initial=st.floats(0.001, 1e6), factor=st.floats(1, 1e308), maximum=st.floats(0.001, 1e6),
    failures=st.integers(0, 10**6), jitter=st.floats(0, 1), seed=st.integers(),
)  # fmt: skip
def test_no_wait_is_negative_or_beyond_its_maximum(*, initial, factor, maximum, failures, jitter, seed):
    policy = RetryPolicy(
        initial=timedelta(seconds=initial), factor=factor, maximum=timedelta(seconds=maximum), jitter=jitter
    )
    wait = policy.wait(failures, Random(seed))
    assert timedelta(0) < wait <= policy.maximum * (1 + jitter) + timedelta(microseconds=1)
    assert wait >= min(policy.initial, policy.maximum)


def test_jitter_draws_only_long_waits_out_and_is_repeatable():
    policy = RetryPolicy(jitter=0.1)
    assert seconds(policy, 1, 6) == [60, 1920]
    days = {policy.wait(20, Random(seed)) for seed in range(50)}
    assert len(days) == 50
    assert all(DAY <= wait <= DAY * 1.1 for wait in days)
    assert policy.wait(20, Random(7)) == policy.wait(20, Random(7))


def leaf(life, left):
    return Certificate(
        names=("a.ts.net",),
        serial_number=1,
        not_before=NOW + left - life,
        not_after=NOW + left,
        issuer="CN=CA",
        fingerprint="00",
    )


def test_slots_go_to_the_dying_then_to_the_least_failed_then_to_the_missing_then_to_the_shortest():
    life = 90 * DAY
    in_order = {
        "last twentieth of its life": (leaf(life, 4 * DAY), 9),
        "no certificate": (None, 0),
        "expired is as none": (leaf(life, -DAY), 0),
        "20 days left": (leaf(life, 20 * DAY), 0),
        "80 days left": (leaf(life, 80 * DAY), 0),
        "failed once, no certificate": (None, 1),
        "failed once, 80 days left": (leaf(life, 80 * DAY), 1),
    }
    by_priority = sorted(in_order, key=lambda name: slot_priority(NOW, *in_order[name]))
    expected = list(in_order)
    expected[1:3] = expected[2:0:-1]  # the one that expired earlier has waited longer
    assert by_priority == expected


def test_a_certificate_is_due_when_two_thirds_of_its_life_are_over():
    life = 90 * DAY
    assert not is_due(leaf(life, life / 3 + timedelta(seconds=1)), NOW)
    assert is_due(leaf(life, life / 3), NOW)
    assert is_due(leaf(life, -DAY), NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.3, "0.3s"), (4.5, "4.5s"), (60, "1m"), (90.4, "1m30s"), (5400, "1h30m"), (86400, "24h")],
)
def test_durations_are_written_as_people_do(seconds, text):
    assert describe_duration(timedelta(seconds=seconds)) == text
