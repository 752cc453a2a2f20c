"""How well everything is, and in which words: what page, command line and systemd say."""

from datetime import timedelta

import pytest
from certs import facts
from statuses import DAY, HOUR, MINUTE, NOW, SECOND, A, B, cert, delivery, domain, statistics

from tscert_trio import (
    LETS_ENCRYPT,
    ControlError,
    DeliveryState,
    DomainState,
    LimitStatistics,
    NotACertDomainError,
    RateLimit,
    RateLimitedError,
    RenewalWindow,
    SourceStatistics,
    UnreachableError,
)
from tscert_trio.schedule import Mode
from tscert_trio.status.making import make_report, trouble_of
from tscert_trio.status.report import Level, Source
from tscert_trio.status.words import in_time, moment, of_names, span

C, D = "c.tail1234.ts.net", "d.tail1234.ts.net"
FAILED = ControlError("SetDNS: control says no")
AWAY = UnreachableError("tailscaled's socket /s: no such socket.")
UNLISTED = NotACertDomainError('invalid domain "a"; must be one of ["b"]')
CERTIFICATES = {
    "none": None,
    "valid": cert(left=60 * DAY),
    "due": cert(left=20 * DAY),
    "due, and nearly over": cert(left=3 * DAY),
    "nearly over": cert(left=30 * MINUTE),
    "ended": cert(left=-3 * HOUR),
}
SLOT = NOW + 2 * DAY
FIELDS = {
    DomainState.WAITING: {"next_attempt_at": None},
    DomainState.QUEUED: {"next_attempt_at": None},
    DomainState.REQUESTING: {"next_attempt_at": None},
    DomainState.LIMITED: {"limit": "the limit on orders", "limited_until": SLOT},
}
THEN = {
    DomainState.WAITING: "it waits to be among this node's CertDomains",
    DomainState.QUEUED: "{one} is requested when others are done",
    DomainState.REQUESTING: "{one} is being requested",
    DomainState.ISSUED: "next attempt in 3 hours",
    DomainState.FAILED: "next attempt in 3 hours",
    DomainState.LIMITED: f"{{one}} waits for the limit on orders until {moment(SLOT)}",
}
GOOD, NOTICE, WARNING, BAD = Level
WAITING, QUEUED, REQUESTING, ISSUED, ASLEEP, LIMITED = DomainState

WITHOUT_ERROR = {  # by certificate: the level in each state, and what is said first
    "none": ([BAD, NOTICE, NOTICE, NOTICE, NOTICE, BAD], "no certificate yet"),
    "valid": ([WARNING, NOTICE, NOTICE, GOOD, GOOD, NOTICE], "valid until {end} (60 days)"),
    "due": ([WARNING, NOTICE, NOTICE, NOTICE, NOTICE, NOTICE], "valid until {end} (20 days)"),
    "due, and nearly over": (
        [WARNING] * 6,
        "valid until {end} (3 days)",
    ),
    "nearly over": ([WARNING] * 6, "valid until {end} (30 minutes)"),
    "ended": ([BAD] * 6, "the certificate ENDED 3 hours ago, at {end}"),
}
DUE = {
    "due": ", renewal was due 10 days ago",
    "due, and nearly over": ", renewal was due 27 days ago",
    "nearly over": ", renewal was due 29 days ago",
}
WITH_ERROR = {
    "none": ([BAD] * 6, "no certificate ({kind})"),
    "valid": ([WARNING] * 6, "{renewal} ({kind}), harmless so far: valid until {end} (60 days)"),
    "due": ([WARNING] * 6, "{renewal} ({kind}), harmless so far: valid until {end} (20 days)"),
    "due, and nearly over": (
        [WARNING] * 6,
        "{renewal} ({kind}), harmless so far: valid until {end} (3 days)",
    ),
    "nearly over": ([WARNING] * 6, "{renewal} ({kind}), and the certificate ENDS in 30 minutes"),
    "ended": ([BAD] * 6, "the certificate ENDED 3 hours ago, at {end} ({kind})"),
}


