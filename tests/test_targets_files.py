"""A certificate's files: which, where, in which order, and that a pair stays a pair."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from certs import key_pem, make_cert, make_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from killing import KilledError, killing_after
from test_certificate import issue

from tscert_trio import CertPair, TargetError
from tscert_trio.target_settings import FileSettings, FilesSettings
from tscert_trio.targets import FilePaths, FilesTarget

NAME = "box.tail1234.ts.net"
AUTHORITY = make_key()
ISSUER = make_cert(AUTHORITY, "ca")
LINEAGE = ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"]


def make_pair(serial=1, name=NAME):
    key = make_key()
    return CertPair.from_pem(key_pem(key) + issue(key, AUTHORITY, name, serial=serial) + ISSUER)


OLD, NEW, NEXT, LAST = (make_pair(serial) for serial in range(1, 5))


def leaf_of(pair):
    return pair.chain_pem.removesuffix(ISSUER)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def plain(folder, **options):
    return FilesTarget(FilesSettings(directory=folder, **options))


def versioned(folder, **options):
    return plain(folder, layout="versioned", **options)


def password_file(folder, password):
    path = folder / "password"
    path.write_text(f"{password}\n")
    return path


def named(folder, *names, **options):
    files = {name: FileSettings(path=f"{folder}/{{domain}}/{name}") for name in names}
    if "pkcs12" in names and "pkcs12_password_file" not in options:
        options["pkcs12_password_file"] = password_file(folder.parent, "secret")
    return FilesTarget(FilesSettings(**files, **options))


def read_pair(folder):
    """Return key and leaf as a careful reader does: from the folder that the link led to at one moment."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        contents = []
        for name in ("privkey.pem", "fullchain.pem"):
            with open(os.open(name, os.O_RDONLY, dir_fd=descriptor), "rb") as file:  # noqa: PTH123
                contents.append(file.read())
        return tuple(contents)
    finally:
        os.close(descriptor)


def test_the_common_case_is_two_files_as_tailscale_cert_writes_them(tmp_path):
    target = plain(tmp_path / "tls" / "tailnet")
    written = target.write(NAME, NEW)
    crt, key = (tmp_path / "tls" / "tailnet" / f"{NAME}.{suffix}" for suffix in ("crt", "key"))
    assert (crt.read_bytes(), mode_of(crt)) == (NEW.chain_pem, 0o644)
    assert (key.read_bytes(), mode_of(key)) == (NEW.key_pem, 0o600)
    assert (mode_of(crt.parent), mode_of(crt.parent.parent)) == (0o700, 0o700)
    assert written.changed
    assert written.paths == target.paths(NAME) == FilePaths(key=key, fullchain=crt)
    assert target.needs_key
    assert target.holds(NAME, NEW.leaf)
    assert not target.holds(NAME, OLD.leaf)


def test_files_that_tailscale_cert_wrote_are_adopted(tmp_path):
    (tmp_path / f"{NAME}.crt").write_bytes(NEW.chain_pem)
    (tmp_path / f"{NAME}.key").write_bytes(NEW.key_pem)
    (tmp_path / f"{NAME}.key").chmod(0o644)
    target = plain(tmp_path)
    assert not target.holds(NAME, NEW.leaf)  # anybody may read the key
    written = target.write(NAME, NEW)
    assert (written.changed, written.warnings) == (False, ())
    assert mode_of(tmp_path / f"{NAME}.key") == 0o600
    assert target.holds(NAME, NEW.leaf)


def test_a_wildcard_has_a_name_that_no_shell_expands(tmp_path):
    plain(tmp_path).write("*.box.tail1234.ts.net", NEW)
    assert tree(tmp_path) == ["wildcard_.box.tail1234.ts.net.crt", "wildcard_.box.tail1234.ts.net.key"]


@pytest.mark.parametrize("domain", ["../../etc/cron", "a/b.ts.net", "", "box"])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path, domain):
    for act in (plain(tmp_path).paths, lambda name: plain(tmp_path).write(name, NEW)):
        with pytest.raises(TargetError, match="is no DNS name"):
            act(domain)
    assert not tree(tmp_path)


