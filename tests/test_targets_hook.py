"""Hooks: real commands, the environment they get, and their end in all cases."""

import os
import signal
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from certs import key_pem, make_cert, make_key
from conftest import wait_until_started

from tscert_trio import CertPair, HookError, TargetError
from tscert_trio.target_settings import HookSettings
from tscert_trio.targets import (
    FilePaths,
    certificate_environment,
    coalesced_environments,
    open_lineage,
    run_hook,
)

NAME = "box.tail1234.ts.net"
KEY = make_key()
PAIR = CertPair.from_pem(key_pem(KEY) + make_cert(KEY, NAME, "alias.tail1234.ts.net"))
CERTBOT_NAMES = ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"]
DEPLOY_HOOK = """\
#!/bin/sh
# As it is written for certbot: /etc/letsencrypt/renewal-hooks/deploy/service
set -eu
domain=$(basename "$RENEWED_LINEAGE")
umask 077
cp "$RENEWED_LINEAGE/fullchain.pem" "$DESTINATION/$domain.crt"
cp "$RENEWED_LINEAGE/privkey.pem" "$DESTINATION/$domain.key"
for name in $RENEWED_DOMAINS; do echo "deployed $name"; done
"""


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def python(code, *arguments):
    return HookSettings(command=(sys.executable, "-c", code, *map(str, arguments)))


def shell(text, **options):
    return HookSettings(command=(text,), shell=True, **options)


@pytest.fixture
async def told(tmp_path):
    """A pipe into which commands write; calling it returns the next words."""
    path = tmp_path / "told"
    os.mkfifo(path)
    async with trio.lowlevel.FdStream(os.open(path, os.O_RDWR | os.O_NONBLOCK)) as stream:

        async def receive():
            words = (await stream.receive_some()).decode().split()
            await wait_until_started()
            return words

        receive.path = path
        yield receive


@asynccontextmanager
async def running(settings, **variables):
    """Run a hook in the background; the list gets its result or its error."""
    results = []

    async def run():
        try:
            results.append(await run_hook(settings, variables))
        except HookError as exc:
            results.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield nursery, results


async def wait_until_gone(pid):
    """Return when a process is no more, or a zombie that whoever adopted it will wait for."""
    with trio.fail_after(60):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)


async def test_a_command_runs_without_a_shell_and_its_output_is_kept():
    with trio.fail_after(60):
        output = await run_hook(HookSettings(command=("echo", "$HOME", "; ls")), {})
    assert output == "$HOME ; ls"


async def test_a_shell_is_there_where_it_is_asked_for():
    with trio.fail_after(60):
        assert await run_hook(shell("echo $A | tr a b; echo error >&2"), {"A": "aaa"}) == "bbb\nerror"


async def test_the_service_s_environment_is_the_hook_s_and_the_variables_win(monkeypatch):
    monkeypatch.setenv("FROM_SERVICE", "1")
    monkeypatch.setenv("BOTH", "service")
    with trio.fail_after(60):
        output = await run_hook(shell("echo $FROM_SERVICE $BOTH"), {"BOTH": "hook"})
    assert output == "1 hook"


async def test_there_is_nothing_to_read_on_standard_input():
    with trio.fail_after(60):
        assert await run_hook(shell("cat; echo end"), {}) == "end"


async def test_a_usual_deploy_hook_of_certbot_works_unchanged(tmp_path):
    hook, destination = tmp_path / "service", tmp_path / "service.d"
    hook.write_text(DEPLOY_HOOK)
    hook.chmod(0o755)
    destination.mkdir()
    with open_lineage(NAME, PAIR) as lineage, trio.fail_after(60):
        environ = certificate_environment(NAME, PAIR.leaf, lineage)
        output = await run_hook(
            HookSettings(command=(str(hook),)), environ | {"DESTINATION": str(destination)}
        )
    assert output == f"deployed {NAME}\ndeployed alias.tail1234.ts.net"
    assert (destination / f"{NAME}.crt").read_bytes() == PAIR.chain_pem
    assert (destination / f"{NAME}.key").read_bytes() == PAIR.key_pem
    assert mode_of(destination / f"{NAME}.key") == 0o600


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (shell("echo one; echo two; exit 3"), "the shell hook ended with exit status 3"),
        (shell("exit 1"), "the shell hook ended with exit status 1, and wrote nothing; run it by hand"),
        (shell("kill -9 $$"), "the shell hook was ended by signal 9, and wrote nothing; run it by hand"),
        (HookSettings(command=("/no/such/hook",)), "the hook /no/such/hook is not found: give its full path"),
        (
            HookSettings(command=("no-such-hook", "x")),
            "the hook no-such-hook is not found: give its full path",
        ),
    ],
)
async def test_a_failure_says_which_hook_and_how(settings, text):
    with trio.fail_after(60):
        with pytest.raises(HookError) as caught:
            await run_hook(settings, {})
    assert str(caught.value).startswith(text)
    assert isinstance(caught.value, TargetError)


