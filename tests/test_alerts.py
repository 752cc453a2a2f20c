"""When the command for alerts is run, and what it is told."""

from contextlib import asynccontextmanager, nullcontext

import trio
from conftest import A, B, virtual_clock

from tscert_trio import Journal, LocalClient, open_cert_manager
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.target_settings import FilesSettings, HookSettings, TargetSettings

DAY, HOUR, MINUTE = 86400, 3600, 60


def alert(folder, **options):
    """Return a command that writes a line for each run."""
    path = folder / "alert"
    path.write_text(
        "#!/bin/sh\n"
        'echo "$TSCERT_DOMAIN$TSCERT_DOMAINS|$TSCERT_TARGET|$TSCERT_CLASS|$TSCERT_TEXT|$TSCERT_REMEDY|'
        f'$TSCERT_RUNWAY|$TSCERT_NOT_AFTER" >> {folder}/alerts\n'
        f"test ! -e {folder}/broken\n"
    )
    path.chmod(0o700)
    return HookSettings(command=(str(path),), **options)


def alerts(folder):
    """Return what the command was told, run by run."""
    path = folder / "alerts"
    return [line.split("|") for line in path.read_text().splitlines()] if path.exists() else []


@asynccontextmanager
async def open_both(folder, *, names=(A,), journal=None, sandbox=None, targets=(), **options):
    async with (
        open_sandbox(cert_domains=[A, B], clock=virtual_clock)
        if sandbox is None
        else nullcontext(sandbox) as box,
        LocalClient(box.socket_path, clock=virtual_clock) as client,
        open_cert_manager(
            client,
            clock=virtual_clock,
            journal=journal,
            targets=targets,
            on_failure=alert(folder, **options),
        ) as manager,
    ):
        manager.ensure_domains(names)
        yield box, manager


async def test_a_failure_is_told_once_and_that_it_is_over(patient_clock, tmp_path):
    async with open_both(tmp_path) as (sandbox, manager):
        sandbox.add_fault(Fault.control("the DNS provider is away", count=3))
        manager.ensure_domains([A])
        await trio.sleep(HOUR)
        assert manager.statistics()[A].leaf is not None
    (begin, end) = alerts(tmp_path)
    assert begin[:3] == [A, "", "ControlError"]
    assert "the DNS provider is away" in begin[3]
    assert "status.tailscale.com" in begin[4]
    assert begin[5:] == ["0", ""]
    assert end[:4] == [A, "", "", ""]
    assert end[6].endswith("Z")


async def test_another_failure_is_told_too(patient_clock, tmp_path):
    async with open_both(tmp_path) as (sandbox, _):
        sandbox.add_fault(Fault.control("away", count=1))
        sandbox.add_fault(Fault.validation())
        await trio.sleep(10 * MINUTE)
    assert [line[2] for line in alerts(tmp_path)] == ["ControlError", "ValidationError"]


async def test_a_tailscaled_that_is_away_for_moments_is_no_trouble(patient_clock, tmp_path):
    async with open_both(tmp_path) as (sandbox, manager):
        await trio.sleep(MINUTE)
        await sandbox.stop()
        manager.renew(A)
        await trio.sleep(2 * MINUTE)
        await sandbox.start()
        await trio.sleep(10 * MINUTE)
        assert alerts(tmp_path) == []
        await sandbox.stop()
        manager.renew(A)
        await trio.sleep(20 * MINUTE)
        assert [line[2] for line in alerts(tmp_path)] == ["UnreachableError"]


async def test_in_the_last_week_it_is_told_every_day_and_at_the_end_at_once(patient_clock, tmp_path):
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        with Journal(tmp_path / "journal") as journal:
            async with (
                LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
                open_cert_manager(client, clock=virtual_clock, journal=journal) as manager,
            ):
                manager.ensure_domains([A])
                await trio.sleep(1)
                end = (manager.statistics()[A].leaf.not_after - virtual_clock()).total_seconds()
            sandbox.add_fault(Fault.validation())
            await trio.sleep(end - 7.5 * DAY)
            async with open_both(tmp_path, sandbox=sandbox, journal=journal):
                await trio.sleep(7 * DAY)
                before = len(alerts(tmp_path))
                assert 7 <= before <= 9
                await trio.sleep(DAY / 2 + 10 * MINUTE)
                told = alerts(tmp_path)
    assert {line[2] for line in told} == {"ValidationError"}
    assert int(told[0][5]) > int(told[-2][5])
    assert len(told) > before