def test_each_form_can_have_a_file(tmp_path):
    target = named(tmp_path, "key", "certificate", "chain", "fullchain", "combined", "pkcs12", key_mode=0o640)
    written = target.write(NAME, NEW)
    folder = tmp_path / NAME
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "pkcs12"} == {
        "key": NEW.key_pem,
        "certificate": leaf_of(NEW),
        "chain": ISSUER,
        "fullchain": NEW.chain_pem,
        "combined": NEW.key_pem + NEW.chain_pem,
    }
    assert {path.name: mode_of(path) for path in folder.iterdir()} == {
        "key": 0o640,
        "combined": 0o640,
        "pkcs12": 0o640,
        "certificate": 0o644,
        "chain": 0o644,
        "fullchain": 0o644,
    }
    assert written.paths.combined == folder / "combined"
    assert target.holds(NAME, NEW.leaf)
    assert not target.write(NAME, NEW).changed


@pytest.mark.parametrize("missing", ["key", "certificate", "chain", "fullchain", "combined", "pkcs12"])
def test_a_file_that_is_missing_or_broken_is_noticed_and_mended(tmp_path, missing):
    target = named(tmp_path, "key", "certificate", "chain", "fullchain", "combined", "pkcs12")
    target.write(NAME, NEW)
    path = tmp_path / NAME / missing
    path.unlink()
    assert not target.holds(NAME, NEW.leaf)
    assert target.write(NAME, NEW).changed
    assert target.holds(NAME, NEW.leaf)
    if missing not in {"key", "chain"}:
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
        assert not target.holds(NAME, NEW.leaf)


def test_without_a_file_for_it_the_key_is_not_needed(tmp_path):
    assert not named(tmp_path, "certificate", "chain", "fullchain").needs_key
    for name in ("key", "combined", "pkcs12"):
        assert named(tmp_path, name).needs_key


def test_a_file_named_besides_the_folder_has_its_own_place_owner_and_mode(tmp_path):
    target = plain(
        tmp_path / "a",
        key=FileSettings(path=f"{tmp_path}/b/{{domain}}.pem", mode=0o400),
        combined=FileSettings(path=f"{tmp_path}/b/haproxy.pem", mode=0o440),
    )
    target.write(NAME, NEW)
    assert tree(tmp_path) == [f"a/{NAME}.crt", f"b/{NAME}.pem", "b/haproxy.pem"]
    assert (mode_of(tmp_path / f"b/{NAME}.pem"), mode_of(tmp_path / "b/haproxy.pem")) == (0o400, 0o440)


def test_pkcs12_is_encrypted_named_and_compared_by_what_is_in_it(tmp_path):
    password = tmp_path / "password"
    password.write_text("s3cret\nnot this\n")
    target = named(tmp_path, "pkcs12", pkcs12_password_file=password)
    assert target.write(NAME, NEW).changed
    path = tmp_path / NAME / "pkcs12"
    first = path.read_bytes()
    loaded = load_pkcs12(first, b"s3cret")
    assert loaded.cert.friendly_name == NAME.encode()
    assert loaded.cert.certificate.public_bytes(Encoding.PEM) == leaf_of(NEW)
    assert [each.certificate.public_bytes(Encoding.PEM) for each in loaded.additional_certs] == [ISSUER]
    assert not target.write(NAME, NEW).changed
    assert path.read_bytes() == first
    assert target.holds(NAME, NEW.leaf)
    password.write_text("another")
    assert not target.holds(NAME, NEW.leaf)
    assert target.write(NAME, NEW).changed
    assert target.write(NAME, OLD).changed
    assert load_pkcs12(path.read_bytes(), b"another").cert.certificate.serial_number == 1


def test_a_password_that_cannot_be_read_is_told_before_anything_is_written(tmp_path):
    target = named(tmp_path, "key", "pkcs12", pkcs12_password_file=tmp_path / "password")
    with pytest.raises(TargetError, match=r"cannot read the password for PKCS#12 in .*: No such file"):
        target.write(NAME, NEW)
    (tmp_path / "password").write_text("\n")
    with pytest.raises(TargetError, match="there is no password for PKCS#12 in"):
        target.write(NAME, NEW)
    assert tree(tmp_path) == ["password"]


