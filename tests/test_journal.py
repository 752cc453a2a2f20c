"""What is remembered over a restart, a crash and a damaged file."""

import hashlib
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
import trio
from certs import facts, key_pem, make_cert, make_key
from hypothesis import given, settings, strategies as st

from tscert_trio import Certificate, CertPair, errors
from tscert_trio.delivery_record import DeliveryRecord
from tscert_trio.errors import RateLimit, RateLimitedError
from tscert_trio.journal import DeliveryEvent, Journal
from tscert_trio.localapi.answers import error_from_answer
from tscert_trio.schedule import AccountState, DomainRecord, RenewalWindow, Request, TailnetState

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
NOW = datetime(2026, 11, 24, tzinfo=UTC)
A, B = "a.tail1234.ts.net", "b.tail1234.ts.net"


def leaf(number=1, born=NOW, life=90 * DAY):
    return facts(
        (A, f"*.{A}"),
        born,
        life,
        serial_number=number,
        fingerprint=f"{number:064x}",
        issuer="CN=E7,O=Let's Encrypt,C=US",
        ari_id="aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
    )


def record(domain=A, **known):
    return DomainRecord(domain=domain, wanted_since=NOW, **known)


def attempt(journal, record, outcome, at=NOW, account=None):
    """Begin and end an attempt, with a certificate or a failure."""
    account = account or AccountState()
    number = journal.begin(record.domain, Request.ISSUE, at)
    if isinstance(outcome, Certificate):
        record.leaf = outcome
        journal.end(number, at + SECOND, "issued", None, record, account)
    else:
        name = type(outcome).__name__
        journal.end(number, at + SECOND, name, str(outcome), record, account)
    return number