def report_of(one, *deliveries, **fields):
    """Return the report on a single name."""
    (report,) = make_report(statistics(one, deliveries=deliveries, **fields), NOW).domains
    return report


def words(text, leaf, **values):
    return text.format(
        end=moment(leaf.not_after) if leaf else "", one="a new one" if leaf else "one", **values
    )


@pytest.mark.parametrize("state", DomainState)
@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_a_name_without_a_failure(certificate, state):
    leaf, (levels, text) = CERTIFICATES[certificate], WITHOUT_ERROR[certificate]
    report = report_of(domain(state=state, leaf=leaf, **FIELDS.get(state, {})))
    if state is WAITING:  # which is a trouble of its own
        text = WITH_ERROR[certificate][1].format(
            kind="NotACertDomainError", renewal="renewal has to wait", end="{end}"
        )
    if state in {ISSUED, ASLEEP}:
        text += DUE.get(certificate, "")
    expected = f"{text}; {THEN[state]}"
    if certificate == "valid" and state in {ISSUED, ASLEEP}:
        expected = f"{text}, renewal due in 30 days"
    if certificate == "nearly over" and state is LIMITED:
        expected += ", which is too late"
    assert (report.level, report.summary) == (levels[list(DomainState).index(state)], words(expected, leaf))


@pytest.mark.parametrize("state", DomainState)
@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_a_name_that_fails(certificate, state):
    leaf, (levels, text) = CERTIFICATES[certificate], WITH_ERROR[certificate]
    error = UNLISTED if state is WAITING else FAILED
    report = report_of(domain(state=state, leaf=leaf, error=error, **FIELDS.get(state, {})))
    renewal = "renewal has to wait" if state is WAITING else "renewal fails"
    expected = words(f"{text}; {THEN[state]}", leaf, kind=type(error).__name__, renewal=renewal)
    assert (report.level, report.summary) == (levels[list(DomainState).index(state)], expected)
    assert report.trouble == trouble_of(error)
    is_valid = leaf is not None and leaf.not_after > NOW
    assert report.harmless_until == (leaf.not_after if is_valid else None)
    assert report.is_ready is is_valid


@pytest.mark.parametrize(
    ("left", "level"), [(4.5 * DAY + SECOND, NOTICE), (4.5 * DAY, NOTICE), (4.5 * DAY - SECOND, WARNING)]
)
def test_a_certificate_that_nobody_renews_is_a_trouble_in_its_last_twentieth(left, level):
    """As beside a tailscaled of others, where no request fails."""
    assert report_of(domain(leaf=cert(left=left))).level is level


@pytest.mark.parametrize(("left", "is_harmless"), [(2 * DAY, True), (2 * DAY - SECOND, False)])
def test_a_failure_is_called_harmless_until_two_days_before_the_end(left, is_harmless):
    assert ("harmless" in report_of(domain(leaf=cert(left=left), error=FAILED)).summary) is is_harmless


@pytest.mark.parametrize("until", [20 * DAY - SECOND, 20 * DAY])
def test_a_limit_that_lasts_longer_than_the_certificate_is_a_trouble(until):
    limited = domain(
        state=LIMITED, leaf=CERTIFICATES["due"], limit="the limit on orders", limited_until=NOW + until
    )
    is_late = until == 20 * DAY
    assert report_of(limited).level is (WARNING if is_late else NOTICE)
    assert report_of(limited).summary.endswith("too late") is is_late


@pytest.mark.parametrize("state", DomainState)
def test_a_certificate_that_has_not_begun_lets_the_clock_be_doubted(state):
    report = report_of(domain(state=state, leaf=cert(left=92 * DAY)))
    assert (report.level, report.summary, report.is_ready) == (
        BAD,
        "the certificate begins in 2 days: is the clock of this machine right?",
        False,
    )