def test_an_owner_that_there_is_not_is_told_before_anything_is_written(tmp_path):
    target = plain(tmp_path, fullchain=FileSettings(path=f"{tmp_path}/c.pem", owner="no-such"))
    with pytest.raises(TargetError, match="there is no user 'no-such'"):
        target.write(NAME, NEW)
    assert not tree(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize("layout", ["plain", "versioned"])
def test_another_user_gets_through_the_folders_that_were_made_for_him(layout):
    """To his files, no further; nor are the folders his, or he could lay links in them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        target = plain(folder / "tls", layout=layout, owner="nobody")
        target.write(NAME, NEW)
        assert (folder / "tls").stat().st_uid == 0
        assert mode_of(folder / "tls") == 0o710
        ran = subprocess.run(
            ["cat", target.paths(NAME).key], user="nobody", group=pwd.getpwnam("nobody").pw_gid,
            extra_groups=[], capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert (ran.stdout, ran.stderr) == (NEW.key_pem, b"")


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match=r"Not a directory; a part of its path is no folder"):
        plain(tmp_path / "file" / "tls").write(NAME, NEW)


@pytest.mark.parametrize("make", [plain, versioned])
def test_after_a_kill_at_any_step_the_old_pair_or_the_next_write_is_whole(tmp_path, make):
    """In the plain layout the key goes first: for an instant it is new beside the old certificate."""
    kills, is_done = 0, False
    while not is_done:
        folder = tmp_path / str(kills)
        target = make(folder)
        target.write(NAME, OLD)
        try:
            with killing_after(kills):
                target.write(NAME, NEW)
            is_done = True
        except KilledError:
            kills += 1
        paths = target.paths(NAME)
        pair = paths.key.read_bytes(), paths.fullchain.read_bytes()
        whole = {(OLD.key_pem, OLD.chain_pem), (NEW.key_pem, NEW.chain_pem)}
        assert pair in (whole if make is versioned else {*whole, (NEW.key_pem, OLD.chain_pem)})
        assert target.holds(NAME, NEW.leaf) == (pair[1] == NEW.chain_pem)
        target.write(NAME, NEW)
        assert target.holds(NAME, NEW.leaf)
        assert (paths.key.read_bytes(), paths.fullchain.read_bytes()) == (NEW.key_pem, NEW.chain_pem)
        assert not [name for name in tree(folder) if "tscert-new" in name]
    assert kills > 5


@pytest.mark.parametrize("make", [plain, versioned])
def test_a_full_disk_leaves_the_old_pair(tmp_path, make):
    """Room for the key, none for the certificate."""
    target = make(tmp_path)
    target.write(NAME, OLD)
    code = (
        "import resource, sys; from pathlib import Path; from tscert_trio import CertPair\n"
        "from tscert_trio.target_settings import FilesSettings\n"
        "from tscert_trio.targets import FilesTarget\n"
        "pair = CertPair.from_pem(sys.stdin.buffer.read())\n"
        "settings = FilesSettings(directory=Path(sys.argv[1]), layout=sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        f"FilesTarget(settings).write({NAME!r}, pair)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path, target.settings.layout],
        input=NEW.key_pem + NEW.chain_pem, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert b"TargetError: cannot write" in ran.stderr
    paths = target.paths(NAME)
    assert (paths.key.read_bytes(), paths.fullchain.read_bytes()) == (OLD.key_pem, OLD.chain_pem)
    assert target.holds(NAME, OLD.leaf)
    target.write(NAME, NEW)
    assert target.holds(NAME, NEW.leaf)


def test_versions_are_folders_and_one_link(tmp_path):
    target = versioned(tmp_path)
    written = target.write(NAME, NEW)
    version = tmp_path / "archive" / NAME / NEW.leaf.fingerprint[:16]
    live = tmp_path / "live" / NAME
    assert str(live.readlink()) == f"../archive/{NAME}/{NEW.leaf.fingerprint[:16]}"
    assert names_in(version) == LINEAGE
    assert {name: mode_of(version / name) for name in LINEAGE} == {
        "cert.pem": 0o644, "chain.pem": 0o644, "fullchain.pem": 0o644, "privkey.pem": 0o600,
    }  # fmt: skip
    assert (version / "cert.pem").read_bytes() == leaf_of(NEW)
    assert written.changed
    assert written.paths == FilePaths(
        key=live / "privkey.pem", certificate=live / "cert.pem", chain=live / "chain.pem",
        fullchain=live / "fullchain.pem", lineage=live,
    )  # fmt: skip
    assert target.holds(NAME, NEW.leaf)
    assert target.needs_key
    assert not target.write(NAME, NEW).changed


def test_of_old_versions_the_one_before_stays(tmp_path):
    """Somebody may be in the middle of reading it. Writing the newest again does not make it older."""
    target = versioned(tmp_path)
    for pair in (OLD, NEW, NEXT, NEXT, LAST, LAST):
        target.write(NAME, pair)
    left = {path.name for path in (tmp_path / "archive" / NAME).iterdir()}
    assert left == {pair.leaf.fingerprint[:16] for pair in (NEXT, LAST)}


def test_what_is_not_a_version_is_not_removed(tmp_path):
    target = versioned(tmp_path)
    target.write(NAME, OLD)
    (tmp_path / "archive" / NAME / "notes").mkdir()
    for pair in (NEW, NEXT, LAST):
        target.write(NAME, pair)
    assert (tmp_path / "archive" / NAME / "notes").is_dir()


def test_a_folder_in_the_place_of_the_link_is_not_touched(tmp_path):
    (tmp_path / "live" / NAME).mkdir(parents=True)
    with pytest.raises(TargetError, match="is no symbolic link; move it away"):
        versioned(tmp_path).write(NAME, NEW)
    shutil.rmtree(tmp_path / "live" / NAME)
    versioned(tmp_path).write(NAME, NEW)


def test_an_old_version_that_cannot_be_removed_costs_a_warning(tmp_path, monkeypatch):
    target = versioned(tmp_path)
    for pair in (OLD, NEW):
        target.write(NAME, pair)

    def refuse(*_args, **_options):
        raise PermissionError(1, "Operation not permitted", "old")

    monkeypatch.setattr(os, "rmdir", refuse)
    (warning,) = target.write(NAME, NEXT).warnings
    assert warning == "old is outdated and cannot be removed: Operation not permitted"
    assert target.holds(NAME, NEXT.leaf)


def test_in_a_thousand_swaps_no_reader_sees_a_mismatched_pair(tmp_path):
    """A version that is removed under a slow reader's hands is an error he sees, not a wrong pair."""
    target = versioned(tmp_path)
    whole = {(pair.key_pem, pair.chain_pem) for pair in (OLD, NEW, NEXT)}
    target.write(NAME, OLD)
    live = tmp_path / "live" / NAME
    seen, is_over = [], threading.Event()

    def read():
        while not is_over.is_set():
            try:
                seen.append(read_pair(live))
            except FileNotFoundError:
                continue

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 1001):  # mostly back and forth; then an old version has to be written anew
            pair = NEXT if number % 50 == 0 else (OLD, NEW)[number % 2]
            assert target.write(NAME, pair).changed
    finally:
        is_over.set()
        reader.join()
    assert set(seen) == whole


