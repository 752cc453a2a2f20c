"""Whether the engine turns, and whether all names are ready: what a supervisor is told."""

from datetime import timedelta

import pytest
from statuses import DAY, HOUR, MINUTE, NOW, SECOND, A, B, cert, domain, statistics

from tscert_trio import AccessDeniedError, ControlError, DomainState, UnreachableError
from tscert_trio.schedule import Mode
from tscert_trio.status.health import liveness, readiness, render_health
from tscert_trio.status.words import moment

INSTANT = timedelta(microseconds=1)


def test_an_engine_with_nothing_to_do_turns():
    assert liveness(statistics(), NOW) == ()


@pytest.mark.parametrize("late", [-DAY, 0 * DAY, 10 * MINUTE])
def test_a_name_that_is_asked_for_within_ten_minutes_is_not_late(late):
    assert liveness(statistics(domain(next_attempt_at=NOW - late)), NOW) == ()


def test_a_name_that_sleeps_ten_minutes_past_its_time_says_that_the_engine_stands_still():
    names = [domain(next_attempt_at=NOW - 10 * MINUTE - INSTANT), domain(B)]
    assert liveness(statistics(*names), NOW) == (
        f"{A}: its next attempt was due 10 minutes ago, and was not made",
    )


@pytest.mark.parametrize("state", [DomainState.WAITING, DomainState.QUEUED, DomainState.REQUESTING])
def test_a_name_that_does_not_sleep_is_never_late(state):
    assert liveness(statistics(domain(state=state, next_attempt_at=None)), NOW) == ()


def test_names_without_trouble_are_ready():
    assert readiness(statistics(), NOW) == ()
    assert readiness(statistics(domain(leaf=cert()), domain(B, leaf=cert(left=0 * DAY))), NOW) == ()


def test_a_failing_renewal_leaves_a_name_ready_as_long_as_its_certificate_is_valid():
    assert readiness(statistics(domain(leaf=cert(), error=ControlError("SetDNS: no"))), NOW) == ()


def test_nothing_is_ready_before_it_is_known_which_names_are_wanted():
    assert readiness(statistics(is_told=False), NOW) == ("it is not known yet which names are wanted",)


ENDED = cert(left=-INSTANT)
UNREADY = {
    "waits": (
        domain(state=DomainState.WAITING),
        "no certificate; NotACertDomainError: it is not among this node's CertDomains",
    ),
    "is in the queue": (
        domain(state=DomainState.QUEUED),
        "no certificate; one is requested when others are done",
    ),
    "is being requested": (domain(state=DomainState.REQUESTING), "no certificate; one is being requested"),
    "is about to be": (domain(state=DomainState.ISSUED), "no certificate; one is about to be requested"),
    "begins": (domain(state=DomainState.FAILED), "no certificate; one is about to be requested"),
    "fails": (
        domain(state=DomainState.FAILED, error=ControlError("SetDNS: no")),
        "no certificate; ControlError: SetDNS: no",
    ),
    "is a guest": (
        domain(state=DomainState.FAILED, mode=Mode.GUEST, next_attempt_at=None),
        "no certificate; not ordered here (issue = false)",
    ),
    "is a reader": (
        domain(state=DomainState.FAILED, mode=Mode.READER),
        "no certificate; not ordered here: this replica only reads",
    ),
    "waits for a limit": (
        domain(state=DomainState.LIMITED, limit="the limit on orders"),
        "no certificate; one waits for the limit on orders",
    ),
    "ended now": (
        domain(leaf=ENDED, state=DomainState.REQUESTING),
        f"its certificate ended now, at {moment(NOW - INSTANT)}; one is being requested",
    ),
    "ended before": (
        domain(leaf=cert(left=-3 * HOUR), error=ControlError("SetDNS: no")),
        f"its certificate ended 3 hours ago, at {moment(NOW - 3 * HOUR)}; ControlError: SetDNS: no",
    ),
    "has not begun": (
        domain(leaf=cert(left=91 * DAY)),
        "its certificate begins in 24 hours, so the clock of this machine seems to be wrong",
    ),
}


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (AccessDeniedError("cert access denied"), "AccessDeniedError: cert access denied"),
        (UnreachableError("no such file"), "UnreachableError: no such file"),
        (None, "it waits for tailscaled"),
    ],
)
def test_nothing_is_said_of_cert_domains_that_nobody_can_tell(trouble, reason):
    waiting = statistics(domain(state=DomainState.WAITING), cert_domains=None, trouble=trouble)
    assert readiness(waiting, NOW) == (f"{A}: no certificate; {reason}",)


@pytest.mark.parametrize("situation", UNREADY)
def test_a_name_without_a_valid_certificate_is_not_ready_and_says_why(situation):
    unready, reason = UNREADY[situation]
    assert readiness(statistics(unready, domain(B, leaf=cert())), NOW) == (f"{A}: {reason}",)


def test_a_certificate_is_good_to_its_last_moment():
    last = statistics(domain(leaf=cert(left=SECOND)))
    assert readiness(last, NOW + SECOND) == ()
    assert len(readiness(last, NOW + SECOND + INSTANT)) == 1


def test_what_is_well_is_said_in_a_word():
    assert render_health((), ok="alive") == (200, b"alive\n")


@pytest.mark.parametrize(
    ("count", "last"),
    [(1, b"name 0"), (20, b"name 19"), (21, b"and 1 more"), (5000, b"and 4980 more")],
)
def test_what_is_not_is_a_line_each_twenty_at_most(count, last):
    status, body = render_health([f"name {index}" for index in range(count)], ok="alive")
    assert status == 503
    assert body.endswith(b"\n")
    lines = body.splitlines()
    assert lines[-1] == last
    assert lines[:20] == [f"name {index}".encode() for index in range(min(count, 20))]


def test_a_reason_stays_on_its_line():
    assert render_health(["a\nb\r\n  c"], ok="alive") == (503, b"a b c\n")