def test_a_certificate_is_valid_to_its_last_moment():
    last = statistics(domain(leaf=cert(left=SECOND), error=FAILED))
    (before,) = make_report(last, NOW + SECOND).domains
    (after,) = make_report(last, NOW + SECOND + timedelta(microseconds=1)).domains
    assert (before.level, after.level) == (WARNING, BAD)
    assert after.summary.startswith("the certificate ENDED now, at ")


def test_a_name_that_waits_for_a_tailscaled_that_is_away_says_so():
    report = report_of(domain(state=WAITING, **FIELDS[WAITING]), trouble=AWAY, cert_domains=None)
    assert (report.level, report.summary) == (
        BAD,
        "no certificate (UnreachableError); it waits for tailscaled",
    )
    assert report.trouble == trouble_of(AWAY)


def test_a_name_at_the_start_is_not_said_to_be_no_certdomain_before_that_is_known():
    report = report_of(domain(state=WAITING, leaf=cert(), **FIELDS[WAITING]), cert_domains=None)
    assert (report.level, report.trouble) == (NOTICE, None)


def test_a_name_that_was_no_certdomain_keeps_the_words_of_tailscaled():
    report = report_of(domain(state=WAITING, error=UNLISTED, **FIELDS[WAITING]), cert_domains=frozenset())
    assert report.trouble.text == str(UNLISTED)


PENDING, WRITTEN, ANNOUNCED, SERVED = DeliveryState
DELIVERIES = [
    (delivery(state=PENDING), NOTICE, "under way; so far nothing is done"),
    (delivery(state=WRITTEN), NOTICE, "under way; so far the certificate is written"),
    (delivery(state=ANNOUNCED), NOTICE, "under way; so far the certificate is announced"),
    (delivery(state=SERVED), GOOD, "the certificate was seen served"),
    (delivery(state=WRITTEN, goal=WRITTEN, is_done=True), GOOD, "the certificate is written"),
    (delivery(state=ANNOUNCED, goal=ANNOUNCED, is_done=True), GOOD, "the certificate is announced"),
    (
        delivery(warnings=("the owner of /x stays", "more")),
        WARNING,
        "the certificate was seen served, but the owner of /x stays",
    ),
    (
        delivery(state=PENDING, error="no space left."),
        BAD,
        "delivery fails: no space left; so far nothing is done",
    ),
    (
        delivery(state=PENDING, error="no space left", good_until=NOW),
        BAD,
        "delivery fails: no space left; so far nothing is done",
    ),
    (
        delivery(state=WRITTEN, error="exit status 1", good_until=NOW + SECOND),
        WARNING,
        "delivery fails: exit status 1; so far the certificate is written; "
        f"what was delivered before is good until {moment(NOW + SECOND)}",
    ),
]


@pytest.mark.parametrize("index", range(len(DELIVERIES)))
def test_a_delivery_speaks_for_a_name_that_is_better_than_it(index):
    given, level, summary = DELIVERIES[index]
    report = report_of(domain(leaf=cert()), delivery(target="other"), given)
    assert (report.deliveries[1].level, report.deliveries[1].summary) == (level, summary)
    assert report.level is level
    if level is not GOOD:
        assert report.summary == f"web: {summary}"
    assert report.harmless_until == (given.good_until if level is WARNING and given.error else None)


def test_a_name_that_is_worse_than_its_deliveries_speaks_for_itself():
    report = report_of(domain(error=FAILED), delivery(error="no", good_until=NOW + DAY))
    assert (report.level, report.summary) == (BAD, "no certificate (ControlError); next attempt in 3 hours")


def test_what_ends_first_says_until_when_all_is_harmless():
    failing = domain(leaf=cert(left=9 * DAY), error=FAILED)
    for good_until in (8 * DAY, 10 * DAY):
        report = report_of(failing, delivery(error="no", good_until=NOW + good_until))
        assert report.harmless_until == NOW + min(good_until, 9 * DAY)


