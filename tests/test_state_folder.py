"""The folder of the journal: where it is, and that one service at a time has it."""

import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tscert_trio.errors import StateError
from tscert_trio.journal import default_state_folder, open_state_folder
from tscert_trio.schedule import DomainRecord

HOLD = """
import sys
from pathlib import Path
from tscert_trio.journal import open_state_folder
with open_state_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder):
    """Run another process that holds the folder until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(60)


@pytest.mark.parametrize(
    ("environ", "platform", "user", "expected"),
    [
        ({"HOME": "/root"}, "linux", 0, "/var/lib/tscert-trio"),
        ({"HOME": "/home/x"}, "linux", 1000, "/home/x/.local/state/tscert-trio"),
        ({"HOME": "/home/x", "XDG_STATE_HOME": "/s"}, "linux", 1000, "/s/tscert-trio"),
        ({"HOME": "/home/x", "XDG_STATE_HOME": ""}, "linux", 1000, "/home/x/.local/state/tscert-trio"),
        ({"HOME": "/Users/x"}, "darwin", 501, "/Users/x/Library/Application Support/tscert-trio"),
        ({"HOME": "/home/x"}, "freebsd14", 1000, "/home/x/.local/state/tscert-trio"),
        ({"STATE_DIRECTORY": "/var/lib/x", "HOME": "/root"}, "linux", 0, "/var/lib/x"),
        ({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}, "linux", 1000, "/var/lib/x"),
        ({"STATE_DIRECTORY": "/s", "HOME": "/Users/x"}, "darwin", 501, "/s"),
    ],
)
def test_state_lies_where_systemd_says_or_the_platform_has_it(monkeypatch, environ, platform, user, expected):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert default_state_folder(environ, platform) == Path(expected)


def test_a_folder_is_made_for_its_owner_alone(tmp_path):
    folder = tmp_path / "not" / "there"
    with open_state_folder(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "lock").stat().st_mode) == 0o600


def test_what_was_remembered_is_found_again(tmp_path):
    known = DomainRecord(domain="a.ts.net", wanted_since=datetime(2026, 1, 1, tzinfo=UTC))
    with open_state_folder(tmp_path) as journal:
        journal.remember(known)
    with open_state_folder(tmp_path) as journal:
        assert journal.load().records == {"a.ts.net": known}


def refusal(folder):
    """Return why a folder is not to be had."""
    with pytest.raises(StateError) as caught, open_state_folder(folder):
        raise AssertionError("it is to be had")
    text = str(caught.value)
    assert str(folder) in text
    assert "--state" in text
    assert "\n" not in text
    return text


def test_a_folder_that_this_process_holds_is_refused_to_it_too(tmp_path):
    with open_state_folder(tmp_path):
        for _ in range(2):
            assert f"process {os.getpid()};" in refusal(tmp_path)


def test_a_folder_that_another_process_holds_is_refused_and_that_process_named(tmp_path):
    with holder(tmp_path) as process:
        assert f"process {process.pid};" in refusal(tmp_path)


def test_a_lock_is_free_after_its_holder_has_ended(tmp_path):
    with open_state_folder(tmp_path):
        pass
    with holder(tmp_path):
        pass
    with open_state_folder(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_free_after_its_holder_was_killed(tmp_path):
    with holder(tmp_path) as process:
        refusal(tmp_path)
        process.kill()
        process.wait(60)
        with open_state_folder(tmp_path):
            assert f"process {os.getpid()};" in refusal(tmp_path)


def test_a_lock_is_free_after_a_failure_inside(tmp_path):
    with pytest.raises(KeyError), open_state_folder(tmp_path):
        raise KeyError
    with open_state_folder(tmp_path):
        refusal(tmp_path)


def test_a_longer_process_number_of_an_earlier_holder_leaves_nothing_behind(tmp_path):
    (tmp_path / "lock").write_text("99999999999999\n")
    with open_state_folder(tmp_path):
        assert f"process {os.getpid()};" in refusal(tmp_path)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_is_no_folder_is_refused_with_what_to_do(tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    text = refusal(tmp_path / place)
    assert "cannot be written" in text
    assert "--state :memory:" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused_with_what_to_do(tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refusal(tmp_path)
    assert "Permission denied" in refusal(tmp_path / "below")
