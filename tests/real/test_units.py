"""What is in ``packaging``: systemd takes the units, they are hardened, and polkit lets reloads through."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGING = Path(__file__).parents[2] / "packaging"
PROGRAM = "/opt/tscert/bin/tscert-trio"
EXPOSURE = {"tscert-trio": 2.0, "tscert-trio-root": 2.5}
"""By the measure of ``systemd-analyze security``: 0 is none, 10 all. Root's own part of it is 0.9."""

POLKIT = """\
var rules = [];
var polkit = {
    Result: { YES: "yes", NOT_HANDLED: "not handled" },
    addRule: function (rule) { rules.push(rule); }
};
"""
MANAGE_UNITS = "org.freedesktop.systemd1.manage-units"


@pytest.fixture(params=EXPOSURE)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit as it is, but for a program that exists on this machine."""
    text = (PACKAGING / f"systemd/{request.param}.service").read_text()
    assert f"\nExecStart={PROGRAM} run\n" in text
    path = tmp_path / f"{request.param}.service"
    path.write_text(text.replace(PROGRAM, "/bin/true"))
    return path


def output(*command: str | Path) -> str:
    """Return what a command says, on either stream; it must succeed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def service(name: str) -> list[tuple[str, str]]:
    """Return the settings of the section Service, in order."""
    text = (PACKAGING / f"systemd/{name}.service").read_text()
    section = text.partition("[Service]\n")[2].partition("\n[")[0]
    return re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE)


def test_systemd_takes_the_unit_without_a_word(unit: Path, program_of: Callable[[str], str]) -> None:
    assert output(program_of("systemd-analyze"), "verify", "--man=no", unit) == ""


def test_the_unit_is_exposed_no_more_than_it_has_to_be(unit: Path, program_of: Callable[[str], str]) -> None:
    said = output(program_of("systemd-analyze"), "security", "--offline=yes", "--no-pager", unit)
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
    assert exposure <= EXPOSURE[unit.stem], said


@pytest.mark.parametrize("name", EXPOSURE)
def test_the_unit_tells_systemd_that_it_is_ready_and_alive(name: str) -> None:
    settings = dict(service(name))
    assert settings["Type"] == "notify"
    assert int(settings["WatchdogSec"]) > 0
    assert settings["Restart"] == "on-failure"


def test_both_units_share_state_and_only_root_has_capabilities() -> None:
    own, root = (dict(service(name)) for name in EXPOSURE)
    assert own["StateDirectory"] == root["StateDirectory"]
    assert (own["User"], own["CapabilityBoundingSet"]) == ("tscert", "")
    assert "User" not in root
    assert "CAP_SYS" not in root["CapabilityBoundingSet"]


def test_a_unit_begins_only_when_the_other_has_ended_and_its_folders_are_cleared_away() -> None:
    text = (PACKAGING / "systemd/tscert-trio-root.service").read_text()
    assert "\nConflicts=tscert-trio.service\n" in text
    (*_, last) = re.findall(r"^After=(.*)$", text, re.MULTILINE)
    assert last == "tscert-trio.service"  # without an order both would happen at once


def test_the_commands_of_the_page_copy_everything_into_a_system_that_has_only_its_packages_folders(
    tmp_path: Path,
) -> None:
    for folder in ("systemd/system", "tmpfiles.d", "polkit-1/rules.d"):  # Debian has no sysusers.d
        (tmp_path / "etc" / folder).mkdir(parents=True)
    page = (PACKAGING.parent / "docs/howto/systemd.rst").read_text()
    commands = re.findall(r"^    (install -.*? /etc/\S+)", page, re.MULTILINE)
    for command in commands:
        output("sh", "-c", f"cd {PACKAGING.parent} && {command.replace(' /etc/', f' {tmp_path}/etc/')}")
    copied = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    sources = [path for folder in ("systemd", "polkit") for path in (PACKAGING / folder).iterdir()]
    assert sorted(copied) == sorted(path.read_bytes() for path in sources)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a user and give it a folder")
def test_its_user_and_its_folder_are_made_and_the_folder_is_no_business_of_others(
    tmp_path: Path, program_of: Callable[[str], str]
) -> None:
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    output(program_of("systemd-sysusers"), root, PACKAGING / "systemd/tscert-trio.sysusers")
    output(program_of("systemd-tmpfiles"), "--create", root, PACKAGING / "systemd/tscert-trio.tmpfiles")
    (user,) = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if "tscert" in line]
    name, _, uid, gid, *_, shell = user.split(":")
    assert (name, shell) == ("tscert", "/usr/sbin/nologin")
    folder = (tmp_path / dict(service("tscert-trio"))["ReadWritePaths"].lstrip("/")).stat()
    assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == (int(uid), int(gid), 0o750)
    settings = (tmp_path / "etc" / dict(service("tscert-trio"))["ConfigurationDirectory"]).stat()
    assert (settings.st_uid, settings.st_gid, stat.S_IMODE(settings.st_mode)) == (0, 0, 0o755)


@pytest.mark.parametrize(
    ("user", "action", "unit", "verb", "answer"),
    [
        ("tscert", MANAGE_UNITS, "nginx.service", "reload", "yes"),
        ("tscert", MANAGE_UNITS, "nginx.service", "reload-or-try-restart", "yes"),
        ("tscert", MANAGE_UNITS, "haproxy.service", "reload", "yes"),
        ("tscert", MANAGE_UNITS, "nginx.service", "restart", "not handled"),
        ("tscert", MANAGE_UNITS, "nginx.service", "reload-or-restart", "not handled"),
        ("tscert", MANAGE_UNITS, "nginx.service", "stop", "not handled"),
        ("tscert", MANAGE_UNITS, "ssh.service", "reload", "not handled"),
        ("tscert", MANAGE_UNITS, None, None, "not handled"),  # systemd before 226 tells neither
        ("tscert", "org.freedesktop.systemd1.reload-daemon", "nginx.service", "reload", "not handled"),
        ("mallory", MANAGE_UNITS, "nginx.service", "reload", "not handled"),
    ],
)
def test_polkit_lets_its_user_reload_the_units_that_are_named_and_nothing_else(
    user: str,
    action: str,
    unit: str | None,
    verb: str | None,
    answer: str,
    tmp_path: Path,
    program_of: Callable[[str], str],
) -> None:
    rules = (PACKAGING / "polkit/50-tscert-trio.rules").read_text()
    details = {key: value for key, value in (("unit", unit), ("verb", verb)) if value is not None}
    question = (
        f"var details = {json.dumps(details)};\n"
        f"var action = {{ id: {json.dumps(action)}, lookup: function (key) {{ return details[key]; }} }};\n"
        f"print(rules.length, rules[0](action, {{ user: {json.dumps(user)} }}));\n"
    )
    script = tmp_path / "question.js"
    script.write_text(f"{POLKIT}\n{rules}\n{question}")
    assert output(program_of("duk"), script).strip() == f"1 {answer}"


def test_the_polkit_rule_is_for_the_user_of_the_unit() -> None:
    rules = (PACKAGING / "polkit/50-tscert-trio.rules").read_text()
    assert re.findall(r'subject\.user === "(\w+)"', rules) == [dict(service("tscert-trio"))["User"]]