@pytest.mark.parametrize(
    ("one", "deliveries"),
    [
        (
            domain(leaf=cert(), error=FAILED),
            [delivery(error="no"), delivery(error="no", good_until=NOW + DAY)],
        ),
        (domain(leaf=cert(), error=FAILED), [delivery(error="no", good_until=NOW)]),
        (domain(leaf=cert(left=-DAY), error=FAILED), [delivery(error="no", good_until=NOW + DAY)]),
        (domain(leaf=cert(left=100 * DAY), error=FAILED), []),
        (domain(error=FAILED), [delivery(error="no", good_until=NOW + DAY)]),
    ],
    ids=["never delivered", "delivered, and over", "ended", "not begun", "no certificate"],
)
def test_what_does_harm_is_never_called_harmless(one, deliveries):
    report = report_of(one, *deliveries)
    assert (report.level, report.harmless_until) == (BAD, None)
    assert "harmless" not in make_report(statistics(one, deliveries=deliveries), NOW).summary


NEVER_ORDERED = {
    Mode.READER: "not ordered here: this replica only reads",
    Mode.GUEST: "not ordered here (issue = false)",
}


@pytest.mark.parametrize("mode", NEVER_ORDERED)
def test_a_name_that_is_not_ordered_here_says_so_and_promises_nothing(mode):
    why, until = NEVER_ORDERED[mode], f"valid until {moment(NOW + 60 * DAY)} (60 days)"
    then = f"{why}; looked for in 3 hours"
    cases = [
        (cert(), ISSUED, None, GOOD, f"{until}, {why}; renewal due in 30 days"),
        (CERTIFICATES["nearly over"], ISSUED, None, WARNING, f", renewal was due 29 days ago; {then}"),
        (CERTIFICATES["ended"], ASLEEP, None, BAD, f"; {then}"),
        (
            cert(),
            ASLEEP,
            FAILED,
            WARNING,
            f"looking for a new one fails (ControlError), harmless so far: {until}",
        ),
        (None, ASLEEP, FAILED, BAD, f"no certificate (ControlError); {then}"),
    ]
    for leaf, state, error, level, text in cases:
        report = report_of(domain(state=state, leaf=leaf, error=error, mode=mode))
        assert (report.level, report.mode, report.runway) == (level, mode.value, 0)
        assert text in report.summary
        assert "attempt" not in report.summary
        assert "renewal fails" not in report.summary


def test_a_guest_that_has_no_certificate_never_gets_one_by_itself():
    guest = domain(state=ASLEEP, mode=Mode.GUEST, next_attempt_at=None)
    report = report_of(guest)
    assert (report.level, report.summary) == (BAD, "no certificate; not ordered here (issue = false)")
    assert "under way" not in make_report(statistics(guest), NOW).summary


def test_a_keeper_is_the_mode_of_a_name_that_is_not_told_otherwise():
    assert report_of(domain(leaf=cert())).mode == "keeper"


@pytest.mark.parametrize("leaf", [None, cert()])
def test_a_name_that_is_looked_at_for_the_first_time_is_not_said_to_be_renewed(leaf):
    report = report_of(domain(state=QUEUED, leaf=leaf, attempts=0, next_attempt_at=None))
    assert report.level is NOTICE
    assert report.summary.endswith("; it is asked for when others are done")


LEFT = cert().not_after
MEANINGS = [
    (delivery(state=PENDING, error="no"), "What serves this name does not have its newest certificate."),
    (delivery(state=PENDING, error="no", served="old"), "does not have its newest certificate."),
    (
        delivery(state=PENDING, error="no", good_until=LEFT),
        "what was found changed since could not be put right.",
    ),
    (
        delivery(state=WRITTEN, error="no", served=None),
        "is written, and what serves this name was not told of it.",
    ),
    (delivery(state=WRITTEN, error="no", served="old"), "still serves the certificate before its newest."),
    (
        delivery(state=ANNOUNCED, error="no", served=None),
        "is in its place, and whether it is served is not known.",
    ),
    (delivery(state=ANNOUNCED, error="no", served="none"), "No server was seen to serve this name."),
    (
        delivery(state=ANNOUNCED, error="no", served="other"),
        "serves a certificate that does not come from this",
    ),
    (
        delivery(state=SERVED, error="no"),
        "was delivered; the look whether all is still as it should be failed.",
    ),
    (
        delivery(state=WRITTEN, goal=WRITTEN, error="no", served=None, is_done=False),
        "was delivered; the look whether all is still as it should be failed.",
    ),
]


