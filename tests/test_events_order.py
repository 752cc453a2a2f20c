"""Events in the order in which they came: who follows them gets each once, whatever the clock does."""

import logging
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certs import facts
from hypothesis import given, strategies as st

from tscert_trio.delivery_record import DeliveryRecord
from tscert_trio.errors import IssuanceError
from tscert_trio.journal import DeliveryEvent, Journal
from tscert_trio.schedule import AccountState, DomainRecord, Request
from tscert_trio.status.history import past_certificates, recent_events

NOW = datetime(2026, 11, 24, tzinfo=UTC)
A, B = "a.tail1234.ts.net", "b.tail1234.ts.net"
FINGERPRINT = "ab" * 32


class Writer:
    """Writes as the service does, by a clock that can be set, and counts what happens."""

    def __init__(self, path):
        self.path = path
        self.journal = Journal(path)
        self.now = NOW
        self.under_way = []
        self.happened = []

    def begin(self, domain):
        self.under_way.append((domain, self.journal.begin(domain, Request.ISSUE, self.now)))

    def end(self, position):
        if self.under_way:
            domain, number = self.under_way.pop(position % len(self.under_way))
            record = DomainRecord(domain=domain, wanted_since=NOW)
            text = self._next(domain)
            self.journal.end(number, self.now, "IssuanceError", text, record, AccountState())

    def drop(self, position):
        if self.under_way:
            domain, number = self.under_way.pop(position % len(self.under_way))
            self.journal.drop(number, DomainRecord(domain=domain, wanted_since=NOW), AccountState())

    def look(self, domain):
        record = DomainRecord(domain=domain, wanted_since=NOW)
        self.journal.note_look(record, self.now, IssuanceError(self._next(domain)), AccountState())

    def deliver(self, domain):
        self.journal.remember(DomainRecord(domain=domain, wanted_since=NOW))
        delivery = DeliveryRecord(target="t", domain=domain, fingerprint=FINGERPRINT, since=NOW)
        event = DeliveryEvent(
            at=self.now, target="t", domain=domain, outcome="failed", text=self._next(domain)
        )
        self.journal.remember_delivery(delivery, event)

    def set_clock(self, seconds):
        self.now += timedelta(seconds=seconds)

    def restart(self, _):
        """Be killed, and found again: what was under way ends then."""
        self.journal.close()
        self.journal = Journal(self.path)
        interrupted = self.journal.load().interrupted
        assert [each.number for each in interrupted] == sorted(number for _, number in self.under_way)
        self.under_way = [(each.domain, each.number) for each in interrupted]
        while self.under_way:
            self.end(0)

    def _next(self, domain):
        self.happened.append((domain, str(len(self.happened))))
        return self.happened[-1][1]


class Follower:
    """Asks for what came after the last event that it knows."""

    def __init__(self, writer, domain):
        self.writer, self.domain = writer, domain
        self.after = "0"
        self.seen = []
        self.ids = []

    def ask(self, limit):
        found = recent_events(self.writer.journal, domain=self.domain, after=self.after, limit=limit)
        assert len(found) <= limit
        self.ids += [int(each.id) for each in found]
        self.seen += [(each.domain, each.text) for each in found]
        self.after = found[-1].id if found else self.after
        return len(found)


domains = st.sampled_from([A, B])
positions = st.integers(0, 9)
leaps = st.sampled_from([0, 0.0001, 1, 60, 3600, -0.0005, -60, -6 * 3600, 400 * 86400, -300 * 86400])
limits = st.integers(1, 4)
acts = st.one_of(
    st.tuples(st.just("begin"), domains),
    st.tuples(st.just("end"), positions),
    st.tuples(st.just("drop"), positions),
    st.tuples(st.just("look"), domains),
    st.tuples(st.just("deliver"), domains),
    st.tuples(st.just("set_clock"), leaps),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("ask"), limits),
)


