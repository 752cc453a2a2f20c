"""How everything stands, by the journal of a service that does not answer."""

import os
import sqlite3
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from tscert_trio.certificate import Certificate
from tscert_trio.delivery_record import DeliveryRecord, DeliveryState
from tscert_trio.errors import ControlError, RateLimitedError, StateError, StatusServiceError
from tscert_trio.journal import open_state_folder
from tscert_trio.schedule import AccountState, DomainRecord, Request, RetryPolicy
from tscert_trio.status.offline import journal_detail, journal_events, journal_report
from tscert_trio.status.report import Level, Source
from tscert_trio.status.words import moment

NOW = datetime(2026, 11, 27, tzinfo=UTC)
DAY = timedelta(days=1)
BOX, SHOP = "box.tail1234.ts.net", "shop.tail1234.ts.net"
POLICY = RetryPolicy(urgency=True)


def leaf_of(name):
    return Certificate(
        names=(name,),
        serial_number=1,
        not_before=NOW - 10 * DAY,
        not_after=NOW + 80 * DAY,
        issuer="CN=CA",
        fingerprint=name.encode().hex().ljust(64, "0")[:64],
        ari_id=None,
    )


def record_of(name, **known):
    known = {"leaf": leaf_of(name), "succeeded_at": NOW - DAY, "ended_at": NOW - DAY} | known
    return DomainRecord(domain=name, wanted_since=NOW - 10 * DAY, **known)


def delivery_of(target, **known):
    known = {"since": NOW - 5 * DAY, "fingerprint": leaf_of(BOX).fingerprint} | known
    return DeliveryRecord(target=target, domain=BOX, **known)


def write(folder, *records, wanted=None, deliveries=()):
    with open_state_folder(folder) as journal:
        for record in records:
            journal.note_look(record, NOW - DAY, record.leaf, AccountState())
        for delivery in deliveries:
            journal.remember_delivery(delivery)
        if wanted is not None:
            journal.note_wanted(wanted)


def report_of(folder):
    return journal_report(folder, NOW, POLICY)


def test_it_says_that_the_service_does_not_run_and_is_a_warning_at_least(tmp_path):
    write(tmp_path, record_of(BOX), wanted=[BOX])
    report = report_of(tmp_path)
    assert (report.source, report.level, report.is_told) == (Source.JOURNAL, Level.WARNING, True)
    (domain,) = report.domains
    assert report.summary == (
        "The service does not run. What it knew last: The name has a valid certificate; renewal is due from "
        f"{moment(domain.certificate.due_at)} on, and the first certificate ends {moment(NOW + 80 * DAY)}."
    )
    assert (domain.name, domain.level, domain.state) == (BOX, Level.GOOD, "unknown")
    assert domain.next_attempt_at is None
    assert "; due in " in domain.summary
    assert "not renewed while the service does not run" in domain.summary
    assert domain.certificate.not_after == NOW + 80 * DAY


def test_names_that_left_are_not_shown_and_new_ones_without_a_record_are(tmp_path):
    write(tmp_path, record_of(BOX), wanted=[SHOP])
    (domain,) = report_of(tmp_path).domains
    assert domain.name == SHOP
    assert domain.summary == "no certificate yet; nothing is tried while the service does not run"


def test_what_a_dead_service_left_undone_is_not_under_way(tmp_path):
    due = attrs.evolve(leaf_of(BOX), not_after=NOW + 20 * DAY, not_before=NOW - 70 * DAY)
    write(tmp_path, record_of(BOX, leaf=due), wanted=[BOX, SHOP])
    by_name = {domain.name: domain for domain in report_of(tmp_path).domains}
    assert (by_name[BOX].level, by_name[SHOP].level) == (Level.WARNING, Level.BAD)
    for domain in by_name.values():
        assert domain.summary.endswith("; nothing is tried while the service does not run")


def test_names_without_a_certificate_are_counted_as_that(tmp_path):
    with open_state_folder(tmp_path) as journal:
        journal.note_wanted([BOX, SHOP])
        report = report_of(tmp_path)  # beside a service that runs
    assert report.level is Level.BAD
    assert ": Both names have no valid certificate. " in report.summary


def test_that_no_name_is_wanted_is_known_too(tmp_path):
    write(tmp_path, record_of(BOX), wanted=[])
    report = report_of(tmp_path)
    assert (report.domains, report.is_told) == ((), True)
    assert report.summary.endswith("No name wants a certificate.")


def test_a_journal_from_before_wanted_names_were_written_down_shows_all(tmp_path):
    write(tmp_path, record_of(BOX), record_of(SHOP))
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("DROP TABLE wanted")
    db.close()
    assert [domain.name for domain in report_of(tmp_path).domains] == [BOX, SHOP]


