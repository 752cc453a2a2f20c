"""Files are replaced as a whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from tscert_trio import TargetError
from tscert_trio.targets import check_writable, write_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_content_and_mode(tmp_path):
    path = tmp_path / "key.pem"
    write_file(path, b"new", mode=0o600)
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)


def test_a_file_is_replaced_not_written_into(tmp_path):
    """Who has the old file open keeps reading the old content."""
    path = tmp_path / "cert.pem"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_file(path, b"new", mode=0o644)
        assert reader.read() == b"old"
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o644)
    assert names_in(tmp_path) == ["cert.pem"]


def test_what_a_symbolic_link_points_to_is_replaced_and_the_link_stays(tmp_path):
    real, link = tmp_path / "real.pem", tmp_path / "link.pem"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_file(link, b"new", mode=0o644)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_device_or_a_pipe_is_never_replaced(tmp_path):
    """As root, /dev/null would be a file afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for write in (lambda: write_file(pipe, b"new", mode=0o644), lambda: check_writable(pipe)):
        with pytest.raises(TargetError, match="is no regular file"):
            write()
    assert pipe.is_fifo()


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(TargetError, match="cannot write"):
        check_writable(tmp_path / "a")


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_failure_at_any_step_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, step):
    path = tmp_path / "cert.pem"
    path.write_bytes(b"old")

    def fail(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(TargetError, match=r"cannot write .*cert\.pem: No space left on device"):
        write_file(path, b"new", mode=0o644)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["cert.pem"]


def test_a_place_that_cannot_be_written_is_told_before_anything_is_asked_for(tmp_path):
    check_writable(tmp_path / "new.pem")
    with pytest.raises(TargetError, match="No such file or directory"):
        check_writable(tmp_path / "missing" / "new.pem")
    with pytest.raises(TargetError, match="is no regular file"):
        check_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="Not a directory"):
        check_writable(tmp_path / "file" / "new.pem")
    assert names_in(tmp_path) == ["file"]