@given(todo=st.lists(acts, max_size=60), limit=limits)
def test_who_follows_gets_each_event_once_and_in_order(todo, limit):
    """Over bursts longer than an answer, attempts that end in another order, clock steps and restarts."""
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder, "journal"))
        followers = [Follower(writer, domain) for domain in (None, A, B)]
        for name, value in todo:
            if name == "ask":
                for follower in followers:
                    follower.ask(value)
            else:
                getattr(writer, name)(value)
        for follower in followers:
            while follower.ask(limit):
                pass
            assert follower.seen == [each for each in writer.happened if follower.domain in {None, each[0]}]
            assert follower.ids == sorted(set(follower.ids))
            newest = recent_events(writer.journal, domain=follower.domain, limit=limit)
            assert [(each.domain, each.text) for each in newest] == follower.seen[-limit:]
        writer.journal.close()


def test_who_follows_a_service_whose_journal_is_gone_goes_on():
    """In memory, or set aside: ids begin with the time."""
    ids = []
    for at in (NOW, NOW + timedelta(minutes=1)):
        with Journal() as journal:
            journal.note_look(record(), at, IssuanceError("no"), AccountState())
            (event,) = recent_events(journal, after=ids[-1] if ids else "0")
            ids.append(event.id)


def record(domain=A):
    return DomainRecord(domain=domain, wanted_since=NOW)


def test_the_time_of_an_event_is_the_clocks_and_not_its_place():
    with Journal() as journal:
        for hours in (0, -6):
            at = NOW + timedelta(hours=hours)
            journal.note_look(record(), at, IssuanceError(f"{hours}"), AccountState())
        assert [each.text for each in recent_events(journal)] == ["0", "-6"]
        assert [each.at for each in recent_events(journal)] == [NOW, NOW - timedelta(hours=6)]


@pytest.mark.parametrize("after", ["", "x", "-1", "1-a-1", "1.5", "٣", "9" * 19])
def test_what_is_no_id_is_refused(after):
    with Journal() as journal, pytest.raises(ValueError, match="is no id of an event"):
        recent_events(journal, after=after)


ODD = ["x'ff'", "'yesterday'", "1e300", "CAST(x'ff' AS TEXT)"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "column",
    ["attempts.ended_at", "attempts.text", "attempts.domain", "delivery_events.at", "delivery_events.text"],
)
def test_a_row_that_makes_no_sense_costs_no_other(tmp_path, column, odd):
    table, name = column.split(".")
    writer = Writer(tmp_path / "journal")
    with writer.journal as journal:
        for act in (writer.look, writer.deliver) * 2:
            act(A)
        journal._db.execute(
            f"UPDATE {table} SET {name} = {odd} WHERE number = (SELECT min(number) FROM {table})"
        )
        found = recent_events(journal)
        assert 3 <= len(found) <= 4
        assert {"2", "3"} <= {each.text for each in found}
        assert {each.id for each in found} == {
            each.id for each in [*recent_events(journal, after="0", limit=1), *found]
        }
        assert journal._db.text_factory is str


def test_a_certificate_that_makes_no_sense_costs_no_other():
    with Journal() as journal:
        for number in (1, 2):
            leaf = facts((A,), NOW, timedelta(days=90), fingerprint=f"{number:064x}")
            a = DomainRecord(domain=A, wanted_since=NOW, leaf=leaf)
            journal.note_look(a, NOW, leaf, AccountState())
        journal._db.execute(
            "UPDATE certificates SET not_after = 1e300 WHERE fingerprint = ?", [b"\0" * 31 + b"\1"]
        )
        assert [each.fingerprint for each in past_certificates(journal, A)] == [f"{2:064x}"]


def test_a_journal_that_cannot_be_read_is_told_once_as_that(tmp_path, caplog):
    with Journal(tmp_path / "journal") as journal, caplog.at_level(logging.ERROR):
        db, journal._db = journal._db, sqlite3.connect(tmp_path / "another")
        assert recent_events(journal) == recent_events(journal) == ()
        assert past_certificates(journal, A) == ()
        assert journal.wanted() is None
        journal._db.close()
        journal._db = db
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == len(set(lines)) == 3
    assert all("cannot be read (no such table: " in line for line in lines)
    assert not any("written" in line for line in lines)


def test_of_a_name_that_was_never_heard_of_no_table_is_read_through():
    writer = Writer(None)
    with writer.journal as journal:
        writer.look(A)
        asked = []
        journal._db.set_trace_callback(asked.append)
        assert recent_events(journal, domain="nosuch") == ()
        assert (journal.is_remembered(A), journal.is_remembered("nosuch")) == (True, False)
        assert not any("attempts" in sql or "delivery_events" in sql for sql in asked)