def test_a_failure_holds_no_key(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetError) as caught:
        plain(tmp_path / "file").write(NAME, NEW)
    assert "PRIVATE" not in repr(caught.value)


def test_a_key_that_is_cut_short_is_noticed(tmp_path):
    target = plain(tmp_path)
    target.write(NAME, NEW)
    key = tmp_path / f"{NAME}.key"
    key.write_bytes(key.read_bytes()[:-20])
    assert not target.holds(NAME, NEW.leaf)


def test_a_pipe_in_the_place_of_a_file_is_no_file_and_nobody_waits_for_it(tmp_path):
    target = plain(tmp_path)
    target.write(NAME, NEW)
    (tmp_path / f"{NAME}.crt").unlink()
    os.mkfifo(tmp_path / f"{NAME}.crt", 0o644)
    assert not target.holds(NAME, NEW.leaf)


@pytest.mark.parametrize("layout", ["a folder of his", "a folder that all may write"])
def test_a_link_that_another_user_may_have_laid_is_not_followed(tmp_path, layout):
    """Root would give him the file that it points to."""
    victim, folder = tmp_path / "victim", tmp_path / "tls"
    victim.write_text("precious")
    folder.mkdir()
    (folder / f"{NAME}.key").symlink_to(victim)
    if layout == "a folder of his":
        os.chown(folder, 12345, -1)
    else:
        folder.chmod(0o777)
    with pytest.raises(TargetError, match="it is a link that another user could lay"):
        plain(folder, owner="12345").write(NAME, NEW)
    assert victim.read_text() == "precious"


def test_a_password_that_is_no_text_is_told(tmp_path):
    password = tmp_path / "password"
    password.write_bytes("Schl\xfcssel\n".encode("latin-1"))
    with pytest.raises(TargetError, match=r"the password for PKCS#12 in .* is not UTF-8"):
        named(tmp_path, "pkcs12", pkcs12_password_file=password).write(NAME, NEW)