@pytest.mark.parametrize("index", range(len(MEANINGS)))
def test_a_delivery_that_fails_means_what_was_done_and_seen(index):
    given, meaning = MEANINGS[index]
    (report,) = report_of(domain(leaf=cert()), given).deliveries
    assert meaning in report.trouble.meaning


def test_a_delivery_of_an_older_certificate_is_not_current():
    report = report_of(domain(leaf=cert()), delivery(), delivery(target="b", fingerprint="11" * 32))
    assert [each.is_current for each in report.deliveries] == [True, False]


def test_what_is_wrong_with_a_delivery_has_a_remedy_that_names_the_name():
    (report,) = report_of(domain(leaf=cert()), delivery(error="no")).deliveries
    assert (report.trouble.kind, report.trouble.text) == ("DeliveryError", "no")
    assert report.trouble.remedy.endswith(f"tscert-trio renew {A}")
    (report,) = report_of(domain(leaf=cert()), delivery(error="no", output="more")).deliveries
    assert f"tscert-trio status {A}" in report.trouble.remedy
    assert report.trouble.remedy.endswith(f"tscert-trio renew {A}")


def test_what_a_hook_wrote_is_for_those_only_who_may_see_it():
    written = statistics(domain(leaf=cert()), deliveries=(delivery(error="exit status 1", output="SECRET"),))
    assert "SECRET" not in repr(make_report(written, NOW))
    assert make_report(written, NOW, with_output=True).domains[0].deliveries[0].output == "SECRET"


def test_a_warning_without_a_failure_is_sorted_by_its_end_and_says_until_when_it_is_harmless():
    """The headline names the first."""
    late = domain(B, state=LIMITED, leaf=cert(left=5 * HOUR), limit="the limit on orders", limited_until=SLOT)
    report = make_report(statistics(domain(A, leaf=cert(), error=FAILED), late), NOW)
    assert [each.name for each in report.domains] == [B, A]
    assert report.domains[0].harmless_until == NOW + 5 * HOUR


RECALL = RenewalWindow(start=NOW - 2 * DAY, end=NOW - DAY)


@pytest.mark.parametrize(
    ("state", "error", "level", "begin"),
    [
        (
            ASLEEP,
            FAILED,
            WARNING,
            "renewal fails (ControlError), and the CA wants the certificate REPLACED NOW",
        ),
        (LIMITED, None, WARNING, "the CA wants the certificate REPLACED NOW"),
        (REQUESTING, None, NOTICE, "the CA wants the certificate REPLACED NOW"),
    ],
)
def test_what_the_ca_wants_replaced_before_its_time_is_not_called_harmless(state, error, level, begin):
    """It may be revoked within a day, however long it is valid."""
    report = report_of(
        domain(state=state, leaf=cert(left=89 * DAY), window=RECALL, error=error, **FIELDS.get(state, {}))
    )
    assert (report.level, report.harmless_until, report.certificate.is_recalled) == (level, None, True)
    assert report.summary.startswith(begin)


def test_a_window_that_has_passed_in_its_time_is_no_recall():
    late = RenewalWindow(start=NOW - 3 * DAY, end=NOW - DAY)
    report = report_of(domain(leaf=cert(left=27 * DAY), window=late, error=FAILED))
    assert not report.certificate.is_recalled
    assert report.harmless_until == NOW + 27 * DAY
    short = facts((A,), NOW - 85 * HOUR, 160 * HOUR, serial_number=1)
    in_its_middle = RenewalWindow(start=NOW - 7 * HOUR, end=NOW - 4 * HOUR)
    assert not report_of(domain(leaf=short, window=in_its_middle)).certificate.is_recalled


