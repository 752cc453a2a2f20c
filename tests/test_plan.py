"""What is asked next, and when; and that no order of events breaks a rule."""

import hashlib
from datetime import UTC, datetime, timedelta
from random import Random

import attrs
import pytest
from certs import facts
from hypothesis import given, settings, strategies as st

from tscert_trio import RetryPolicy, errors
from tscert_trio.errors import RateLimit, RateLimitedError
from tscert_trio.journal import Journal
from tscert_trio.schedule import (
    LETS_ENCRYPT,
    DomainRecord,
    Ledger,
    Mode,
    RenewalWindow,
    Request,
    Step,
    due_time,
    next_step,
    runway,
)
from tscert_trio.schedule.plan import NEVER

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
INSTANT = timedelta(microseconds=1)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
A = "a.tail1234.ts.net"


def leaf(age, life=90 * DAY, fingerprint="00" * 32):
    return facts((A,), NOW - age, life, fingerprint=fingerprint)


FRESH, DUE = leaf(10 * DAY), leaf(70 * DAY)


def record(certificate=None, **known):
    return DomainRecord(domain=A, wanted_since=NOW, leaf=certificate, **known)


def seen(certificate, **known):
    """Return what is known of a name whose certificate has just been seen."""
    return record(certificate, looked_at=NOW, ended_at=NOW, **known)


def fail(record, error, now=NOW, *, is_order=True, policy=RetryPolicy()):  # noqa: B008 -- frozen
    return record.failed(error, now, policy=policy, rng=Random(0), is_order=is_order)


def plan(record, now=NOW, *, ledger=None, refresh=DAY, is_forced=False, **options):
    record = attrs.evolve(record, is_forced=True) if is_forced else record
    return next_step(record, now, ledger=ledger or Ledger(LETS_ENCRYPT), refresh_interval=refresh, **options)


def test_a_name_without_a_certificate_asks_for_one_at_once():
    assert plan(record()) == Step(Request.ISSUE, NOW)


def test_a_known_certificate_is_looked_at_at_once_after_a_start():
    assert plan(record(FRESH)) == Step(Request.LOOK, NOW)


def test_one_that_is_due_is_renewed_at_once_after_a_start():
    """A renewal begins with a look of its own."""
    assert plan(record(DUE)) == Step(Request.RENEW, DUE.not_before + 60 * DAY)
    assert plan(record(FRESH, window=RenewalWindow(start=NOW, end=NOW))) == Step(Request.RENEW, NOW)


def test_a_certificate_is_looked_at_at_its_interval():
    assert plan(seen(FRESH)) == Step(Request.LOOK, NOW + DAY)
    assert plan(seen(FRESH), refresh=HOUR) == Step(Request.LOOK, NOW + HOUR)
    assert plan(seen(leaf(HOUR, 160 * HOUR))) == Step(Request.LOOK, NOW + 3.2 * HOUR)
    assert plan(seen(FRESH), NOW + 5 * HOUR) == Step(Request.LOOK, NOW + DAY)


def test_a_certificate_is_renewed_at_the_very_moment_at_which_it_is_due():
    a = seen(leaf(60 * DAY - HOUR))
    assert plan(a) == Step(Request.RENEW, NOW + HOUR)
    a.window = RenewalWindow(start=NOW + 90 * SECOND, end=NOW + 90 * SECOND)
    assert plan(a) == Step(Request.RENEW, NOW + 90 * SECOND)
    assert plan(a, NOW + 91 * SECOND) == Step(Request.RENEW, NOW + 90 * SECOND)


def test_a_person_who_insists_has_another_certificate_due_or_not():
    assert plan(seen(FRESH), is_forced=True) == Step(Request.RENEW, NOW)


def test_an_expired_certificate_is_not_looked_at_and_another_is_asked_for():
    assert plan(record(leaf(91 * DAY))) == Step(Request.ISSUE, NOW)
    assert plan(seen(leaf(91 * DAY))) == Step(Request.ISSUE, NOW)


def test_nothing_is_asked_in_the_last_minute_of_a_life():
    """Were the certificate over when tailscaled looks, it would order by itself."""
    for left in (MINUTE - INSTANT, SECOND, timedelta(0)):
        a = record(leaf(90 * DAY - left))
        assert plan(a) == Step(Request.ISSUE, a.leaf.not_after + SECOND)
        assert plan(a, is_forced=True) == Step(Request.ISSUE, a.leaf.not_after + SECOND)
    assert plan(record(leaf(90 * DAY - MINUTE))).request is Request.RENEW