def reopened(path):
    """Return what a file says to one who opens it anew."""
    with Journal(path) as journal:
        return journal.load(), journal.attempts(limit=10**6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@contextmanager
def logged(level=logging.ERROR):
    """Collect what the journal says."""
    lines = []
    handler = logging.Handler(level)
    handler.emit = lambda entry: lines.append(entry.getMessage())
    logger = logging.getLogger("tscert_trio.journal")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(level)
    try:
        yield lines
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def test_an_attempt_stands_in_the_journal_before_it_ends(path):
    with Journal(path) as journal:
        number = journal.begin(record().domain, Request.RENEW, NOW)
        (under_way,) = journal.attempts()
        assert (under_way.number, under_way.domain, under_way.request) == (number, A, "renew")
        assert (under_way.started_at, under_way.ended_at, under_way.outcome) == (NOW, None, None)
        a = record(leaf=leaf())
        journal.end(number, NOW + MINUTE, "issued", None, a, AccountState())
        (ended,) = journal.attempts()
        assert (ended.ended_at, ended.outcome, ended.text) == (NOW + MINUTE, "issued", None)
        assert ended.fingerprint == leaf().fingerprint


def test_what_failed_stands_there_in_tailscaleds_words():
    with Journal() as journal:
        attempt(journal, record(leaf=leaf()), errors.ControlError('SetDNS "x": no'))
        (failed,) = journal.attempts()
    assert (failed.outcome, failed.text, failed.fingerprint) == ("ControlError", 'SetDNS "x": no', None)


def test_an_attempt_that_was_cancelled_brought_no_certificate():
    with Journal() as journal:
        a = record(leaf=leaf())
        number = journal.begin(a.domain, Request.RENEW, NOW)
        journal.end(number, NOW + SECOND, "cancelled", None, a, AccountState())
        (cancelled,) = journal.attempts()
    assert (cancelled.outcome, cancelled.fingerprint) == ("cancelled", None)


def test_one_that_was_dropped_never_was_but_what_it_changed_stands(path):
    a = record()
    with Journal(path) as journal:
        number = journal.begin(a.domain, Request.ISSUE, NOW)
        a.retry_at = NOW + SECOND
        journal.drop(number, a, AccountState())
    memories, attempts = reopened(path)
    assert attempts == ()
    assert memories.records[A].retry_at == NOW + SECOND


def test_a_look_is_noted_if_it_is_news(path):
    a = record(leaf=leaf())
    with Journal(path) as journal:
        journal.note_look(a, NOW, None, AccountState())
        journal.note_look(a, NOW + HOUR, leaf(), AccountState())
        journal.note_look(a, NOW + DAY, errors.ControlError("SetDNS"), AccountState())
    memories, attempts = reopened(path)
    assert [(each.request, each.outcome, each.text) for each in attempts] == [
        ("look", "found", None),
        ("look", "ControlError", "SetDNS"),
    ]
    assert attempts[0].fingerprint == leaf().fingerprint
    assert [each.ended_at for each in attempts] == [NOW + HOUR, NOW + DAY]
    assert memories.records[A].leaf == leaf()
    assert not memories.interrupted


def test_the_newest_attempts_are_shown_the_newest_last_of_one_name_or_of_all():
    with Journal() as journal:
        for n in range(10):
            attempt(journal, record(A if n % 2 else B), errors.IssuanceError(f"no {n}"), NOW + n * HOUR)
        assert [each.text for each in journal.attempts(limit=3)] == ["no 7", "no 8", "no 9"]
        assert [each.text for each in journal.attempts(B, limit=2)] == ["no 6", "no 8"]
        assert len(journal.attempts()) == 10
        assert journal.attempts("c.ts.net") == ()


moments = st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
maybe = st.none() | moments
texts = st.text(st.characters(codec="utf-8"), max_size=30)
failures = st.sampled_from(
    [each for each in errors.LocalAPIError.__subclasses__() if each.__module__ == errors.__name__]
).flatmap(lambda error: st.builds(error, texts)) | st.builds(
    RateLimitedError,
    texts,
    retry_after=st.none() | st.timedeltas(timedelta(0), 9999 * DAY),
    limit=st.sampled_from(RateLimit),
)
leaves = st.builds(leaf, st.integers(1, 2**159), moments, st.timedeltas(MINUTE, 9999 * DAY))
windows = st.builds(RenewalWindow, start=moments, end=moments, explanation_url=st.none() | texts)
records = st.builds(
    DomainRecord,
    domain=st.sampled_from([A, B]),
    wanted_since=moments,
    leaf=st.none() | leaves,
    window=st.none() | windows,
    window_check_at=maybe,
    failures=st.integers(0, 10**9),
    repeats=st.integers(0, 10**9),
    error=st.none() | failures,
    ended_at=maybe,
    succeeded_at=maybe,
    retry_at=maybe,
    order_at=maybe,
    hold_until=maybe,
    attempts_full_at=moments,
    certificates_full_at=moments,
)
accounts = st.builds(
    AccountState,
    orders_full_at=moments,
    hold_until=maybe,
    tailnets=st.dictionaries(
        st.sampled_from(["tail1234.ts.net", "orders", "hold"]),
        st.builds(TailnetState, moments, st.booleans()),
    ),
)


def facts_of(error):
    return error and (type(error), str(error), {**vars(error), "status": None})


@given(known=records, account=accounts)
def test_everything_that_is_known_survives_a_restart(known, account):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.sqlite")
        with logged() as errors_logged:
            with Journal(path) as journal:
                number = journal.begin(known.domain, Request.ISSUE, NOW)
                outcome = "issued" if known.error is None else type(known.error).__name__
                journal.end(number, NOW, outcome, None, known, account)
                journal.note_look(known, NOW, None, account)
            memories, _ = reopened(path)
        assert not errors_logged
        (found,) = memories.records.values()
        assert facts_of(found.error) == facts_of(known.error)
        without = {"error": None, "order_error": None}
        assert attrs.evolve(found, **without) == attrs.evolve(known, **without)
        assert memories.account == account
        assert not memories.interrupted


def test_how_a_name_stands_is_remembered_without_an_attempt(path):
    with Journal(path) as journal:
        a = record(leaf=leaf())
        attempt(journal, a, leaf())
        a.window = RenewalWindow(start=NOW, end=NOW + DAY)
        journal.remember(a)
    memories, attempts = reopened(path)
    assert memories.records == {A: a}
    assert len(attempts) == 1


def test_an_attempt_under_way_at_the_end_was_interrupted(path):
    with Journal(path) as journal:
        attempt(journal, record(), errors.IssuanceError("text"))
        number = journal.begin(record().domain, Request.RENEW, NOW + HOUR)
    memories, attempts = reopened(path)
    assert [each.number for each in memories.interrupted] == [number]
    assert memories.interrupted == attempts[1:]
    with Journal(path) as journal:
        journal.end(number, NOW + DAY, "IssuanceError", "killed", record(), AccountState())
        assert not journal.load().interrupted


def test_a_service_that_is_killed_leaves_what_it_did_and_the_attempt_under_way(path):
    code = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from test_journal import *
journal = Journal(Path({str(path)!r}))
for n in range(30):
    attempt(journal, record(f"n{{n}}.ts.net"), errors.IssuanceError(f"no {{n}}"))
journal.begin(record().domain, Request.RENEW, NOW)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    with logged() as errors_logged:
        memories, attempts = reopened(path)
    assert not errors_logged
    assert [each.text for each in attempts[:-1]] == [f"no {n}" for n in range(30)]
    assert all(each.ended_at for each in attempts[:-1])
    assert [each.domain for each in memories.interrupted] == [A]
    assert memories.records.keys() == {f"n{n}.ts.net" for n in range(30)}


def test_no_key_gets_into_the_file(path):
    key = make_key()
    secret = key_pem(key)
    pair = CertPair.from_pem(secret + make_cert(key, A))
    error = error_from_answer(
        500, {}, f"could not write {secret.decode()}", now=NOW, general=errors.IssuanceError
    )
    with Journal(path) as journal:
        attempt(journal, record(), pair.leaf)
        attempt(journal, record(), error)
        journal.note_look(record(leaf=pair.leaf), NOW, error, AccountState())
        written = b"".join(part.read_bytes() for part in path.parent.iterdir())
    assert b"could not write" in written
    assert bytes.fromhex(pair.leaf.fingerprint) in written
    assert not any(line in written for line in secret.splitlines())


def test_what_is_older_than_400_days_is_forgotten(path):
    with Journal(path) as journal:
        for n, age in enumerate((401, 399)):
            a = record(f"n{n}.ts.net", ended_at=NOW - age * DAY)
            attempt(journal, a, leaf(n + 1, NOW - age * DAY, DAY / 2), NOW - age * DAY)
        journal.tidy(NOW)
        counts = [
            journal._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("attempts", "certificates", "domains")
        ]
        assert counts == [1, 1, 1]
        assert journal.load().records.keys() == {"n1.ts.net"}


def aside(path):
    """Return the journals that were set aside."""
    return sorted(path.parent.glob(f"{path.name}.aside-?"))


def assert_works(path):
    """Assert that a journal can be opened and written, and what is written can be read by the next."""
    with Journal(path) as journal:
        memories, before = journal.load(), journal.attempts(limit=10**6)
        number = attempt(journal, record(), leaf(99), NOW + 999 * DAY)
        (last,) = journal.attempts(A, limit=1)
        assert (last.number, last.outcome, last.started_at) == (number, "issued", NOW + 999 * DAY)
    again, _ = reopened(path)
    assert again.records[A].leaf == leaf(99)
    return memories, before


def test_a_file_of_a_newer_version_is_set_aside_whole_and_said_to_be(path):
    with Journal(path) as journal:
        attempt(journal, record(), leaf())
        journal._db.execute("PRAGMA user_version = 7")
    with logged() as lines:
        memories, attempts = assert_works(path)
    assert (memories.records, attempts) == ({}, ())
    (line,) = lines
    assert "newer version" in line
    assert "7" in line
    (kept,) = aside(path)
    assert kept.name in line
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT domain FROM attempts").fetchall() == [(A,)]


def test_a_file_of_an_older_version_is_set_aside_whole_and_not_called_damaged(path):
    with Journal(path) as journal:
        attempt(journal, record(), leaf())
        journal._db.executescript("ALTER TABLE domains DROP COLUMN is_lost; PRAGMA user_version = 1")
    with logged() as lines:
        memories, _ = assert_works(path)
    assert memories.records == {}
    (line,) = lines
    assert "is of an older version of tscert-trio (its format is 1)" in line
    assert "damaged" not in line
    (kept,) = aside(path)
    assert kept.name in line


def test_who_changes_the_tables_raises_the_version():
    """See "The journal's format" in docs/design.rst, then write the new pair down here."""
    with Journal() as journal:
        (version,) = journal._db.execute("PRAGMA user_version").fetchone()
        tables = journal._db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")
        digest = hashlib.sha256(repr(tables.fetchall()).encode()).hexdigest()[:16]
    assert (version, digest) == (2, "4b21632e2351d797")


@pytest.mark.parametrize("body", [b"garbage", b"garbage" * 9999, b"SQLite format 3\0" + b"\xff" * 9999])
def test_what_is_no_journal_is_set_aside_and_said_to_be(path, body):
    path.write_bytes(body)
    with logged() as lines:
        memories, _ = assert_works(path)
    assert memories.records == {}
    (line,) = lines
    assert "is damaged" in line
    (kept,) = aside(path)
    assert kept.read_bytes() == body


def test_nothing_that_was_set_aside_is_overwritten(path):
    for body in (b"first" * 99, b"second" * 99):
        path.write_bytes(body)
        with logged():
            Journal(path).close()
    assert [kept.read_bytes()[:5] for kept in aside(path)] == [b"first", b"secon"]


@pytest.mark.parametrize(
    ("column", "nonsense"),
    [
        ("rate_limit", "'NO_SUCH_LIMIT'"),
        ("wanted_since", "'yesterday'"),
        ("wanted_since", "1e300"),
        ("attempts_full_at", "1e15"),
        ("failures", "'many'"),
        ("window_start", "1"),
    ],
)
def test_rows_that_make_no_sense_are_damage(path, column, nonsense):
    """A disk's bit that has turned is not noticed by SQLite."""
    with Journal(path) as journal:
        attempt(journal, record(error=RateLimitedError("429")), errors.IssuanceError("text"))
        journal._db.execute(f"UPDATE domains SET {column} = {nonsense}")
    with logged() as lines:
        assert_works(path)
    assert "is damaged" in lines[0]
    assert len(aside(path)) == 1


@pytest.mark.parametrize("name", ["NoSuchError", "Sequence"])
def test_a_class_of_failures_that_is_not_known_is_one_of_the_general_class(path, name):
    """A newer version wrote it, say."""
    with Journal(path) as journal:
        attempt(journal, record(error=RateLimitedError("429")), errors.IssuanceError("text"))
        journal._db.execute("UPDATE domains SET error = ?", [name])
    error = reopened(path)[0].records[A].error
    assert (type(error), str(error)) == (errors.IssuanceError, "429")
    assert aside(path) == []


def test_names_of_a_certificate_that_make_no_sense_are_damage(path):
    with Journal(path) as journal:
        attempt(journal, record(), leaf())
        journal._db.execute("UPDATE certificates SET names = x'00', serial = 'xyz'")
    with logged() as lines:
        assert_works(path)
    assert "is damaged" in lines[0]


def test_what_is_written_after_damage_survives_a_kill(path):
    with Journal(path) as journal:
        attempt(journal, record(error=errors.IssuanceError("text")), errors.IssuanceError("text"))
        journal._db.execute("UPDATE domains SET wanted_since = 'yesterday'")
    with logged():
        with Journal(path) as journal:
            journal.load()
            attempt(journal, record(), leaf())
            copy = path.with_name("copy")  # as a process that is killed leaves it
            for suffix in ("", "-wal"):
                shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    assert len(reopened(copy)[1]) == 1


ROWS = 50
BEGUN = [*(NOW + n * HOUR for n in range(ROWS)), NOW]
"""When the attempts of :func:`written_journal` began."""


def written_journal(folder, *, checkpoint_after):
    """Write a journal, and return its file and WAL as a process that is killed leaves them."""
    path = Path(folder, "original")
    with Journal(path) as journal:
        for n in range(ROWS):
            if n == checkpoint_after:
                journal.checkpoint()
            a = record(f"n{n % 7}.ts.net", error=errors.IssuanceError("text"))
            attempt(journal, a, leaf(n + 1) if n % 3 else errors.IssuanceError("no" * 50), NOW + n * HOUR)
        journal.begin(record().domain, Request.ISSUE, NOW)
        return path.read_bytes(), Path(f"{path}-wal").read_bytes()


@pytest.fixture(scope="module", params=[-1, 25], ids=["all in the WAL", "half of it"])
def original(request, tmp_path_factory):
    return written_journal(tmp_path_factory.mktemp("original"), checkpoint_after=request.param)


def try_files(body, wal):
    """Assert that a journal works on such files; return what was read, and whether they were set aside."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.sqlite")
        path.write_bytes(body)
        if wal:
            Path(f"{path}-wal").write_bytes(wal)
        with logged() as lines:
            memories, attempts = assert_works(path)
        assert len([line for line in lines if "it is kept as" in line]) == len(aside(path))
        assert not any("\n" in line for line in lines)
        return memories, attempts, len(lines)


def test_files_that_are_whole_are_read_whole(original):
    memories, attempts, troubles = try_files(*original)
    assert troubles == 0
    assert [each.started_at for each in attempts] == BEGUN
    assert len(memories.records) == 7
    assert memories.interrupted == attempts[-1:]


cuts = st.floats(0, 1).map(lambda share: share**2) | st.floats(0, 1)


@settings(max_examples=60)
@given(share=cuts)
def test_a_wal_cut_anywhere_costs_the_last_attempts_only(original, share):
    """So a power cut leaves it."""
    body, wal = original
    _, attempts, troubles = try_files(body, wal[: int(len(wal) * share)])
    assert troubles == 0
    assert [each.started_at for each in attempts] == BEGUN[: len(attempts)]


@settings(max_examples=60)
@given(share=cuts, wal_share=st.sampled_from([0, 0.5, 1]))
def test_a_file_cut_anywhere_is_read_or_set_aside(original, share, wal_share):
    body, wal = original
    _, attempts, troubles = try_files(body[: int(len(body) * share)], wal[: int(len(wal) * wal_share)])
    assert troubles <= 1
    assert [each.started_at for each in attempts] == BEGUN[: len(attempts)]


def test_a_file_cut_at_each_page_is_read_or_set_aside(original):
    body, wal = original
    for end in range(0, len(body), 1024):
        for off in (-1, 0, 1, 100):
            assert try_files(body[: max(end + off, 0)], wal)[2] <= 1
            assert try_files(body[: max(end + off, 0)], b"")[2] <= 1


@settings(max_examples=60)
@given(turned=st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 255)), min_size=1))
def test_files_with_bytes_that_have_turned_are_read_or_set_aside(original, turned):
    parts = [bytearray(part) for part in original]
    for in_wal, share, value in turned:
        part = parts[in_wal]
        part[int((len(part) - 1) * share)] = value
    try_files(*map(bytes, parts))


def test_a_journal_that_cannot_be_written_at_the_start_is_read_and_left_as_it_is(path):
    """As on a disk that is full, or read-only: nothing is said against the file."""
    with Journal(path) as journal:
        attempt(journal, record(), leaf(1))
    content = path.read_bytes()
    path.with_name(f"{path.name}-wal").mkdir()  # SQLite cannot make its WAL
    with logged() as lines, Journal(path) as journal:
        assert journal.load().records[A].leaf == leaf(1)
        newer = leaf(2, born=NOW + DAY)
        attempt(journal, record(), newer)
        assert journal.load().records[A].leaf == newer
        assert len(lines) == 1
        assert f"the journal {path} cannot be written" in lines[0]
        assert f"the journal {path} cannot be used" in journal.write_trouble
        assert "restart the service" in journal.write_trouble
    assert path.read_bytes() == content
    assert {part.name for part in path.parent.iterdir()} == {path.name, f"{path.name}-wal"}


def test_a_full_disk_is_told_once_and_ends_nothing(path):
    with Journal(path) as journal, logged() as lines:
        used = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count = {used}")
        begun = [journal.begin(f"n{n}.ts.net", Request.ISSUE, NOW) for n in range(100, 400)]
        assert len(lines) == 1
        assert "full" in lines[0]
        assert str(path) in lines[0]
        numbers = [each.number for each in journal.attempts(limit=300)]
        assert begun[: len(numbers)] == numbers
        assert 0 < len(numbers) < 300
        journal._db.execute("PRAGMA max_page_count = 100000")
        with logged(logging.INFO) as good_news:
            for _ in range(10):  # a full disk lets some writes through, so one is no news
                attempt(journal, record(), leaf(2))
        assert len([line for line in good_news if "can be written again" in line]) == 1
    memories, attempts = reopened(path)
    assert [each.number for each in attempts[:-10]] == begun
    assert memories.records[A].leaf == leaf(2)


def test_a_disk_that_can_only_be_read_is_told_once_and_ends_nothing(path):
    with Journal(path) as journal, logged() as lines:
        attempt(journal, record(), leaf())
        journal._db.execute("PRAGMA query_only = ON")
        a = record()
        attempt(journal, a, errors.IssuanceError("text"))
        journal.drop(journal.begin(a.domain, Request.ISSUE, NOW), a, AccountState())
        journal.note_look(a, NOW, errors.IssuanceError("text"), AccountState())
        journal.remember(a)
        journal.tidy(NOW + 9999 * DAY)
        assert len(lines) == 1
        assert journal.load().records[A].leaf == leaf()
        assert len(journal.attempts()) == 1


@contextmanager
def held(path):
    """Hold a file for a while, as a backup does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other, logged() as lines:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    assert len(lines) == 1
    assert "locked" in lines[0]


def as_killed(path):
    """Return what a journal that is open says to the next, were its process killed now."""
    copy = path.with_name("copy")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return reopened(copy)


def test_what_happens_while_the_file_is_held_is_written_with_what_comes_next(path):
    """And what could not be committed does not stay open and stop all that follows."""
    event = DeliveryEvent(at=NOW, target="nginx", domain=A, outcome="written", fingerprint=leaf().fingerprint)
    delivery = DeliveryRecord(target="nginx", domain=A, fingerprint=leaf().fingerprint, since=NOW)
    with Journal(path) as journal:
        open_before = journal.begin(B, Request.RENEW, NOW)
        with held(path):
            attempt(journal, record(), leaf())
            journal.end(open_before, NOW + MINUTE, "cancelled", None, record(B), AccountState())
            journal.note_look(record(), NOW + HOUR, errors.ControlError("SetDNS"), AccountState())
            journal.drop(journal.begin(B, Request.ISSUE, NOW), record(B), AccountState())
            journal.remember_delivery(delivery, event)
        attempt(journal, record(B), errors.IssuanceError("text"), NOW + DAY)
        memories, _ = as_killed(path)
        events = journal.events()
    assert [each.outcome for each in events] == [
        "issued",
        "cancelled",
        "ControlError",
        "written",
        "IssuanceError",
    ]
    assert events[0].fingerprint == leaf().fingerprint
    assert not memories.interrupted


def test_a_name_never_points_to_a_certificate_that_is_not_written(path):
    a, newer = record(), leaf(2, born=NOW + DAY)
    with Journal(path) as journal:
        attempt(journal, a, leaf(1))
        with held(path):
            attempt(journal, a, newer)
        journal.remember(a)  # the CA was asked when to renew it, say
        assert as_killed(path)[0].records[A].leaf == newer
        assert journal.certificates(A) == (leaf(1), newer)


def test_after_a_write_that_was_lost_all_is_written_again_and_nothing_twice(path):
    a, b, account = record(), record(B), AccountState(orders_full_at=NOW + HOUR)
    with Journal(path) as journal:
        journal.note_wanted([A])
        attempt(journal, a, leaf(1))
        assert not journal.is_incomplete
        with held(path):
            journal.note_wanted([A, B])
            attempt(journal, b, leaf(2), account=account)
            assert journal.is_incomplete
            journal.write_again([a, b], [], account, NOW)
            assert journal.is_incomplete
        with logged(logging.INFO) as lines:
            journal.write_again([a, b], [], account, NOW)
        assert not journal.is_incomplete
        assert lines == ["the journal can be written again"]
        memories, attempts = as_killed(path)
        assert journal.wanted() == {A, B}
        assert (journal.certificates(A), journal.certificates(B)) == ((leaf(1),), (leaf(2),))
    assert memories.records == {A: a, B: b}
    assert memories.account == account
    assert [each.outcome for each in attempts] == ["issued", "issued"]


def test_while_the_file_is_held_it_is_told_that_it_cannot_be_written_and_what_to_do(path):
    with Journal(path) as journal:
        assert journal.write_trouble is None
        with held(path):
            journal.remember(record())
            assert f"the journal {path} cannot be written (database is locked)" in journal.write_trouble
            assert "another program holds the file" in journal.write_trouble
        journal.write_again([record()], [], AccountState(), NOW)
        assert journal.write_trouble is None


def test_what_is_owed_at_the_end_is_written_then(path):
    with Journal(path) as journal:
        with held(path):
            attempt(journal, record(), errors.IssuanceError("text"))
    assert [each.text for each in reopened(path)[1]] == ["text"]


def test_an_attempt_that_could_not_be_written_has_its_number_later(path):

    class FailingOnce(sqlite3.Connection):
        has_failed = False

        def execute(self, sql, *args):
            if sql.startswith("REPLACE INTO attempts") and not self.has_failed:
                self.has_failed = True
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *args)

    with Journal(path) as journal:
        journal._db.close()
        journal._db = sqlite3.connect(path, isolation_level=None, factory=FailingOnce)
        with logged() as lines:
            first = journal.begin(A, Request.ISSUE, NOW)
            assert journal.attempts() == ()
            second = journal.begin(B, Request.ISSUE, NOW)
        assert len(lines) == 1
        assert "disk is full" in lines[0]
        assert [(each.number, each.domain) for each in journal.attempts()] == [(first, A), (second, B)]