async def test_the_output_of_a_failure_is_kept():
    with trio.fail_after(60):
        with pytest.raises(HookError) as caught:
            await run_hook(shell("echo one; echo two; exit 3"), {})
    assert caught.value.output == "one\ntwo"


async def test_nothing_of_what_a_hook_wrote_is_in_the_text_and_the_end_is_in_what_the_log_is_told():
    with trio.fail_after(60):
        with pytest.raises(HookError) as caught:
            await run_hook(shell("echo db_password=hunter2; exit 1"), {})
    assert str(caught.value) == "the shell hook ended with exit status 1"
    assert caught.value.told() == f"{caught.value}; last output: db_password=hunter2"


def test_of_much_output_the_last_200_characters_are_told_on_one_line():
    told = HookError("it failed", output="x\n" * 1000 + "the end\n").told()
    assert told.startswith("it failed; last output: …")
    assert told.endswith("x x the end")
    assert len(told) == len("it failed; last output: ") + 200
    assert HookError("it failed").told() == "it failed"


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        ("#!/bin/sh\n", 0o644, "may not be run: make it executable"),
        ("echo x\n", 0o755, "cannot be started: Exec format error; a script needs #!/bin/sh"),
        ("#!/no/such/shell\n", 0o755, "the program in its #! line is missing"),
    ],
)
async def test_a_script_that_cannot_be_started_says_what_to_do(tmp_path, content, mode, text):
    script = tmp_path / "hook"
    script.write_text(content)
    script.chmod(mode)
    with pytest.raises(HookError, match=text):
        await run_hook(HookSettings(command=(str(script),)), {})


async def test_of_megabytes_the_last_four_thousand_characters_are_kept():
    code = (
        "import sys; sys.stdout.write('x' * 5_000_000 + 'the end'); sys.stdout.flush(); sys.stderr.write('!')"
    )
    with trio.fail_after(60):
        output = await run_hook(python(code), {})
    assert output == "x" * 4088 + "the end!"


async def test_a_private_key_in_the_output_is_left_out():
    with trio.fail_after(60):
        output = await run_hook(
            shell('echo before; printf %s "$KEY"; echo after'), {"KEY": PAIR.key_pem.decode()}
        )
    assert output == "before\n(private key left out)\nafter"


async def test_a_private_key_whose_begin_or_end_is_not_there_is_left_out():
    begin, *body, end = PAIR.key_pem.decode().splitlines()
    with trio.fail_after(60):
        cut = await run_hook(shell('printf "%s\n" "$KEY"'), {"KEY": "\n".join([*body, end, "after"])})
        assert cut == "(private key left out)\nafter"
        cut = await run_hook(shell('printf "%s\n" "$KEY"'), {"KEY": "\n".join(["before", begin, *body])})
        assert cut == "before\n(private key left out)"


async def test_what_cannot_be_shown_is_replaced():
    with trio.fail_after(60):
        assert await run_hook(shell(r"printf '\033[31mred\377\r\nnext'"), {}) == "?[31mred�\nnext"


async def test_a_child_that_keeps_the_output_open_is_neither_waited_for_nor_ended(told):
    settings = shell(f"sh -c 'trap \"\" PIPE; echo $$ >{told.path}; exec sleep 1000' & echo started; exit 0")
    with trio.fail_after(60):
        assert await run_hook(settings, {}) == "started"
        (pid,) = map(int, await told())
    os.kill(pid, signal.SIGKILL)  # so it was there
    await wait_until_gone(pid)