def test_no_look_falls_into_the_last_minute_of_a_life():
    for left, request in ((HOUR + MINUTE, Request.LOOK), (HOUR + MINUTE - INSTANT, Request.ISSUE)):
        a = seen(leaf(90 * DAY - left), order_at=NOW + DAY)
        assert plan(a, refresh=HOUR).request is request
    a = seen(leaf(90 * DAY - HOUR), order_at=NOW + DAY)
    assert plan(a) == Step(Request.ISSUE, NOW + DAY)


def test_a_renewal_that_would_fall_into_the_last_minute_waits_for_the_end():
    end = leaf(90 * DAY - HOUR).not_after
    for order_at, expected in (
        (end - MINUTE, Step(Request.RENEW, end - MINUTE)),
        (end - MINUTE + INSTANT, Step(Request.ISSUE, end + SECOND)),
        (end, Step(Request.ISSUE, end + SECOND)),
        (end + HOUR, Step(Request.ISSUE, end + HOUR)),
    ):
        assert plan(seen(leaf(90 * DAY - HOUR), order_at=order_at)) == expected


def test_a_blocked_renewal_is_an_issuance_just_after_the_end():
    a = seen(leaf(90 * DAY - 10 * MINUTE), failures=9)
    fail(a, errors.AlreadyReplacedError("text"))
    assert plan(a) == Step(Request.ISSUE, a.leaf.not_after + SECOND)


def test_while_an_order_waits_looks_go_on():
    a = seen(DUE, failures=11)
    fail(a, errors.IssuanceError("text"))
    assert a.order_at == NOW + DAY
    now = NOW
    for n in range(1, 24):
        step = plan(a, now, refresh=HOUR)
        assert step == Step(Request.LOOK, NOW + n * HOUR)
        now = step.at
        a.saw(DUE, now)
    assert plan(a, now, refresh=HOUR) == Step(Request.RENEW, NOW + DAY)


def test_an_order_waits_for_the_ca_and_says_so():
    a = seen(DUE)
    fail(a, RateLimitedError("429", retry_after=5 * HOUR))
    a.skip_backoff()
    a.looked_at = NOW
    assert plan(a) == Step(Request.RENEW, NOW + 5 * HOUR, "the CA's Retry-After", NOW + 5 * HOUR)
    assert plan(a, is_forced=True) == Step(
        Request.RENEW, NOW + 5 * HOUR, "the CA's Retry-After", NOW + 5 * HOUR
    )
    look_first = Step(Request.LOOK, NOW + HOUR, "the CA's Retry-After", NOW + 5 * HOUR)
    assert plan(a, refresh=HOUR) == look_first
    assert plan(a, NOW + 6 * HOUR).limit is None


def test_an_order_waits_for_a_bucket_and_says_so():
    a = record(attempts_full_at=NOW + 70 * MINUTE)
    assert plan(a) == Step(
        Request.ISSUE, NOW + 10 * MINUTE, "the limit on attempts for a name in an hour", NOW + 10 * MINUTE
    )
    a.order_at = NOW + 9 * MINUTE
    assert plan(a) == Step(
        Request.ISSUE, NOW + 10 * MINUTE, "the limit on attempts for a name in an hour", NOW + 10 * MINUTE
    )
    a.order_at = NOW + 11 * MINUTE
    assert plan(a) == Step(Request.ISSUE, NOW + 11 * MINUTE)


def test_a_wait_for_the_last_certificate_ends_where_the_last_twentieth_begins():
    a = seen(leaf(85.5 * DAY - HOUR), certificates_full_at=NOW + 4 * 33.6 * HOUR)
    limit = "the limit on certificates for the same name"
    assert plan(a) == Step(Request.RENEW, NOW + HOUR, limit, NOW + HOUR)
    a.certificates_full_at += 30 * MINUTE
    assert plan(a) == Step(Request.RENEW, NOW + HOUR, limit, NOW + HOUR)
    a.certificates_full_at += HOUR
    assert plan(a) == Step(Request.RENEW, NOW + 90 * MINUTE, limit, NOW + 90 * MINUTE)


