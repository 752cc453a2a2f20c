"""When a certificate is due."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from certs import facts
from hypothesis import given, strategies as st

from tscert_trio.schedule import REFRESH_INTERVAL, DueReason, RenewalWindow, due_time
from tscert_trio.schedule.renewal import last_twentieth, look_interval, share_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BORN = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, LAST, MIDDLE = "0" * 64, "f" * 64, "8" + "0" * 63


def leaf(life, fingerprint=FIRST):
    return facts(("a.ts.net",), BORN, life, fingerprint=fingerprint)


@pytest.mark.parametrize(
    ("life", "due", "reason"),
    [
        (90 * DAY, 60 * DAY, DueReason.TWO_THIRDS),
        (45 * DAY, 30 * DAY, DueReason.TWO_THIRDS),
        (10 * DAY, 160 * HOUR, DueReason.TWO_THIRDS),
        (10 * DAY - HOUR, 119.5 * HOUR, DueReason.HALF),
        (160 * HOUR, 80 * HOUR, DueReason.HALF),
    ],
)
def test_a_certificate_is_due_after_two_thirds_of_its_life_or_half_of_a_short_one(life, due, reason):
    assert due_time(leaf(life), None) == (BORN + due, reason)


@pytest.mark.parametrize("life", [90 * DAY, 45 * DAY, 160 * HOUR])
def test_certificates_of_the_same_hour_are_spread_over_a_hundredth_of_their_life(life):
    first, middle, last = (due_time(leaf(life, each), None)[0] for each in (FIRST, MIDDLE, LAST))
    assert middle - first == life / 200
    assert life * 0.0099 < last - first <= life / 100


@given(
    fingerprint=st.binary(max_size=8).map(lambda data: hashlib.sha256(data).hexdigest()),
    life=st.timedeltas(timedelta(seconds=1), 4000 * DAY),
)
def test_without_a_window_a_certificate_is_due_before_half_of_what_was_left_is_over(fingerprint, life):
    due, _ = due_time(leaf(life, fingerprint), None)
    start, _ = due_time(leaf(life), None)
    slack = timedelta(microseconds=2)
    assert start <= due <= start + min(life / 100, (BORN + life - start) / 2) + slack


def window(start, end):
    return RenewalWindow(start=BORN + start, end=BORN + end)


def test_within_the_cas_window_every_point_is_as_likely():
    suggested = window(30 * DAY, 34 * DAY)
    for fingerprint, due in ((FIRST, 30 * DAY), (MIDDLE, 32 * DAY)):
        assert due_time(leaf(90 * DAY, fingerprint), suggested) == (BORN + due, DueReason.CA_WINDOW)
    last, _ = due_time(leaf(90 * DAY, LAST), suggested)
    assert BORN + 33.99 * DAY < last <= BORN + 34 * DAY


def test_a_window_in_the_past_makes_a_certificate_due_at_once():
    """So the CA says that it is about to be revoked."""
    assert due_time(leaf(90 * DAY), window(-2 * DAY, -DAY))[0] < BORN


def test_the_last_twentieth_is_an_emergency_whatever_the_ca_suggests():
    due = due_time(leaf(90 * DAY, MIDDLE), window(85 * DAY, 89 * DAY))
    assert due == (BORN + 85.5 * DAY, DueReason.LAST_TWENTIETH)
    assert last_twentieth(leaf(160 * HOUR)) == BORN + 152 * HOUR
    assert due_time(leaf(90 * DAY), window(85 * DAY, 89 * DAY))[1] is DueReason.CA_WINDOW


def test_the_point_is_the_same_for_the_same_certificate_and_evenly_spread_over_many():
    fingerprints = [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(2000)]
    shares = [share_of(each) for each in fingerprints]
    assert shares == [share_of(each) for each in fingerprints]
    assert all(0 <= share < 1 for share in shares)
    for tenth in range(10):
        assert 130 < sum(int(share * 10) == tenth for share in shares) < 270
    assert share_of(LAST) < 1


@pytest.mark.parametrize(
    ("life", "refresh", "expected"),
    [
        (90 * DAY, REFRESH_INTERVAL, DAY),
        (45 * DAY, REFRESH_INTERVAL, 21.6 * HOUR),
        (160 * HOUR, REFRESH_INTERVAL, 3.2 * HOUR),
        (HOUR, REFRESH_INTERVAL, timedelta(minutes=10)),
        (90 * DAY, timedelta(minutes=5), timedelta(minutes=5)),
        (HOUR, timedelta(minutes=5), timedelta(minutes=5)),
    ],
)
def test_a_certificate_is_looked_at_fifty_times_in_its_life_and_no_rarer_than_asked(life, refresh, expected):
    assert look_interval(leaf(life), refresh) == expected