async def test_a_child_that_writes_for_ever_does_not_hold_up_the_end():
    settings = shell("yes & exec sh -c 'echo $PPID >/dev/null; exit 0'")
    with trio.fail_after(60):
        assert set(await run_hook(settings, {})) <= {"y", "\n"}


async def test_a_hook_that_takes_too_long_is_ended_with_all_it_started(mock_clock, told):
    settings = shell(
        f"sleep 1000 & echo working; echo $$ $! >{told.path}; wait", timeout=timedelta(minutes=1)
    )
    async with running(settings) as (_, results):
        pids = [int(pid) for pid in await told()]
        mock_clock.jump(61)
    (error,) = results
    assert str(error).startswith("the shell hook took longer than 1m and was killed")
    assert error.output.startswith("working")
    for pid in pids:
        await wait_until_gone(pid)


async def test_a_hook_that_ignores_sigterm_is_killed_five_seconds_later(mock_clock, told):
    code = (
        "import os, signal, sys, time\n"
        "def say(word):\n    with open(sys.argv[1], 'w') as f: f.write(word + ' ')\n"
        "signal.signal(signal.SIGTERM, lambda *_: say('asked'))\n"
        "say(str(os.getpid()))\n"
        "while True: time.sleep(1000)"
    )
    settings = python(code, told.path)
    async with running(settings) as (_, results):
        (pid,) = map(int, await told())
        mock_clock.jump(121)
        assert await told() == ["asked"]
        mock_clock.jump(4.9)
        await trio.testing.wait_all_tasks_blocked()
        assert not results
        mock_clock.jump(0.2)
    assert isinstance(results[0], HookError)
    await wait_until_gone(pid)


async def test_cancelling_ends_a_hook_with_all_it_started_at_once(told, mock_clock):
    settings = shell(f"sh -c 'echo $$ $PPID >{told.path}; exec sleep 1000' & wait")
    async with running(settings) as (nursery, results):
        pids = [int(pid) for pid in await told()]
        nursery.cancel_scope.cancel(reason="the service ends")
    assert not results
    for pid in pids:
        await wait_until_gone(pid)


async def test_cancelling_a_hook_that_ignores_sigterm_takes_half_a_second(told, mock_clock):
    child = f"sh -c 'trap \"\" TERM; echo $$ $PPID >{told.path}; exec sleep 1000'"
    settings = shell(f"trap 'echo asked >{told.path}' TERM; {child} & wait; wait")

    async def let_time_pass():
        assert await told() == ["asked"]
        mock_clock.jump(0.6)

    async with trio.open_nursery() as outer:
        async with running(settings) as (nursery, results):
            pids = [int(pid) for pid in await told()]
            nursery.cancel_scope.cancel(reason="the service ends")
            outer.start_soon(let_time_pass)
        assert not results
    for pid in pids:
        await wait_until_gone(pid)


def test_the_environment_says_what_certbot_says_and_more(tmp_path):
    assert certificate_environment(NAME, PAIR.leaf, tmp_path) == {
        "RENEWED_LINEAGE": str(tmp_path),
        "RENEWED_DOMAINS": f"{NAME} alias.tail1234.ts.net",
        "TSCERT_DOMAIN": NAME,
        "TSCERT_CERT_PATH": f"{tmp_path}/cert.pem",
        "TSCERT_KEY_PATH": f"{tmp_path}/privkey.pem",
        "TSCERT_FULLCHAIN_PATH": f"{tmp_path}/fullchain.pem",
        "TSCERT_FINGERPRINT": PAIR.leaf.fingerprint,
        "TSCERT_NOT_AFTER": "2026-04-01T00:00:00Z",
    }


def test_files_of_a_target_go_before_those_of_the_lineage(tmp_path):
    paths = FilePaths(key=Path("/tls/a.key"), fullchain=Path("/tls/a.crt"))
    environ = certificate_environment(NAME, PAIR.leaf, tmp_path, paths)
    assert environ["TSCERT_KEY_PATH"] == "/tls/a.key"
    assert environ["TSCERT_FULLCHAIN_PATH"] == "/tls/a.crt"
    assert environ["TSCERT_CERT_PATH"] == f"{tmp_path}/cert.pem"