@pytest.mark.parametrize("certificate", [None, FRESH, DUE, leaf(91 * DAY)])
def test_an_uncounted_failure_delays_whatever_is_next(certificate):
    a = record(certificate)
    fail(a, errors.AccessDeniedError("403"), is_order=certificate is not FRESH)
    assert plan(a).at == NOW + 5 * MINUTE
    a.skip_backoff()
    assert plan(a).at == NOW + SECOND


def test_no_failure_is_followed_by_a_request_within_a_second():
    for error in (errors.UnreachableError("refused"), errors.IssuanceError("text")):
        for certificate in (None, FRESH, DUE):
            for mode in (Mode.KEEPER, Mode.READER):
                a = record(certificate)
                fail(a, error, policy=RetryPolicy(initial=INSTANT), is_order=mode is Mode.KEEPER)
                a.skip_backoff()
                assert plan(a, mode=mode, is_forced=True).at >= NOW + SECOND


def test_a_person_skips_the_backoff():
    a = seen(DUE, failures=11)
    fail(a, errors.ValidationError("no TXT"))
    assert plan(a, refresh=9 * DAY) == Step(Request.RENEW, NOW + DAY)
    a.skip_backoff()
    assert plan(a).at == NOW + SECOND


def test_a_certificate_that_tailscaled_has_lost_is_issued_and_not_looked_at():
    a = record(FRESH)
    fail(a, errors.ControlError("SetDNS"), is_order=False)
    assert plan(a) == Step(Request.ISSUE, NOW + MINUTE)
    a.saw(FRESH, NOW + MINUTE)
    assert plan(a, NOW + MINUTE) == Step(Request.LOOK, NOW + MINUTE + DAY)


def test_a_reader_looks_every_five_minutes_and_never_orders():
    for certificate in (None, FRESH, DUE, leaf(91 * DAY)):
        assert plan(record(certificate), mode=Mode.READER, is_forced=True) == Step(Request.LOOK, NOW)
        assert plan(seen(certificate), mode=Mode.READER) == Step(Request.LOOK, NOW + 5 * MINUTE)


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (errors.ReadOnlyStoreError("text"), 5 * MINUTE),
        (errors.UnreachableError("refused"), SECOND),
        (errors.IssuanceTimeoutError("text"), MINUTE),
        (errors.IssuanceError("404"), MINUTE),
        (errors.ProtocolError("no certificate"), MINUTE),
        (RateLimitedError("429", retry_after=7 * DAY), 7 * DAY),
    ],
)
@pytest.mark.parametrize("looked_at", [None, NOW - DAY])
def test_a_reader_that_fails_waits_too_and_as_the_ca_wants_where_its_tailscaled_orders(
    error, wait, looked_at
):
    a = record(DUE, looked_at=looked_at)
    fail(a, error, is_order=False)
    step = plan(a, mode=Mode.READER)
    assert (step.request, step.at) == (Request.LOOK, NOW + wait)


def test_a_guest_looks_at_what_is_known_and_valid_and_at_nothing_else():
    assert plan(record(FRESH), mode=Mode.GUEST) == Step(Request.LOOK, NOW)
    assert plan(seen(DUE), mode=Mode.GUEST, is_forced=True) == Step(Request.LOOK, NOW + 5 * MINUTE)
    unanswered, lost = record(FRESH), record(FRESH)
    fail(unanswered, errors.IssuanceTimeoutError("text"), is_order=False)
    assert plan(unanswered, mode=Mode.GUEST) == Step(Request.LOOK, NOW + MINUTE)
    fail(lost, errors.ControlError("SetDNS"), is_order=False)
    for a in (record(), record(leaf(91 * DAY)), record(leaf(90 * DAY - 59 * SECOND)), lost):
        assert plan(a, mode=Mode.GUEST, is_forced=True) == Step(Request.LOOK, NEVER)