def test_a_service_that_was_never_told_knows_no_names(tmp_path):
    write(tmp_path)
    report = report_of(tmp_path)
    assert (report.is_told, report.level) == (False, Level.WARNING)


def test_wanted_names_are_written_again_where_the_journal_began_anew(tmp_path):
    with open_state_folder(tmp_path) as journal:
        journal.note_wanted([BOX])
        journal._begin_anew(ValueError("torn"))
        assert journal.wanted() is None
        journal.write_again([], [], AccountState(), NOW)
        assert journal.wanted() == {BOX}


def test_a_failure_has_its_class_and_remedy_and_nothing_is_tried(tmp_path):
    record = record_of(BOX, leaf=None, error=ControlError("away"), failures=1, order_at=NOW + DAY)
    write(tmp_path, record_of(SHOP), wanted=[BOX, SHOP])
    with open_state_folder(tmp_path) as journal:
        journal.remember(record)
    report = report_of(tmp_path)
    assert (report.level, report.domains[0].name) == (Level.BAD, BOX)
    assert report.domains[0].trouble.kind == "ControlError"
    assert "nothing is tried while the service does not run" in report.summary


def test_beside_a_service_that_runs_the_next_attempt_is_told(tmp_path):
    error = RateLimitedError("too many", retry_after=DAY)
    until = NOW + DAY / 2
    record = record_of(BOX, leaf=None, error=error, failures=1, order_at=until, hold_until=until)
    with open_state_folder(tmp_path) as journal:
        journal.remember(record)
        journal.begin(SHOP, Request.ISSUE, NOW)
        journal.note_wanted([BOX, SHOP])
        report = report_of(tmp_path)
    begin = f"The service runs (process {os.getpid()}), but does not answer on its status socket."
    assert report.summary.startswith(begin)
    by_name = {domain.name: domain for domain in report.domains}
    assert by_name[BOX].limit == "the CA's Retry-After"
    assert by_name[BOX].limited_until == by_name[BOX].next_attempt_at == until
    assert "one is being requested" in by_name[SHOP].summary


@pytest.mark.parametrize(
    ("delivery", "level", "is_done"),
    [
        (delivery_of("a", state=DeliveryState.WRITTEN, checked_at=NOW - DAY), Level.GOOD, True),
        (delivery_of("a", state=DeliveryState.WRITTEN), Level.NOTICE, False),
        (delivery_of("a", since=NOW, checked_at=NOW - DAY), Level.NOTICE, False),
        (delivery_of("a", error="no", failures=2, retry_at=NOW), Level.BAD, False),
        (delivery_of("a", error="no", failures=2, retry_at=NOW, good_until=NOW + DAY), Level.WARNING, False),
    ],
    ids=["done", "under way", "begun anew", "failed", "failed, the one before is good"],
)
def test_a_delivery_is_done_if_it_was_seen_to_be(tmp_path, delivery, level, is_done):
    write(tmp_path, record_of(BOX), wanted=[BOX], deliveries=[delivery])
    ((found,),) = (domain.deliveries for domain in report_of(tmp_path).domains)
    assert (found.level, found.is_done) == (level, is_done)


def test_targets_that_are_no_more_and_alerts_are_not_shown(tmp_path):
    deliveries = [
        delivery_of("new", state=DeliveryState.WRITTEN, checked_at=NOW - DAY),
        delivery_of("gone", state=DeliveryState.WRITTEN, checked_at=NOW - 4 * DAY),
        delivery_of("", error="an alert", since=NOW),
    ]
    write(tmp_path, record_of(BOX), wanted=[BOX], deliveries=deliveries)
    (domain,) = report_of(tmp_path).domains
    assert [delivery.target for delivery in domain.deliveries] == ["new"]


def test_one_name_has_its_certificates_and_events(tmp_path):
    write(tmp_path, record_of(BOX), record_of(SHOP), wanted=[BOX, SHOP])
    detail = journal_detail(tmp_path, "box", NOW, POLICY)
    assert detail.domain.name == BOX
    assert [each.fingerprint for each in detail.certificates] == [leaf_of(BOX).fingerprint]
    assert [event.domain for event in detail.events] == [BOX]
    assert [event.domain for event in journal_events(tmp_path, None, 10).events] == [BOX, SHOP]
    assert len(journal_events(tmp_path, SHOP, 10).events) == 1


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path):
    write(tmp_path, record_of(BOX), wanted=[BOX])
    with pytest.raises(StatusServiceError, match="no certificate is kept for bxo"):
        journal_detail(tmp_path, "bxo.tail1234.ts.net", NOW, POLICY)


def test_without_a_journal_there_is_nothing_to_tell(tmp_path):
    with pytest.raises(StateError, match="there is no journal"):
        report_of(tmp_path)