def test_a_file_that_turns_out_to_be_damaged_later_is_set_aside_and_the_next_is_written(path):
    with Journal(path) as journal:
        for n in range(ROWS):
            attempt(journal, record(f"n{n}.ts.net"), leaf(n + 1))
        journal.checkpoint()
        journal._db.close()
        journal._db = sqlite3.connect(path, isolation_level=None)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(1024)
            file.write(os.urandom(size - 1024))
        with logged() as lines:
            attempt(journal, record(), leaf(1))
            attempt(journal, record(), leaf(2))
        assert "is damaged" in lines[0]
        assert len(aside(path)) == 1
        assert journal.attempts()[-1].fingerprint == leaf(2).fingerprint


def test_where_no_file_can_be_written_the_service_goes_on_without(tmp_path):
    path = tmp_path / "no folder" / "journal.sqlite"
    with logged() as lines, Journal(path) as journal:
        assert journal.load().records == {}
        attempt(journal, record(), leaf())
        journal.checkpoint()
        assert len(journal.attempts()) == 1
    assert "cannot be written" in lines[-1]
    assert not path.exists()


def test_one_that_is_closed_is_a_bug_and_no_damage(path):
    journal = Journal(path)
    journal.close()
    with logged() as lines, pytest.raises(sqlite3.ProgrammingError):
        journal.remember(record())
    assert not lines
    assert not aside(path)


