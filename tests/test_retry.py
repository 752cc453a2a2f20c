"""How long to wait after a failure."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, strategies as st

from tscert_trio import RetryPolicy, errors
from tscert_trio.clock import describe_duration
from tscert_trio.errors import RateLimit, RateLimitedError
from tscert_trio.schedule.retry import hold_after, wait_after

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
CALM, URGENT = RetryPolicy(), RetryPolicy(urgency=True)
SCHEDULE = [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720, 61440, 86400, 86400]


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


def test_jitter_begins_at_one_hour():
    policy = RetryPolicy(initial=HOUR - SECOND, maximum=HOUR, jitter=0.1)
    waits = [policy.wait(n, Random(1)) for n in (1, 2)]
    assert waits[0] == HOUR - SECOND
    assert HOUR < waits[1] <= HOUR * 1.1


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (90 * DAY, DAY),
        (8 * DAY + SECOND, DAY),
        (8 * DAY, DAY),
        (4 * DAY, DAY / 2),
        (DAY, 3 * HOUR),
        (8 * HOUR, HOUR),
        (HOUR, HOUR),
        (SECOND, HOUR),
        (timedelta(0), HOUR),
        (-3 * DAY + SECOND, HOUR),
        (-3 * DAY, 6 * HOUR),
        (-90 * DAY, 6 * HOUR),
    ],
)
def test_urgency_shortens_waits_towards_the_end_of_a_life_and_is_off_by_default(left, expected):
    assert URGENT.cap(left) == expected
    assert CALM.cap(left) == DAY


def test_urgency_makes_no_wait_longer_than_its_policy():
    policy = RetryPolicy(maximum=10 * MINUTE, urgency=True)
    assert [policy.cap(left) for left in (90 * DAY, DAY, -DAY, -9 * DAY)] == [10 * MINUTE] * 4


def waits(make_error, *, left=60 * DAY, policy=CALM, count=13):
    """Return the waits, in seconds, after so many failures of one class in a row."""
    error = make_error("text")
    return [
        wait_after(
            error, failures=n if error.counted else 0, repeats=n, left=left, policy=policy, rng=Random(0)
        ).total_seconds()
        for n in range(1, count + 1)
    ]


def test_an_unreachable_tailscaled_is_asked_every_second_at_first_and_every_minute_in_the_end():
    expected = [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits(errors.UnreachableError, count=8) == expected
    assert waits(errors.UnreachableError, count=8, left=-DAY, policy=URGENT) == expected


@pytest.mark.parametrize(
    "error", [errors.AccessDeniedError, errors.NotACertDomainError, errors.ReadOnlyStoreError]
)
def test_what_a_person_has_to_change_is_looked_at_every_five_minutes(error):
    assert waits(error, count=3) == [300] * 3


@pytest.mark.parametrize(
    "error",
    [
        errors.IssuanceTimeoutError,
        errors.IssuanceError,
        errors.ProtocolError,
        errors.AccountError,
        errors.StaleCertificateError,
        errors.AlreadyReplacedError,
        errors.AccountMismatchError,
        errors.ValidationError,
    ],
)
def test_most_failures_follow_the_schedule(error):
    assert waits(error) == SCHEDULE


def test_a_failing_control_server_is_asked_every_hour_in_the_end():
    assert waits(errors.ControlError) == [*SCHEDULE[:6], *[3600] * 7]


def test_urgency_applies_to_the_schedule():
    assert waits(errors.IssuanceError, left=DAY, policy=URGENT) == [*SCHEDULE[:8], *[3 * 3600] * 5]
    assert waits(errors.IssuanceError, left=-DAY, policy=URGENT) == [*SCHEDULE[:6], *[3600] * 7]
    assert waits(errors.IssuanceError, left=-4 * DAY, policy=URGENT) == [*SCHEDULE[:9], *[6 * 3600] * 4]


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        (timedelta(0), MINUTE),
        (59 * SECOND, MINUTE),
        (61 * SECOND, 61 * SECOND),
        (5 * HOUR, 5 * HOUR),
        (7 * DAY, 7 * DAY),
        (1000 * DAY, 7 * DAY),
    ],
)
def test_the_ca_is_obeyed_from_a_minute_to_a_week(retry_after, expected):
    error = RateLimitedError("text", retry_after=retry_after)
    assert hold_after(error) == expected
    for left in (60 * DAY, -9 * DAY):
        policy = RetryPolicy(jitter=0.1, urgency=True)
        assert wait_after(error, failures=1, repeats=1, left=left, policy=policy, rng=Random(0)) == expected


@pytest.mark.parametrize("limit", list(RateLimit))
def test_a_limit_without_a_time_waits_at_least_an_hour_and_three_where_accounts_are_limited(limit):
    least = 3 * 3600 if limit is RateLimit.REGISTRATIONS else 3600
    expected = [max(least, wait) for wait in SCHEDULE]
    assert waits(lambda text: RateLimitedError(text, limit=limit)) == expected
    assert hold_after(RateLimitedError("text", limit=limit)) is None


def test_only_the_ca_holds_names_back():
    assert all(
        hold_after(error("text")) is None
        for error in errors.LocalAPIError.__subclasses__()
        if error is not RateLimitedError
    )


@pytest.mark.parametrize("error", [errors.AlreadyReplacedError, errors.AccountMismatchError])
def test_a_blocked_renewal_is_tried_again_just_after_the_end_of_the_certificate(error):
    assert waits(error, left=HOUR, count=7) == [*SCHEDULE[:6], 3601]
    assert waits(error, left=-HOUR, count=8) == SCHEDULE[:8]
    assert waits(errors.IssuanceError, left=HOUR, count=8) == SCHEDULE[:8]


def test_a_store_that_failed_twice_is_tried_once_a_day_however_urgent():
    """Each try burns one of five certificates a week."""
    assert waits(errors.StorageError, count=4) == [60, 86400, 86400, 86400]
    assert waits(errors.StorageError, count=4, left=-9 * DAY, policy=URGENT) == [60, 86400, 86400, 86400]


def test_a_paused_name_is_tried_once_a_day_however_urgent():
    assert waits(errors.PausedError, count=3) == [86400] * 3
    assert waits(errors.PausedError, count=3, left=-DAY, policy=URGENT) == [86400] * 3


@pytest.mark.parametrize(
    ("left", "longest"),
    [
        (9 * DAY, 24),
        (4 * DAY, 12),
        (DAY, 6),
        (SECOND, 6),
        (-2 * DAY, 6),
        (-3 * DAY + SECOND, 6),
        (-3 * DAY, 24),
        (-30 * DAY, 24),
    ],
)
def test_urgency_does_not_hurry_failing_validations(left, longest):
    """The CA takes five an hour of a name, and pauses it after 1,152 in a row."""
    expected = [min(wait, longest * 3600) for wait in SCHEDULE]
    assert waits(errors.ValidationError, left=left, policy=URGENT) == expected


@pytest.mark.parametrize(
    "make_error", [errors.PausedError, errors.StorageError, errors.IssuanceError, RateLimitedError]
)
@given(failures=st.integers(1, 40), left=st.integers(-900, 900), seed=st.integers())
def test_jitter_adds_at_most_a_tenth_whatever_failed(*, make_error, failures, left, seed):
    def wait(**options):
        return wait_after(
            make_error("text"),
            failures=failures,
            repeats=failures,
            left=left * HOUR,
            policy=RetryPolicy(urgency=True, **options),
            rng=Random(seed),
        )

    calm, drawn_out = wait(), wait(jitter=0.1)
    if calm < HOUR:
        assert drawn_out == calm
    else:
        assert calm <= drawn_out <= calm * 1.1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.3, "0.3s"), (4.5, "4.5s"), (60, "1m"), (90.4, "1m30s"), (5400, "1h30m"), (86400, "24h")],
)
def test_durations_are_written_as_people_do(seconds, text):
    assert describe_duration(timedelta(seconds=seconds)) == text