def test_a_coalesced_run_has_the_names_and_no_more():
    assert coalesced_environments(["b.ts.net", "a.ts.net"]) == [{"TSCERT_DOMAINS": "a.ts.net b.ts.net"}]
    assert coalesced_environments([]) == []


async def test_more_names_than_a_variable_holds_are_spread_over_runs():
    names = [f"{number:06}.{'n' * 60}.{'t' * 40}.ts.net" for number in range(2000)]
    environs = coalesced_environments(names)
    assert [name for environ in environs for name in environ["TSCERT_DOMAINS"].split()] == names
    with trio.fail_after(60):
        counts = [int(await run_hook(shell("set -- $TSCERT_DOMAINS; echo $#"), each)) for each in environs]
    assert sum(counts) == 2000
    assert len(counts) == 3


def test_the_lineage_is_a_private_folder_that_is_gone_afterwards(tmp_path):
    environ = {"RUNTIME_DIRECTORY": f"{tmp_path}:/other"}
    with open_lineage(NAME, PAIR, environ) as lineage:
        assert lineage.name == NAME
        assert lineage.parent.parent == tmp_path
        assert names_in(lineage) == CERTBOT_NAMES
        assert (mode_of(lineage), mode_of(lineage.parent), mode_of(lineage / "privkey.pem")) == (
            0o700,
            0o700,
            0o600,
        )
        assert (lineage / "privkey.pem").read_bytes() == PAIR.key_pem
        assert (lineage / "fullchain.pem").read_bytes() == PAIR.chain_pem
    assert not names_in(tmp_path)


def test_the_lineage_is_gone_after_a_failure_too(tmp_path):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        with open_lineage("*.tail1234.ts.net", PAIR, {"RUNTIME_DIRECTORY": str(tmp_path)}) as lineage:
            assert lineage.name == "wildcard_.tail1234.ts.net"
            raise ZeroDivisionError
    assert not names_in(tmp_path)


def test_a_lineage_that_a_kill_left_goes_at_the_next_and_one_in_use_stays(tmp_path):
    code = (
        "import os, sys; from tscert_trio import CertPair; from tscert_trio.targets import open_lineage\n"
        "pair = CertPair.from_pem(sys.stdin.buffer.read())\n"
        f"with open_lineage({NAME!r}, pair): os.kill(os.getpid(), 9)"
    )
    environ = {"RUNTIME_DIRECTORY": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", code], input=PAIR.key_pem + PAIR.chain_pem, env={**os.environ, **environ},
        timeout=60, check=False,
    )  # fmt: skip
    (left,) = tmp_path.iterdir()
    with open_lineage(NAME, PAIR, environ) as first, open_lineage(NAME, PAIR, environ) as second:
        assert not left.exists()
        assert names_in(first) == names_in(second) == CERTBOT_NAMES


def test_a_lineage_that_cannot_be_made_says_so(tmp_path):
    with pytest.raises(TargetError, match=r"cannot make a folder for the hook in .*: No such file"):
        with open_lineage(NAME, PAIR, {"RUNTIME_DIRECTORY": str(tmp_path / "none")}):
            pass


async def test_a_hook_does_not_get_what_is_for_the_service_alone(monkeypatch):
    """TSCERT_DOMAINS is an option of the service, too, and only that speaks to systemd for itself."""
    monkeypatch.setenv("TSCERT_DOMAINS", "option.of.the.service")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    text = 'echo "$TSCERT_DOMAINS|$NOTIFY_SOCKET|$WATCHDOG_USEC|$TSCERT_DOMAIN"'
    hook = HookSettings(command=(text,), shell=True)
    assert await run_hook(hook, {"TSCERT_DOMAIN": "box"}) == "|||box"


def test_where_there_is_no_temporary_folder_the_lineage_says_so(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(
        TargetError, match="cannot make a folder for the hook in the system's temporary folder"
    ):
        with open_lineage(NAME, PAIR, {}):
            pass