def test_a_name_of_the_journal_without_a_certificate_is_never_said_to_be_under_way():
    """Whoever could say so does not answer."""
    remembered = statistics(domain(state=QUEUED), cert_domains=None)
    assert make_report(remembered, NOW, source=Source.JOURNAL).level is BAD


def test_a_limit_that_the_ca_says_is_reached_is_reached_whatever_was_counted_here():
    """It counts what other machines order, too."""
    for limit, attempts, certificates in (
        (RateLimit.CERTIFICATES_PER_NAME, 5, 0),
        (RateLimit.VALIDATIONS, 0, 5),
        (RateLimit.ORDERS, 5, 5),
    ):
        error = RateLimitedError("429", limit=limit)
        fields = {"limit": "the CA's Retry-After", "limits": LETS_ENCRYPT}
        report = report_of(domain(leaf=cert(), error=error, limited_until=SLOT, **fields))
        assert (report.attempts_left, report.certificates_left) == (attempts, certificates)
        over = report_of(domain(leaf=cert(), error=error, limited_until=NOW, **fields))
        assert (over.attempts_left, over.certificates_left) == (5, 5)


def test_what_is_not_known_is_said_before_what_is():
    unread = SourceStatistics(name="tailscaled's serve config", is_known=False, trouble=None)
    report = make_report(statistics(WELL, sources=(unread,)), NOW)
    assert report.level is NOTICE
    assert report.summary == (
        "It is not known yet which names tailscaled's serve config wants. The name is well."
    )


def test_the_worst_comes_first_then_who_has_none_then_who_ends_first_then_by_name():
    report = make_report(
        statistics(
            domain("good", leaf=cert()),
            domain("warning, ends later", leaf=cert(left=20 * DAY), error=FAILED),
            domain("warning, ends sooner", leaf=cert(left=10 * DAY), error=FAILED),
            domain("bad, waits", state=WAITING, next_attempt_at=None),
            domain("under way", state=REQUESTING, next_attempt_at=None),
            domain("bad 2", error=FAILED),
            domain("bad 1", error=FAILED),
        ),
        NOW,
    )
    assert [each.name for each in report.domains] == [
        "bad 1", "bad 2", "bad, waits", "warning, ends sooner", "warning, ends later",
        "under way", "good",
    ]  # fmt: skip
    assert report.counts == {"good": 1, "notice": 1, "warning": 2, "bad": 3}
    assert report.level is BAD