async def test_a_restart_does_not_repeat_what_was_told(patient_clock, tmp_path):
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        sandbox.add_fault(Fault.validation())
        for _ in range(3):
            with Journal(tmp_path / "journal") as journal:
                async with open_both(tmp_path, sandbox=sandbox, journal=journal):
                    await trio.sleep(6 * MINUTE)
    assert len(alerts(tmp_path)) == 1


async def test_a_delivery_that_fails_is_told_with_its_target(patient_clock, tmp_path):
    (tmp_path / "tls").write_text("no folder")
    target = TargetSettings(name="web", files=FilesSettings(directory=str(tmp_path / "tls")))
    async with open_both(tmp_path, targets=[target]):
        await trio.sleep(MINUTE / 2)
        assert alerts(tmp_path) == []  # it may pass
        await trio.sleep(MINUTE)
        (begin,) = alerts(tmp_path)
        assert begin[:3] == [A, "web", "DeliveryError"]
        assert "tls" in begin[3]
        (tmp_path / "tls").unlink()
        await trio.sleep(10 * MINUTE)
    assert alerts(tmp_path)[1][:4] == [A, "web", "", ""]


async def test_a_hook_that_fails_is_told_with_the_end_of_what_it_wrote(patient_clock, tmp_path):
    """An alert stays on this machine, unless its command sends it away."""
    hook = HookSettings(command=("echo why; exit 1",), shell=True)
    async with open_both(tmp_path, targets=[TargetSettings(name="web", hook=hook)]):
        await trio.sleep(2 * MINUTE)
    (begin,) = alerts(tmp_path)
    assert begin[3] == "the shell hook ended with exit status 1; last output: why"


async def test_a_command_that_fails_is_run_again_within_minutes(patient_clock, tmp_path, caplog):
    (tmp_path / "broken").touch()
    async with open_both(tmp_path, names=()) as (sandbox, manager):
        sandbox.add_fault(Fault.validation())
        manager.ensure_domains([A])
        await trio.sleep(11 * MINUTE)
        tries = len(alerts(tmp_path))
        assert 2 <= tries <= 4
        (tmp_path / "broken").unlink()
        await trio.sleep(30 * MINUTE)
        assert len(alerts(tmp_path)) == tries + 1
    assert "on_failure: the hook" in caplog.text


async def test_names_that_fail_together_can_be_told_together(patient_clock, tmp_path):
    async with open_both(tmp_path, names=(A, B), coalesce=True) as (sandbox, _):
        sandbox.add_fault(Fault.validation())
        await trio.sleep(10 * MINUTE)
    assert set(" ".join(line[0] for line in alerts(tmp_path)).split()) == {A, B}
    assert len(alerts(tmp_path)) <= 2


async def test_a_delivery_that_fails_is_told_daily_when_what_is_served_ends_within_a_week(
    patient_clock, tmp_path
):
    """The new certificate is good for months; the one that the server has is not."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntest ! -e {tmp_path}/bad\n")
    hook.chmod(0o700)
    target = TargetSettings(name="web", hook=HookSettings(command=(str(hook),)))
    async with open_both(tmp_path, targets=[target]) as (_, manager):
        await trio.sleep(MINUTE)
        old = manager.statistics()[A].leaf
        (tmp_path / "bad").touch()
        await trio.sleep((old.not_after - virtual_clock()).total_seconds() - 3.5 * DAY)
    told = [line for line in alerts(tmp_path) if line[1] == "web"]
    assert {line[2] for line in told} == {"DeliveryError"}
    assert len(told) in {4, 5}  # once when it began, and on each day of the last week so far
    assert {line[6] for line in told} == {f"{old.not_after:%Y-%m-%dT%H:%M:%SZ}"}
