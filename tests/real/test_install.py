"""The installation of servers and tools says what to do where it cannot, and starts nothing."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from .stack import install

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without servers, whose root we are; the folder is the only one with programs."""
    monkeypatch.setattr(
        install, "_search", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None
    )
    monkeypatch.setattr(install, "_POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write_apt(folder: Path, script: str) -> None:
    apt = folder / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >>{folder}/calls\n{script}\n')
    apt.chmod(0o755)


def test_a_missing_program_is_an_error_that_says_what_to_install(bare: Path) -> None:
    with pytest.raises(RuntimeError, match=r"no postgres here: .*stack/install\.py.* package postgresql;"):
        install.find_program("postgres")


def test_without_apt_it_says_what_to_install_by_hand(bare: Path) -> None:
    with pytest.raises(SystemExit, match=r"nginx, haproxy: missing, .* no apt-get\..* haproxy, nginx-light;"):
        install.ensure_installed("nginx", "haproxy")


def test_without_root_it_says_so(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_apt(bare, "")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"apt-get needs root\. Run this as root, or install by hand"):
        install.ensure_installed("nginx")
    assert not (bare / "calls").exists()


def test_what_is_there_is_left_alone(bare: Path) -> None:
    write_apt(bare, "")
    (bare / "nginx").touch()
    install.ensure_installed("nginx")
    assert not (bare / "calls").exists()


def test_packages_are_installed_while_services_are_forbidden_to_start(bare: Path) -> None:
    write_apt(bare, f": >{bare}/nginx; {bare}/policy-rc.d; echo services $? >>{bare}/calls")
    install.ensure_installed("nginx")
    lines = (bare / "calls").read_text().splitlines()
    assert lines[1] == lines[3] == "services 101"
    assert lines[2].endswith("install -y --no-install-recommends nginx-light")
    assert not (bare / "policy-rc.d").exists()


def test_a_policy_that_the_machine_has_is_kept(bare: Path) -> None:
    policy = bare / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o700)
    write_apt(bare, f": >{bare}/nginx")
    install.ensure_installed("nginx")
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert stat.S_IMODE(policy.stat().st_mode) == 0o700


def test_apt_that_fails_is_an_error_and_services_may_start_again(bare: Path) -> None:
    write_apt(bare, "exit 100")
    with pytest.raises(
        SystemExit, match=r"apt-get .* update: failed with status 100\. Please install by hand"
    ):
        install.ensure_installed("nginx")
    assert not (bare / "policy-rc.d").exists()


def test_it_is_a_command_that_has_nothing_to_do_here(program_of: object) -> None:
    done = subprocess.run(
        ["python3", install.__file__], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")