WELL, UNWELL, ENDED = domain(A, leaf=cert()), domain(B, leaf=cert(), error=FAILED), domain(C, error=FAILED)
NEW = domain(D, state=REQUESTING, next_attempt_at=None)
RENEWED = domain(D, state=REQUESTING, leaf=cert(left=10 * DAY), next_attempt_at=None)
WAITS = domain(D, state=WAITING, next_attempt_at=None)
UNTIL = f"harmless until {moment(NOW + 60 * DAY)}. {B}: renewal fails (ControlError), harmless so far: "
IS_AWAY = "tailscaled cannot be asked: tailscaled's socket /s: no such socket (UnreachableError). "
IS_AWAY_HARMLESS = IS_AWAY.replace(":", f", harmless until {moment(NOW + 60 * DAY)}:", 1)
BUSY = f"something is under way for 1. {D}"
SENTENCES = [
    ((), {}, GOOD, "No name wants a certificate."),
    ((), {"is_told": False}, NOTICE, "It is not known yet which names are wanted."),
    (
        (),
        {"is_told": False, "trouble": AWAY},
        WARNING,
        f"{IS_AWAY}It is not known yet which names are wanted.",
    ),
    ((WELL,), {}, GOOD, "The name is well."),
    ((WELL, domain(B, leaf=cert())), {}, GOOD, "Both names are well."),
    ((WELL, *(domain(name, leaf=cert()) for name in (B, C))), {}, GOOD, "All 3 names are well."),
    ((NEW,), {}, NOTICE, "The certificate is under way."),
    ((NEW, domain(A, state=QUEUED)), {}, NOTICE, "Certificates are under way."),
    (
        (WELL, NEW),
        {},
        NOTICE,
        f"1 of 2 names is well; {BUSY}: no certificate yet; one is being requested",
    ),
    (
        (WELL, RENEWED),
        {},
        NOTICE,
        f"Both names are well; {BUSY}: valid until {moment(NOW + 10 * DAY)} (10 days); "
        "a new one is being requested",
    ),
    ((WELL,), {"trouble": AWAY}, WARNING, f"{IS_AWAY_HARMLESS}The name is well."),
    ((WELL, UNWELL), {}, WARNING, f"1 of 2 names is not well, {UNTIL}"),
    ((WELL, UNWELL), {"trouble": AWAY}, WARNING, f"{IS_AWAY}1 of 2 names is not well, {UNTIL}"),
    (
        (WELL, UNWELL, WAITS),
        {},
        BAD,
        f"1 of 3 names has no valid certificate, 1 more is not well. {D}: no certificate ",
    ),
    (
        (WELL, ENDED),
        {},
        BAD,
        f"1 of 2 names has no valid certificate. {C}: no certificate (ControlError); ",
    ),
    ((ENDED,), {}, BAD, f"The name has no valid certificate. {C}: "),
    ((UNWELL, ENDED), {}, BAD, f"1 of 2 names has no valid certificate, 1 more is not well. {C}: "),
    (
        (WELL, ENDED, UNWELL, domain("e", leaf=cert(left=20 * DAY), error=FAILED), WAITS),
        {},
        BAD,
        f"2 of 5 names have no valid certificate, 2 more are not well. {C}: ",
    ),
]


@pytest.mark.parametrize("index", range(len(SENTENCES)))
def test_one_sentence_says_how_all_names_are(index):
    domains, fields, level, sentence = SENTENCES[index]
    report = make_report(statistics(*domains, **fields), NOW)
    assert report.level is level
    assert report.summary.startswith(sentence)
    assert level.rank >= WARNING.rank or report.summary == sentence


def test_a_failing_name_of_the_journal_does_not_claim_what_only_the_service_knows():
    remembered = statistics(domain(leaf=cert(), state=WAITING), trouble=None, cert_domains=None)
    report = make_report(remembered, NOW, source=Source.JOURNAL)
    assert (report.source, report.tailscaled, report.domains[0].state) == (Source.JOURNAL, None, "unknown")
    assert report.domains[0].trouble is None


def test_tailscaled_and_limits_are_told_as_they_are():
    limit = LimitStatistics(
        name="orders", scope="this machine", used=3, capacity=300, is_exceeded=True, until=NOW
    )
    report = make_report(
        statistics(limits=(limit,), cert_domains=frozenset({B, A}), capability=148, trouble=AWAY), NOW
    )
    assert report.tailscaled.cert_domains == (A, B)
    assert (report.tailscaled.is_bus_watched, report.tailscaled.capability) == (True, 148)
    assert report.tailscaled.trouble == trouble_of(AWAY)
    (told,) = report.limits
    assert (told.name, told.scope, told.used, told.capacity, told.is_exceeded, told.until) == (
        "orders", "this machine", 3, 300, True, NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "a moment"), (0.9, "a moment"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"),
        (119, "1 minute"), (3600, "60 minutes"), (7199, "119 minutes"), (7200, "2 hours"),
        (86400, "24 hours"), (2 * 86400 - 1, "47 hours"), (2 * 86400, "2 days"), (-7200, "2 hours"),
    ],
)  # fmt: skip
def test_a_duration_is_rounded_down_to_one_unit(seconds, text):
    assert span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("ahead", "text"),
    [(0.5 * SECOND, "now"), (-0.5 * SECOND, "now"), (3 * HOUR, "in 3 hours"), (-5 * MINUTE, "5 minutes ago")],
)
def test_a_moment_is_told_from_now(ahead, text):
    assert in_time(NOW + ahead, NOW) == text


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (1, 1, "The name is"),
        (2, 2, "Both names are"),
        (3, 3, "All 3 names are"),
        (1, 3, "1 of 3 names is"),
        (2, 3, "2 of 3 names are"),
    ],
)
def test_names_are_counted_as_people_do(count, total, text):
    assert of_names(count, total) == text


