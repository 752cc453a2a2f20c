"""A journal is read while its service runs, is dead, or never was, and is never disturbed by that."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tscert_trio.errors import ControlError, StateError
from tscert_trio.journal import (
    Journal,
    folder as folder_module,
    holder_of,
    open_for_reading,
    open_state_folder,
)
from tscert_trio.schedule import AccountState, DomainRecord, Request

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NAME = "box.tail1234.ts.net"
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from tscert_trio.journal import open_state_folder
from tscert_trio.schedule import DomainRecord
with open_state_folder(Path(sys.argv[1])) as journal:
    since = datetime(2026, 11, 24, tzinfo=UTC)
    journal.remember(DomainRecord(domain="box.tail1234.ts.net", wanted_since=since))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def record(**known):
    return DomainRecord(domain=NAME, wanted_since=NOW, **known)


def names_in(folder):
    with open_for_reading(folder) as journal:
        return list(journal.load().records)


def why_not(folder):
    """Return why a journal cannot be read, in one line."""
    with pytest.raises(StateError) as caught, open_for_reading(folder):
        raise AssertionError("it can be read")
    text = str(caught.value)
    assert str(folder) in text
    assert "\n" not in text
    return text


@contextmanager
def files_untouched(folder):
    """See that what is in a folder stays as it is, to the byte, but for the file that readers share."""

    def contents():
        return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith("-shm")}

    before = contents()
    yield
    assert contents() == before


@contextmanager
def as_nobody():
    """Do something with no more rights than a stranger has."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_live_journal_is_read_with_what_was_committed_last_and_goes_on(tmp_path):
    with open_state_folder(tmp_path) as live:
        number = live.begin(NAME, Request.ISSUE, NOW)
        failed = record(failures=1, error=ControlError("no record"), ended_at=NOW)
        live.end(number, NOW, "ControlError", "no record", failed, AccountState())
        with files_untouched(tmp_path), open_for_reading(tmp_path) as journal:
            assert journal.load().records[NAME].failures == 1
            assert [each.text for each in journal.attempts()] == ["no record"]
        live.remember(record(failures=2))
        with open_for_reading(tmp_path) as journal:
            assert journal.load().records[NAME].failures == 2


def test_one_that_reads_holds_nobody_up(tmp_path):
    with open_state_folder(tmp_path) as live:
        live.remember(record())
        with open_for_reading(tmp_path) as journal:
            live.remember(record(failures=3))
            live.tidy(NOW + timedelta(days=900))
            assert journal.load().records[NAME].failures == 0, "it is a copy"
            assert live.load().records == {}


def test_what_is_written_to_the_copy_is_lost_with_it(tmp_path):
    with open_state_folder(tmp_path) as live:
        live.remember(record())
    with files_untouched(tmp_path), open_for_reading(tmp_path) as journal:
        journal.remember(record(failures=9))
    with open_for_reading(tmp_path) as journal:
        assert journal.load().records[NAME].failures == 0


def test_after_a_clean_end_no_file_is_made(tmp_path):
    with open_state_folder(tmp_path) as live:
        live.remember(record())
    before = sorted(p.name for p in tmp_path.iterdir())
    assert names_in(tmp_path) == [NAME]
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_what_a_killed_service_left_in_its_wal_is_read(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=30)
    assert (tmp_path / "journal.sqlite-wal").stat().st_size > 0
    with files_untouched(tmp_path):
        assert names_in(tmp_path) == [NAME]


def test_a_wal_whose_shared_file_is_gone_is_read_too(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=30)
    (tmp_path / "journal.sqlite-shm").unlink()
    assert names_in(tmp_path) == [NAME]


def test_a_folder_without_a_journal_is_told(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        (tmp_path / "file").touch()
        assert "there is no journal" in why_not(folder)
        assert "--state" in why_not(folder)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "nothing is made"


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"x" * 4000, b"no database at all" * 300])
def test_a_damaged_journal_is_told_and_left(tmp_path, content):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)
    if content:
        why_not(tmp_path)
    else:
        assert names_in(tmp_path) == [], "as it is before the first write"
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_one_page_of_rubbish_is_damage(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.remember(record())
    data = bytearray((tmp_path / "journal.sqlite").read_bytes())
    data[1024:] = b"\xa5" * len(data[1024:])
    (tmp_path / "journal.sqlite").write_bytes(data)
    assert "is damaged" in why_not(tmp_path)


def test_rows_that_make_no_sense_are_damage(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.remember(record())
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.execute("UPDATE domains SET wanted_since = 'yesterday'")
        db.commit()
    assert "is damaged" in why_not(tmp_path)


def test_a_newer_journal_is_told(tmp_path):
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    assert "newer version of tscert-trio" in why_not(tmp_path)


def test_an_older_journal_is_told_with_what_becomes_of_it(tmp_path):
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.execute("PRAGMA user_version = 1")
    text = why_not(tmp_path)
    assert "is of an older version of tscert-trio (its format is 1)" in text
    assert "sets it aside" in text


def test_one_that_may_not_be_read_is_told_with_who_may(tmp_path):
    with open_state_folder(tmp_path):
        pass
    for path in (tmp_path / "journal.sqlite", tmp_path / "lock"):
        path.chmod(0)
    with as_nobody():
        text = why_not(tmp_path)
        assert holder_of(tmp_path) == 0
    assert "may not be read by this user" in text
    assert "root" in text


def test_the_holder_is_told_and_nobody_where_there_is_none(tmp_path):
    assert holder_of(tmp_path) is None
    with open_state_folder(tmp_path):
        assert holder_of(tmp_path) == os.getpid()
        assert holder_of(tmp_path) == os.getpid()
    assert holder_of(tmp_path) is None
    assert holder_of(tmp_path / "nowhere") is None


def test_a_holder_that_did_not_say_who_it_is_is_0(tmp_path):
    with open_state_folder(tmp_path):
        (tmp_path / "lock").write_text("")
        assert holder_of(tmp_path) == 0


def test_a_service_that_starts_while_one_looks_starts_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "lock").touch()
    looking = os.open(tmp_path / "lock", os.O_RDONLY)
    folder_module.fcntl.flock(looking, folder_module.fcntl.LOCK_SH)
    monkeypatch.setattr(folder_module.time, "sleep", lambda _seconds: os.close(looking))
    with open_state_folder(tmp_path):
        assert holder_of(tmp_path) == os.getpid()
    assert Path(tmp_path / "lock").exists()