@pytest.mark.parametrize(
    ("failures", "first", "left", "policy", "attempts"),
    [
        (0, timedelta(0), timedelta(0), RetryPolicy(), 0),
        (0, HOUR, HOUR, RetryPolicy(), 0),
        (0, timedelta(0), SECOND, RetryPolicy(), 1),
        # After 1, 2, 4, ... minutes: at minutes 0, 1, 3, 7, 15, 31.
        (0, timedelta(0), HOUR, RetryPolicy(), 6),
        (0, timedelta(0), 31 * MINUTE, RetryPolicy(), 5),
        # One a day: at days 0, 1, 2, ..., 9.
        (20, timedelta(0), 10 * DAY, RetryPolicy(), 10),
        (20, timedelta(0), 10 * DAY, RetryPolicy(jitter=0.1), 10),
        (20, 5 * DAY, 10 * DAY, RetryPolicy(), 5),
        # Under urgency below 8 days an eighth of the rest, at least an hour: 8 hours, 7, 6.125, 5.36, 4.69,
        # 4.1, 3.59, 3.14, 2.75, 2.41, 2.11, 1.84, 1.61, 1.41, 1.23, 1.08; then 7 times an hour, and the rest.
        (20, timedelta(0), 8 * HOUR, RetryPolicy(urgency=True), 8),
        (20, timedelta(0), 16 * HOUR, RetryPolicy(urgency=True), 14),
        (0, timedelta(0), 9999 * DAY, RetryPolicy(), 999),
    ],
)
def test_how_many_attempts_are_left_before_the_end(failures, first, left, policy, attempts):
    assert runway(failures, NOW + first, NOW + left, policy) == attempts


# What follows plays a name's life: whatever happens, in whatever order, no rule is broken.

ERRORS = tuple(
    error("text") for error in errors.LocalAPIError.__subclasses__() if error.__module__ == errors.__name__
) + tuple(
    RateLimitedError("429", retry_after=retry_after, limit=limit)
    for retry_after in (timedelta(0), HOUR, 30 * DAY)
    for limit in RateLimit
)
LIVES = (90 * DAY, 45 * DAY, 160 * HOUR)
DAY_AT_MOST = 1.1 * DAY
WEEK = 7 * DAY


@attrs.frozen
class Ask:
    """Wait for the next request, and have it end so."""

    outcome: object
    """A failure; or for how much of its life the certificate lived that tailscaled gives."""
    life: timedelta
    took: timedelta


@attrs.frozen
class Pass:
    """Let time pass, asleep or suspended."""

    time: timedelta


@attrs.frozen
class SetBack:
    """Set the clock back, which is noticed."""

    step: timedelta


@attrs.frozen
class Wish:
    """A person wants it now."""

    is_forced: bool


@attrs.frozen
class Do:
    """Something that takes no time: ``resume``, ``restart``, or ``flap`` of the configuration."""

    what: str


def mostly(times):
    """Return a strategy for what takes at least a second most of the time."""
    return st.one_of(st.timedeltas(timedelta(0), MINUTE), st.timedeltas(timedelta(0), times))


asks = st.builds(
    Ask,
    st.one_of(st.sampled_from(ERRORS), st.sampled_from(ERRORS), st.just(0.0), st.floats(0, 0.99)),
    st.sampled_from(LIVES),
    st.timedeltas(timedelta(0), 300 * SECOND),
)
events = st.lists(
    st.one_of(
        asks,
        asks,
        st.builds(Pass, mostly(40 * DAY)),
        st.builds(SetBack, mostly(40 * DAY)),
        st.builds(Wish, st.booleans()),
        st.sampled_from([Do("resume"), Do("restart"), Do("flap")]),
    ),
    max_size=60,
)