def test_a_name_that_is_no_cert_domain_any_more_says_so_though_its_certificate_is_good():
    """It could not be renewed, and nobody would know before it is due."""
    report = report_of(domain(leaf=cert()), cert_domains=frozenset({"another.name"}))
    assert (report.level, report.trouble.kind) == (WARNING, "NotACertDomainError")
    assert report.summary.startswith(
        "renewal would fail (NotACertDomainError), harmless so far: valid until "
    )


def test_a_node_that_is_logged_out_says_so():
    report = report_of(domain(leaf=cert()), cert_domains=frozenset())
    text = "this node has no CertDomains: it is logged out (tailscale up), or HTTPS is switched off"
    assert report.trouble.text == text
    whole = make_report(statistics(domain(leaf=cert()), cert_domains=frozenset()), NOW)
    assert (whole.level, whole.tailscaled.trouble.text) == (WARNING, text)
    assert whole.summary.startswith(f"tailscaled cannot be asked: {text} (NotACertDomainError). ")
    nobody = make_report(statistics(cert_domains=frozenset()), NOW)
    assert (nobody.level, nobody.tailscaled.trouble) == (GOOD, None)


def test_what_failed_before_is_not_told_of_a_name_that_cannot_be_asked_for():
    """The next attempt waits for the CertDomain, and not for the CA."""
    for names, text in ((frozenset(), "has no CertDomains"), (frozenset({B}), "it is not among")):
        report = report_of(domain(leaf=cert(), error=FAILED), cert_domains=names)
        assert report.trouble.kind == "NotACertDomainError"
        assert text in report.trouble.text
    report = report_of(domain(leaf=cert(), error=FAILED), cert_domains=frozenset({B}), trouble=AWAY)
    assert report.trouble.kind == "ControlError"


@pytest.mark.parametrize("served", ["none", "other"])
def test_a_server_that_shows_nothing_good_is_bad_whatever_was_delivered_before(served):
    """Who connects has an error now."""
    broken = delivery(error="it serves no certificate", served=served, good_until=NOW + 20 * DAY)
    report = report_of(domain(leaf=cert()), broken)
    assert (report.level, report.harmless_until) == (BAD, None)
    still = delivery(error="it serves the old one", served="old", good_until=NOW + 20 * DAY)
    report = report_of(domain(leaf=cert()), still)
    assert (report.level, report.harmless_until) == (WARNING, NOW + 20 * DAY)


def test_a_name_that_is_not_delivered_is_not_said_to_have_no_certificate():
    broken = delivery(error="the hook failed", good_until=None)
    report = make_report(statistics(domain(leaf=cert()), deliveries=(broken,)), NOW)
    assert report.summary.startswith("The name is not delivered. ")
    report = make_report(statistics(domain(leaf=cert()), ENDED, deliveries=(broken,)), NOW)
    assert report.summary.startswith("1 of 2 names has no valid certificate, 1 more is not delivered. ")


def test_a_limit_that_keeps_a_name_without_a_certificate_has_a_meaning_and_a_remedy():
    report = report_of(domain(state=LIMITED, limit="the CA's Retry-After", limited_until=NOW + DAY))
    assert (report.level, report.trouble.kind) == (BAD, "RateLimitedError")
    assert report.trouble.text == "a new certificate waits for the CA's Retry-After"


def test_a_certificate_that_ends_before_the_next_attempt_is_not_well():
    report = report_of(domain(leaf=cert(left=40 * DAY), next_attempt_at=NOW + 41 * DAY))
    assert (report.level, report.runway) == (WARNING, 0)
    assert report.summary.endswith("; no attempt is left before it ends")
