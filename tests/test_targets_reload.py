"""Programs are told to read their certificates anew: by a systemctl of ours, and by real signals."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio
from conftest import wait_until_started

from tscert_trio import HookError, TargetError
from tscert_trio.targets import reload_unit, send_signal
from tscert_trio.targets.reload import unit_state

UNIT = "nginx.service"


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl on PATH; setting it says what it does. Its arguments end up in a file."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def behave(script):
        path = tmp_path / "systemctl"
        path.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\n{script}\n')
        path.chmod(0o755)
        return tmp_path / "arguments"

    return behave


@pytest.fixture
def reader():
    """A process that ends with status 7 at SIGHUP."""
    code = "import signal, sys; signal.signal(1, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


async def test_a_unit_is_reloaded_and_one_that_is_stopped_is_not_started(systemctl):
    arguments = systemctl("exit 0")
    with trio.fail_after(60):
        await reload_unit(UNIT)
    assert arguments.read_text().split()[-2:] == ["try-reload-or-restart", UNIT]
    assert "--no-ask-password" in arguments.read_text()


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (
            "Failed to try-reload-or-restart nginx.service: Access denied",
            "run as root, or let a polkit rule allow org.freedesktop.systemd1.manage-units for nginx.service",
        ),
        (
            "Failed to try-reload-or-restart nginx.service: Interactive authentication required.",
            "run as root, or let a polkit rule",
        ),
        ("Failed to try-reload-or-restart nginx.service: Unit nginx.service not found.", "correct the name"),
        (
            "System has not been booted with systemd as init system (PID 1). Can't operate.",
            "there is no systemd to ask here",
        ),
        ("Job for nginx.service failed.", "see journalctl -u nginx.service"),
        ("", "systemctl ended with status 1; see journalctl -u nginx.service"),
    ],
)
async def test_a_failure_says_what_to_do_and_systemctl_s_words_are_in_the_output_alone(
    systemctl, said, remedy
):
    systemctl(f'echo "{said}" >&2; exit 1')
    with trio.fail_after(60):
        with pytest.raises(HookError) as caught:
            await reload_unit(UNIT)
    assert str(caught.value).startswith("cannot reload nginx.service: systemctl ended with status 1; ")
    assert not said or said not in str(caught.value)
    assert said in caught.value.told()
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.output == said


async def test_a_systemctl_that_does_not_say_how_a_unit_is_is_not_quoted(systemctl):
    systemctl("echo hunter2; exit 1")
    with trio.fail_after(60):
        with pytest.raises(HookError) as caught:
            await unit_state(UNIT)
    text = "cannot reload nginx.service: systemctl does not say how it is; see journalctl -u nginx.service"
    assert (str(caught.value), caught.value.output) == (text, "hunter2")


async def test_where_there_is_no_systemctl_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="there is no systemctl; use a signal or a hook"):
        await reload_unit(UNIT)


@pytest.mark.parametrize("unit", ["", "--all", "a b", "a;b", "a\nb"])
async def test_what_is_no_unit_s_name_never_gets_to_systemctl(systemctl, unit):
    arguments = systemctl("exit 0")
    with pytest.raises(TargetError, match="is no name of a systemd unit"):
        await reload_unit(unit)
    assert not arguments.exists()


async def test_a_systemctl_that_hangs_is_given_up(systemctl, mock_clock, tmp_path):
    os.mkfifo(tmp_path / "up")
    systemctl(f"echo up >{tmp_path}/up; exec sleep 1000")

    async def give_up_when_it_runs():
        async with trio.lowlevel.FdStream(os.open(tmp_path / "up", os.O_RDWR | os.O_NONBLOCK)) as stream:
            await stream.receive_some()
            await wait_until_started()
        mock_clock.jump(121)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up_when_it_runs)
        with pytest.raises(HookError, match="systemctl did not end within 120 s; see journalctl -u nginx"):
            await reload_unit(UNIT)


@pytest.mark.parametrize("name", ["HUP", "SIGHUP", "hup"])
@pytest.mark.parametrize("content", ["{}\n", "{}", " {} \n/var/lib/postgresql/16/main\n"])
def test_a_signal_reaches_the_process_in_the_file(tmp_path, reader, name, content):
    pidfile = tmp_path / "pid"
    pidfile.write_text(content.format(reader.pid))
    send_signal(pidfile, name)
    assert reader.wait(timeout=60) == 7


@pytest.mark.parametrize("content", ["", "\n", "nginx\n", "-1\n", "0\n", "1.5\n", "99999999999\n", "²\n"])
def test_what_is_no_number_is_told(tmp_path, content):
    """0 and negative numbers would signal whole groups, ours among them."""
    pidfile = tmp_path / "pid"
    pidfile.write_text(content)
    with pytest.raises(TargetError, match=r"there is no process's number in .*pid; see that it is the file"):
        send_signal(pidfile, "HUP")


def test_a_file_that_there_is_not_is_told(tmp_path):
    with pytest.raises(TargetError, match=r"cannot read .*pid: No such file or directory; see that"):
        send_signal(tmp_path / "pid", "HUP")


def test_a_process_that_has_ended_is_told(tmp_path):
    with subprocess.Popen(["/bin/true"]) as ended:
        pass
    (tmp_path / "pid").write_text(f"{ended.pid}\n")
    with pytest.raises(TargetError, match=f"process {ended.pid}, which .*pid names, does not run; start"):
        send_signal(tmp_path / "pid", "HUP")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_process_that_may_not_be_signalled_is_told(reader):
    with tempfile.NamedTemporaryFile() as file:
        file.write(f"{reader.pid}\n".encode())
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.setresuid(65534, 65534, 0)
        try:
            with pytest.raises(TargetError) as caught:
                send_signal(Path(file.name), "HUP")
        finally:
            os.setresuid(0, 0, 0)
    assert f"process {reader.pid}" in str(caught.value)
    assert "may not be sent SIGHUP by this user; run as root or as the program's user" in str(caught.value)


def test_a_signal_that_there_is_not_is_told(tmp_path):
    with pytest.raises(TargetError, match="there is no signal 'RELOAD'; most programs take HUP"):
        send_signal(tmp_path / "pid", "RELOAD")