@attrs.define
class Life:
    """A name, its tailscaled and its CA."""

    policy: RetryPolicy
    journal: Journal
    rng: Random
    record: DomainRecord = attrs.field(factory=lambda: DomainRecord(domain=A, wanted_since=NOW))
    ledger: Ledger = attrs.field(factory=lambda: Ledger(LETS_ENCRYPT))
    now: datetime = NOW
    behind: timedelta = timedelta(0)
    """By how much the clock was set back."""
    held_until: datetime = NOW
    """By a clock that is never set."""
    attempts: list[datetime] = attrs.field(factory=list)
    certificates: list[datetime] = attrs.field(factory=list)
    born: int = 0

    @property
    def true_now(self):
        return self.now + self.behind

    def plan(self):
        return plan(self.record, self.now, ledger=self.ledger)

    def make_leaf(self, age, life):
        self.born += 1
        fingerprint = hashlib.sha256(b"%d" % self.born).hexdigest()
        return attrs.evolve(
            leaf(timedelta(0), fingerprint=fingerprint),
            not_before=self.now - age,
            not_after=self.now - age + life,
        )

    def happen(self, event):
        match event:
            case Ask():
                self.ask(event)
            case Pass(time):
                self.now += time
            case SetBack(step):
                self.now, self.behind = self.now - step, self.behind + step
                self.record.shift(-step)
                self.ledger.shift(-step)
            case Wish(is_forced):
                self.record.is_forced |= is_forced
                self.record.skip_backoff()
            case Do("resume"):
                self.record.resume(self.now)
            case Do("restart"):
                self.restart()
            case Do("flap"):
                self.ledger.leave_queue(A)
                self.record.looked_at = None

    def restart(self):
        before = attrs.evolve(self.record, looked_at=None, hasty=0)
        self.journal.remember(self.record)
        memories = self.journal.load()
        assert not memories.interrupted
        self.record = memories.records[A]
        self.record.error = before.error  # compared elsewhere
        assert attrs.evolve(self.record, order_error=None) == attrs.evolve(before, order_error=None)
        self.ledger = Ledger(LETS_ENCRYPT, memories.account)
        self.record.clamp(self.now, self.policy)
        self.ledger.clamp(self.now)
        self.ledger.clamp_record(self.record, self.now)

    def wait(self):
        """Sleep until there is something to ask."""
        for _ in range(3):  # a certificate that ends meanwhile changes what there is to ask
            step = self.plan()
            if step.at <= self.now:
                return step
            self.now = step.at
        raise AssertionError(f"what there was to do at {self.now} is not to be done then: {step}")

    def ask(self, event):
        step = self.wait()
        if step.request is Request.LOOK:
            self.look(event)
        else:
            self.order(event, step.request)

    def look(self, event):
        known = self.record.leaf
        assert known is not None
        assert self.now <= known.not_after - MINUTE
        self.now += min(event.took, 10 * SECOND)
        if isinstance(event.outcome, errors.LocalAPIError):
            fail(self.record, event.outcome, self.now, is_order=False, policy=self.policy)
            if event.outcome.reached_ca is not False:
                self.ledger.spend_behind(self.record, self.now, is_order=True)
            self.ledger.heed(self.record, event.outcome, self.now)
            self.hear(event.outcome)
        elif event.outcome == 0.0:  # tailscaled has renewed it
            renewed = self.make_leaf(timedelta(0), event.life)
            self.record.saw(renewed, self.now)
            self.ledger.spend_behind(self.record, self.now, is_order=False)
            self.journal.note_look(self.record, self.now, renewed, self.ledger.account)
            self.held_until = self.true_now
        else:
            self.record.saw(known, self.now)

    def order(self, event, request):
        record, started_at, sent_at = self.record, self.now, self.true_now
        assert sent_at >= self.held_until
        is_valid = record.has_valid_leaf(self.now)
        if request is Request.RENEW:
            assert is_valid
            assert record.is_forced or record.is_due(self.now)
            assert self.now <= record.leaf.not_after - MINUTE
        else:
            assert not is_valid or record.is_lost
        record.is_forced = False
        self.ledger.take(record, self.now)
        number = self.journal.begin(record.domain, request, self.now)
        self.now += event.took
        reached, issued = self.answer(event, started_at, is_first=not is_valid)
        self.attempts += [sent_at] * reached
        self.certificates += [sent_at] * issued
        is_failure = isinstance(event.outcome, errors.LocalAPIError)
        outcome, text = (type(event.outcome).__name__, "text") if is_failure else ("issued", None)
        self.journal.end(number, self.now, outcome, text, record, self.ledger.account)

    def answer(self, event, started_at, *, is_first):
        """Have an order end; return whether it reached the CA, and brought a certificate about."""
        record, outcome = self.record, event.outcome
        if isinstance(outcome, errors.LocalAPIError):
            fail(record, outcome, self.now, policy=self.policy)
            self.ledger.settle_failure(record, outcome, self.now)
            self.hear(outcome)
            return outcome.reached_ca is not False, isinstance(outcome, errors.StorageError)
        is_issued = outcome == 0.0
        certificate = self.make_leaf(HOUR if is_issued else 2 * HOUR + event.life * outcome, event.life)
        if certificate.not_after <= self.now:
            certificate = attrs.evolve(certificate, not_after=self.now + HOUR)
        record.saw(certificate, self.now)
        self.ledger.settle_success(record, started_at=started_at, ended_at=self.now, is_first=is_first)
        self.held_until = self.true_now
        return is_issued, is_issued

    def hear(self, error):
        if isinstance(error, RateLimitedError) and error.retry_after is not None:
            self.held_until = self.true_now + min(max(error.retry_after, MINUTE), WEEK)

    def check(self):
        step, record, now = self.plan(), self.record, self.now
        if record.error is not None:
            assert step.at >= record.ended_at + SECOND
        ready_at, _ = self.ledger.ready_at(record, now)
        latest = max(now + DAY_AT_MOST, ready_at)
        if record.has_valid_leaf(now):
            latest = max(latest, record.leaf.not_after + SECOND)
            if not record.is_lost and record.leaf.not_after > now + DAY_AT_MOST + MINUTE:
                latest = max(now, record.leaf.not_before) + DAY_AT_MOST  # looks go on
        assert step.at <= latest
        for moment in (record.hold_until, self.ledger.account.hold_until):
            assert moment is None or moment <= now + WEEK


