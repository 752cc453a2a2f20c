"""Files are replaced as a whole or not at all."""

import errno
import fcntl
import grp
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from killing import each_kill, killing_after

from tscert_trio import TargetError
from tscert_trio.targets import FileWritten, check_writable, write_file

IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
LEFTOVER = ".cert.pem.tscert-new"


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


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod", "write"])
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


def test_a_file_that_has_the_content_is_left_alone(tmp_path):
    path = tmp_path / "cert.pem"
    assert write_file(path, b"same", mode=0o644) == FileWritten(changed=True)
    before = path.stat()
    assert write_file(path, b"same", mode=0o644) == FileWritten(changed=False)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    assert write_file(path, b"other", mode=0o644).changed


def test_permissions_are_put_right_where_the_content_is_already(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(b"same")
    for wrong in (0o644, 0o400):
        path.chmod(wrong)
        assert write_file(path, b"same", mode=0o600) == FileWritten(changed=False)
        assert mode_of(path) == 0o600


@pytest.mark.skipif(not IS_ROOT, reason="gives files away")
def test_owner_and_group_are_set_by_name_or_number(tmp_path):
    path = tmp_path / "key.pem"
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    write_file(path, b"key", mode=0o640, owner="nobody", group=group)
    assert (path.owner(), path.group(), mode_of(path)) == ("nobody", group, 0o640)
    write_file(path, b"key", mode=0o640, owner="0", group="0")
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 0)


@pytest.mark.parametrize("who", ["owner", "group"])
def test_a_user_or_group_that_there_is_not_is_told_and_nothing_is_written(tmp_path, who):
    path = tmp_path / "key.pem"
    path.write_bytes(b"old")
    with pytest.raises(TargetError, match=r"there is no (user|group) 'no-such'; create it"):
        write_file(path, b"new", mode=0o600, **{who: "no-such"})
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EINVAL])
def test_a_file_system_that_refuses_chmod_and_chown_costs_a_warning(tmp_path, monkeypatch, number):
    """As Proxmox's /etc/pve does. What others may not read they may not read then, either."""
    path = tmp_path / "key.pem"

    def refuse(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "fchown", refuse)
    written = write_file(path, b"new", mode=0o644, owner="nobody", group=str(NOBODY.pw_gid))
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o600
    group, owner, mode = written.warnings
    assert "its group cannot be set to" in group
    assert "its owner cannot be set to nobody" in owner
    assert mode.endswith("its file system keeps its permissions at 0600 instead of 0644")


def test_where_the_group_is_refused_a_strange_group_may_not_read_the_key(tmp_path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    for mode, got in ((0o640, 0o600), (0o644, 0o644)):
        path = tmp_path / f"{mode:o}.pem"
        (warning,) = write_file(path, b"new", mode=mode, group=str(NOBODY.pw_gid)).warnings
        assert "its group cannot be set" in warning
        assert mode_of(path) == got


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_at_no_moment_has_a_file_more_permissions_than_in_the_end(tmp_path, mode):
    """Its group is the final one before its members may read."""
    path = tmp_path / "cert.pem"
    owned = {"owner": "nobody", "group": str(NOBODY.pw_gid)} if IS_ROOT else {}
    seen = set()
    for _ in each_kill(lambda: write_file(path, b"new", mode=mode, **owned)):
        for file in tmp_path.iterdir():
            now = file.stat()
            assert not stat.S_IMODE(now.st_mode) & ~mode
            assert not stat.S_IMODE(now.st_mode) & 0o070 or now.st_gid == NOBODY.pw_gid or not IS_ROOT
            seen.add(file.name)
    assert seen >= {LEFTOVER}
    assert (path.read_bytes(), mode_of(path)) == (b"new", mode)


def test_a_kill_at_any_step_leaves_a_whole_file_and_the_next_write_cleans_up(tmp_path):
    """Also where the next one has the old content again, so that nothing is to be replaced."""
    path = tmp_path / "cert.pem"
    for again in (b"old", b"new" * 1000):
        path.write_bytes(b"old")
        kills = 0
        for _ in each_kill(lambda: write_file(path, b"new" * 1000, mode=0o644)):
            kills += 1
            assert path.read_bytes() in {b"old", b"new" * 1000}
            write_file(path, again, mode=0o644)
            assert names_in(tmp_path) == ["cert.pem"]
            path.write_bytes(b"old")
        assert kills > 5


def test_a_writer_that_lives_is_not_disturbed(tmp_path):
    path = tmp_path / "cert.pem"
    (tmp_path / LEFTOVER).write_bytes(b"half")
    with (tmp_path / LEFTOVER).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TargetError, match="another process is writing it"):
            write_file(path, b"new", mode=0o644)
    write_file(path, b"new", mode=0o644)
    assert names_in(tmp_path) == ["cert.pem"]


def test_a_link_in_place_of_the_file_beside_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / LEFTOVER).symlink_to(victim)
    write_file(tmp_path / "cert.pem", b"new", mode=0o644)
    assert victim.read_bytes() == b"precious"
    assert names_in(tmp_path) == ["cert.pem", "victim"]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    with pytest.raises(BaseException):  # noqa: B017, PT011 -- killed
        with killing_after(3):
            write_file(path, b"new", mode=0o644)
    write_file(path, b"new", mode=0o644)
    assert names_in(tmp_path) == [path.name]


def test_a_file_system_that_cannot_sync_folders_is_good_enough(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    assert write_file(tmp_path / "cert.pem", b"new", mode=0o644).changed


def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path):
    path = tmp_path / "cert.pem"
    path.write_bytes(b"old")
    code = (
        "import resource, sys; from pathlib import Path; from tscert_trio.targets import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "write_file(Path(sys.argv[1]), b'new' * 10_000, mode=0o644)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert "TargetError: cannot write" in ran.stderr
    assert "File too large; raise the limit on the size of files (ulimit -f)" in ran.stderr
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["cert.pem"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room on the disk"),
        (errno.EROFS, "ReadWritePaths="),
        (errno.EACCES, "run as a user who may write there"),
        (errno.EIO, "look at its folder"),
    ],
)
def test_an_error_says_what_to_do(tmp_path, monkeypatch, number, remedy):
    def fail(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(TargetError, match=rf"cannot write .*{os.strerror(number)}; .*{remedy}"):
        write_file(tmp_path / "cert.pem", b"new", mode=0o644)