def test_a_journal_in_memory_is_empty_each_time():
    for _ in range(2):
        with Journal() as journal:
            assert journal.load().records == {}
            attempt(journal, record(), leaf())
            assert journal.load().records.keys() == {A}
            assert journal.write_trouble is None, "nobody wanted a file"


def test_a_checkpoint_keeps_the_wal_small_and_loses_nothing(path):
    with Journal(path) as journal:
        sizes = []
        for n in range(1200):
            attempt(journal, record(f"n{n % 9}.ts.net"), leaf(n + 1), NOW + n * HOUR)
            if n % 100 == 99:
                journal.checkpoint()
                sizes.append(Path(f"{path}-wal").stat().st_size)
        assert max(sizes) < 8 * 1024 * 1024  # without: 50
        assert len(journal.attempts(limit=9999)) == 1200
    assert len(reopened(path)[1]) == 1200


async def test_a_thousand_commits_bring_a_checkpoint_about(path, autojump_clock, nursery):
    with Journal(path) as journal:
        before = path.stat().st_size
        nursery.start_soon(journal.run)
        for n in range(600):
            attempt(journal, record(f"n{n}.ts.net"), leaf(n + 1))
        while path.stat().st_size == before:  # written in a thread
            await trio.lowlevel.checkpoint()
        assert path.stat().st_size > before
        nursery.cancel_scope.cancel()


def test_five_thousand_names_take_a_few_megabytes_a_year(path):
    """Six renewals each, and a bad day; a hundredth of them is written here."""
    with Journal(path) as journal:
        for n in range(50):
            a = record(f"service-{n}.tail1234.ts.net")
            for renewal in range(6):
                attempt(journal, a, leaf(1000 * n + renewal + 1), NOW + renewal * 60 * DAY)
            for failure in range(10):
                attempt(journal, a, errors.ControlError("SetDNS: " + "x" * 200), NOW + failure * HOUR)
        journal.checkpoint()
        assert path.stat().st_size * 100 < 64 * 1024 * 1024