def assert_within(times, interval):
    """Assert that no stretch of time saw more than five and what came back meanwhile."""
    for first, begin in enumerate(times):
        for last, end in enumerate(times[first:], first):
            assert last - first + 1 <= 5 + (end - begin) / interval


@settings(max_examples=300)
@given(
    happened=events,
    policy=st.sampled_from([RetryPolicy(), RetryPolicy(factor=10, jitter=0.1, urgency=True)]),
    seed=st.integers(0, 9),
)
def test_whatever_happens_no_rule_is_broken(happened, policy, seed):
    """No request at once after a failure, none later than it may be, and none beyond the CA's limits."""
    with Journal() as journal:
        life = Life(policy, journal, Random(seed))
        life.check()
        for event in happened:
            life.happen(event)
            life.check()
    assert_within(life.attempts, 15 * MINUTE)
    assert_within(life.certificates, 33.6 * HOUR)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__} {vars(error)}")
def test_a_fault_that_lasts_a_year_breaks_no_rule_either(error):
    with Journal() as journal:
        life = Life(RetryPolicy(jitter=0.1, urgency=True), journal, Random(0))
        asked = 0
        while life.true_now < NOW + 365 * DAY and asked < 500:
            life.happen(Ask(error, DAY, 60 * SECOND))
            life.check()
            asked += 1
    assert asked > 40
    assert_within(life.attempts, 15 * MINUTE)
    assert_within(life.certificates, 33.6 * HOUR)


def test_a_year_without_faults_is_six_renewals_at_their_time_and_a_look_a_day():
    with Journal() as journal:
        life = Life(RetryPolicy(), journal, Random(0))
        orders, looks = [], 0
        while life.now < NOW + 365 * DAY:
            step = life.wait()
            if step.request is Request.LOOK:
                looks += 1
                life.happen(Ask(0.5, 90 * DAY, SECOND))
                continue
            if life.record.leaf is not None:
                assert life.now == due_time(life.record.leaf, None)[0]
            orders.append(step.request)
            life.happen(Ask(0.0, 90 * DAY, SECOND))
    assert orders == [Request.ISSUE, *[Request.RENEW] * 6]
    assert 350 <= looks <= 365


def slow_runway(failures, next_order_at, not_after, policy):
    """The rule as it is written in docs/design.rst, step by step."""
    left, attempts = (not_after - next_order_at).total_seconds(), 0
    wait = policy.seconds(failures + 1)
    while left > 0 and attempts < 999:
        attempts += 1
        left -= min(wait, policy.cap_seconds(left))
        wait = min(wait * policy.factor, policy.maximum.total_seconds())
    return attempts


@given(
    failures=st.integers(0, 80),
    left=st.integers(-10, 400 * 86400).map(lambda seconds: timedelta(seconds=seconds + 0.5)),
    policy=st.builds(
        RetryPolicy,
        initial=st.sampled_from([timedelta(seconds=3), timedelta(minutes=1), timedelta(hours=2)]),
        factor=st.sampled_from([1, 1.5, 2, 10]),
        maximum=st.sampled_from([timedelta(minutes=30), timedelta(hours=12), timedelta(hours=24)]),
        urgency=st.booleans(),
    ),
)
def test_the_runway_is_what_the_schedule_gives_step_by_step(failures, left, policy):
    """It is computed by tables, since a page asks for thousands."""
    expected = slow_runway(failures, NOW, NOW + left, policy)
    assert abs(runway(failures, NOW, NOW + left, policy) - expected) <= (expected > 200)  # floats
