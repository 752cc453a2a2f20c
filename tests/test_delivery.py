"""From a new certificate to a server that is seen serving it: what is done, when, and what is tried again."""

import os
import shlex
import ssl
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import trio
from certs import key_pem, make_cert, make_key
from commands import wait_until
from conftest import A, B, virtual_clock

from tscert_trio import Journal, LocalClient, open_cert_manager
from tscert_trio.delivery_record import DeliveryState
from tscert_trio.errors import TargetError
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.status.making import make_report
from tscert_trio.target_settings import (
    FileSettings,
    FilesSettings,
    HookSettings,
    ProbeSettings,
    SignalSettings,
    TargetSettings,
)

DAY, HOUR, MINUTE = 86400, 3600, 60
PENDING, WRITTEN, ANNOUNCED, SEEN_SERVED = DeliveryState


@asynccontextmanager
async def open_all(*targets, names=(A,), journal=None, sandbox=None, **options):
    """Open a manager that delivers to targets, on a sandbox of its own unless there is one."""
    async with (
        open_sandbox(cert_domains=names, clock=virtual_clock)
        if sandbox is None
        else nullcontext(sandbox) as box,
        LocalClient(box.socket_path, clock=virtual_clock) as client,
        open_cert_manager(
            client, clock=virtual_clock, journal=journal, targets=targets, **options
        ) as manager,
    ):
        manager.ensure_domains(names)
        yield box, manager


def delivery(manager, domain=A):
    (found,) = [each for each in manager.statistics().deliveries if each.domain == domain]
    return found


def files(folder, **options):
    return FilesSettings(directory=str(folder), **options)


def script(folder, *lines, name="hook"):
    """Write a shell script; return the command that runs it."""
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o700)
    return (str(path),)


def calls(folder, log="log"):
    """Return the lines that scripts have written."""
    path = folder / log
    return path.read_text().splitlines() if path.exists() else []


async def test_a_new_certificate_is_written_with_its_key_as_tailscale_cert_does(patient_clock, tmp_path):
    target = TargetSettings(name="t", files=files(tmp_path / "tls"))
    async with open_all(target) as (sandbox, manager):
        await trio.sleep(1)
        found = delivery(manager)
        assert (found.state, found.goal, found.is_done, found.error) == (WRITTEN, WRITTEN, True, None)
        assert found.fingerprint == sandbox.certificate(A).fingerprint
        pair = await LocalClient(sandbox.socket_path).cert_pair(A, min_validity=timedelta(seconds=1))
    assert (tmp_path / "tls" / f"{A}.crt").read_bytes() == pair.chain_pem
    assert (tmp_path / "tls" / f"{A}.key").read_bytes() == pair.key_pem
    assert (tmp_path / "tls" / f"{A}.key").stat().st_mode & 0o777 == 0o600


async def test_each_renewal_is_delivered_at_once_and_nothing_is_in_between(patient_clock, tmp_path):
    target = TargetSettings(name="t", files=files(tmp_path))
    async with open_all(target) as (sandbox, manager):
        await trio.sleep(HOUR)
        before = (tmp_path / f"{A}.crt").stat().st_mtime_ns
        requests = len(sandbox.calls)
        await trio.sleep(2 * DAY)
        assert (tmp_path / f"{A}.crt").stat().st_mtime_ns == before
        assert len(sandbox.calls) - requests == 2  # the daily looks
        manager.renew(A, force=True)
        await trio.sleep(1)
        assert delivery(manager).fingerprint == sandbox.certificate(A).fingerprint
        assert delivery(manager).since == virtual_clock() - timedelta(seconds=1)
    assert len(sandbox.orders) == 2


async def test_a_target_that_wants_no_key_asks_for_none(patient_clock, tmp_path):
    target = TargetSettings(
        name="t", files=FilesSettings(fullchain=FileSettings(path=f"{tmp_path}/{{domain}}.pem"))
    )
    async with open_all(target) as (sandbox, manager):
        await trio.sleep(1)
        assert delivery(manager).is_done
        assert {call.query["type"] for call in sandbox.calls if call.domain} == {"crt"}
    assert b"PRIVATE" not in (tmp_path / f"{A}.pem").read_bytes()


async def test_names_go_to_the_targets_that_are_for_them(patient_clock, tmp_path):
    one = TargetSettings(name="one", domains=("a.*",), files=files(tmp_path / "one"))
    both = TargetSettings(name="both", files=files(tmp_path / "both"))
    async with open_all(one, both, names=(A, B)) as (_, manager):
        await trio.sleep(1)
        found = {(each.target, each.domain) for each in manager.statistics().deliveries if each.is_done}
    assert found == {("one", A), ("both", A), ("both", B)}
    assert not (tmp_path / "one" / f"{B}.crt").exists()


async def test_a_folder_that_cannot_be_written_is_told_and_tried_again_for_ever(
    patient_clock, tmp_path, caplog
):
    """After one minute, doubling to an hour. It causes no order."""
    (tmp_path / "tls").write_text("no folder")
    target = TargetSettings(name="t", files=files(tmp_path / "tls"))
    async with open_all(target) as (sandbox, manager):
        await trio.sleep(30)
        found = delivery(manager)
        assert (found.state, found.failures) == (PENDING, 1)
        assert str(tmp_path / "tls") in found.error
        assert found.next_attempt_at == virtual_clock() + timedelta(seconds=30)
        await trio.sleep(12 * HOUR)
        assert 14 <= delivery(manager).failures <= 18
        (tmp_path / "tls").unlink()
        await trio.sleep(HOUR)
        assert delivery(manager).is_done
    assert len(sandbox.orders) == 1
    assert (
        len([r for r in caplog.records if "target t: " in r.getMessage() and r.levelname == "WARNING"]) == 1
    )


async def test_a_hook_is_run_once_for_each_name_with_what_certbots_hooks_are_told(patient_clock, tmp_path):
    log = shlex.quote(str(tmp_path / "log"))
    command = script(
        tmp_path,
        f'echo "$RENEWED_DOMAINS $TSCERT_DOMAIN $(ls "$RENEWED_LINEAGE" | tr "\\n" " ")" >> {log}',
        f'cp "$RENEWED_LINEAGE/privkey.pem" {tmp_path}/"$TSCERT_DOMAIN.deployed"',
    )
    async with open_all(TargetSettings(name="t", hook=HookSettings(command=command)), names=(A, B)) as (
        sandbox,
        manager,
    ):
        await trio.sleep(10)
        assert all(delivery(manager, name).state is ANNOUNCED for name in (A, B))
        assert sorted(calls(tmp_path)) == [
            f"{name} {name} cert.pem chain.pem fullchain.pem privkey.pem " for name in (A, B)
        ]
        manager.renew(A, force=True)
        await trio.sleep(10)
        assert len(calls(tmp_path)) == 3
        pair = await LocalClient(sandbox.socket_path).cert_pair(A, min_validity=timedelta(seconds=1))
    assert (tmp_path / f"{A}.deployed").read_bytes() == pair.key_pem


async def test_a_hook_that_fails_is_run_again_with_its_last_words_kept_and_no_order(
    patient_clock, tmp_path, caplog
):
    command = script(
        tmp_path,
        f"echo run >> {tmp_path}/log",
        "echo the disk is on fire",
        f"test $(wc -l < {tmp_path}/log) -gt 2",
    )
    target = TargetSettings(name="t", files=files(tmp_path / "tls"), hook=HookSettings(command=command))
    async with open_all(target) as (sandbox, manager):
        await trio.sleep(10)
        found = delivery(manager)
        assert (found.state, found.goal, found.failures) == (WRITTEN, ANNOUNCED, 1)
        assert "the disk is on fire" in found.output
        assert found.error == f"the hook {command[0]} ended with exit status 1"
        words = f"target t: {found.error}; last output: the disk is on fire. Next try at "
        assert [record.levelname for record in caplog.records if words in record.message] == ["WARNING"]
        await trio.sleep(MINUTE)
        assert delivery(manager).failures == 2
        await trio.sleep(2 * MINUTE)
        found = delivery(manager)
        assert (found.state, found.failures, found.error) == (ANNOUNCED, 0, None)
    assert len(calls(tmp_path)) == 3
    assert len(sandbox.orders) == 1


async def test_names_that_change_together_are_announced_together(patient_clock, tmp_path, monkeypatch):
    names = tuple(f"n{number}.tail1234.ts.net" for number in range(20))
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin", f'echo "$@" >> {tmp_path}/systemctl', name="systemctl")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    command = script(tmp_path, f'echo "$TSCERT_DOMAINS" >> {tmp_path}/log')
    target = TargetSettings(
        name="t",
        files=files(tmp_path / "tls"),
        hook=HookSettings(command=command, coalesce=True),
        reload="nginx.service",
    )
    async with open_all(target, names=names) as (_, manager):
        await trio.sleep(20)
        assert all(each.state is ANNOUNCED for each in manager.statistics().deliveries)
    told = [set(line.split()) for line in calls(tmp_path)]
    assert set().union(*told) == set(names)
    assert len(told) <= 2
    assert len(calls(tmp_path, "systemctl")) == len(told)
    assert all("nginx.service" in line for line in calls(tmp_path, "systemctl"))


async def test_a_reload_that_fails_does_not_run_the_hook_again(patient_clock, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin", "echo Access denied >&2; exit 4", name="systemctl")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    command = script(tmp_path, f"echo run >> {tmp_path}/log")
    target = TargetSettings(name="t", hook=HookSettings(command=command), reload="nginx.service")
    async with open_all(target) as (_, manager):
        await trio.sleep(5 * MINUTE)
        found = delivery(manager)
        assert (found.state, found.failures) == (WRITTEN, 3)
        assert "run as root, or let a polkit rule" in found.error
        assert "Access denied" not in found.error
        assert found.output == "Access denied"
    assert len(calls(tmp_path)) == 1


async def test_a_process_is_sent_a_signal(patient_clock, tmp_path):
    (tmp_path / "ready").touch()
    command = script(
        tmp_path,
        f"trap 'echo HUP >> {tmp_path}/log; exit' HUP",
        f"rm {tmp_path}/ready",
        "while :; do sleep 0.01; done",
    )
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, command)
        wait_until(lambda: not (tmp_path / "ready").exists())  # on the real clock: the virtual one flies
        (tmp_path / "pid").write_text(f"{process.pid}\n")
        target = TargetSettings(name="t", signal=SignalSettings(pidfile=tmp_path / "pid"))
        async with open_all(target) as (_, manager):
            await trio.sleep(10)
            assert delivery(manager).state is ANNOUNCED
    assert calls(tmp_path) == ["HUP"]


class Server:
    """A TLS server that serves what lies in a folder, as it was when it was told to load it."""

    def __init__(self, folder):
        self.folder = folder
        self.context = None

    def load(self, domain=A):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{domain}.crt", self.folder / f"{domain}.key")
        self.context = context

    async def serve(self, task_status=trio.TASK_STATUS_IGNORED):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self.handle, [listener])

    async def handle(self, stream):
        if self.context is None:
            await stream.aclose()
            return
        tls = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        try:
            await tls.do_handshake()
            await tls.receive_some(1)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)


@pytest.fixture
async def server(tmp_path, nursery):
    """A server of the folder ``tls``, with its port."""
    found = Server(tmp_path / "tls")
    found.port = await nursery.start(found.serve)
    return found


def served_by(server, tmp_path, **options):
    probe = ProbeSettings(host="127.0.0.1", port=server.port)
    return TargetSettings(name="t", files=files(tmp_path / "tls"), probe=probe, **options)


async def test_a_server_is_looked_at_until_it_serves_the_new_certificate(patient_clock, tmp_path, server):
    async with open_all(served_by(server, tmp_path)) as (sandbox, manager):
        await trio.sleep(20)
        found = delivery(manager)
        assert (found.state, found.goal, found.served, found.failures) == (ANNOUNCED, SEEN_SERVED, "none", 1)
        server.load()
        await trio.sleep(2 * MINUTE)
        found = delivery(manager)
        assert (found.state, found.served, found.error) == (SEEN_SERVED, "new", None)
        manager.renew(A, force=True)
        await trio.sleep(20)
        found = delivery(manager)
        assert (found.state, found.served) == (ANNOUNCED, "old")
        assert "still serves the certificate before" in found.error
        server.load()
        await trio.sleep(2 * MINUTE)
        assert delivery(manager).is_done
    assert len(sandbox.orders) == 2


async def test_once_a_day_it_is_seen_whether_it_is_served_still_and_told_again_if_not(
    patient_clock, tmp_path, server
):
    command = script(tmp_path, f"echo run >> {tmp_path}/log")
    target = served_by(server, tmp_path, hook=HookSettings(command=command))
    async with open_all(target) as (_, manager):
        await trio.sleep(5)
        server.load()
        await trio.sleep(5 * MINUTE)
        assert delivery(manager).is_done
        runs = len(calls(tmp_path))
        server.context = None
        await trio.sleep(DAY + 5 * MINUTE)
        found = delivery(manager)
        assert (found.state, found.served, found.is_done) == (ANNOUNCED, "none", False)
        assert len(calls(tmp_path)) == runs  # who is away need not be told
        server.load()
        await trio.sleep(2 * HOUR)
        assert delivery(manager).is_done
        server.context = other_context(tmp_path)
        await trio.sleep(DAY + 5 * MINUTE)
        found = delivery(manager)
        assert (found.state, found.served, found.is_done) == (ANNOUNCED, "other", False)
        assert len(calls(tmp_path)) == runs + 1
        server.load()
        await trio.sleep(2 * HOUR)
        assert delivery(manager).is_done


def other_context(folder):
    """Return a server's context with a certificate of somebody else."""
    key = make_key()
    (folder / "other.pem").write_bytes(key_pem(key) + make_cert(key, A))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "other.pem")
    return context


async def test_files_that_somebody_has_changed_are_written_again_within_a_day(
    patient_clock, tmp_path, caplog
):
    target = TargetSettings(name="t", files=files(tmp_path))
    async with open_all(target) as (_, manager):
        await trio.sleep(1)
        (tmp_path / f"{A}.crt").write_text("nonsense")
        await trio.sleep(DAY + 1)
        assert delivery(manager).is_done
    assert b"BEGIN CERTIFICATE" in (tmp_path / f"{A}.crt").read_bytes()
    assert "its files are not as they are to be" in caplog.text


async def test_files_of_tailscale_cert_that_are_served_already_are_adopted_without_a_reload(
    patient_clock, tmp_path, server
):
    command = script(tmp_path, f"echo run >> {tmp_path}/log")
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        pair = await LocalClient(sandbox.socket_path, clock=virtual_clock).cert_pair(A)
        (tmp_path / "tls").mkdir()
        (tmp_path / "tls" / f"{A}.crt").write_bytes(pair.chain_pem)
        (tmp_path / "tls" / f"{A}.key").write_bytes(pair.key_pem)
        before = (tmp_path / "tls" / f"{A}.crt").stat().st_mtime_ns
        server.load()
        target = served_by(server, tmp_path, hook=HookSettings(command=command))
        async with open_all(target, sandbox=sandbox) as (_, manager):
            await trio.sleep(10)
            assert delivery(manager).state is SEEN_SERVED
    assert (tmp_path / "tls" / f"{A}.crt").stat().st_mtime_ns == before
    assert calls(tmp_path) == []


async def test_a_restart_goes_on_where_it_was_with_its_backoff(patient_clock, tmp_path):
    command = script(tmp_path, f"echo run >> {tmp_path}/log", f"test -e {tmp_path}/good")
    target = TargetSettings(name="t", files=files(tmp_path / "tls"), hook=HookSettings(command=command))
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        open_run = partial(open_all, target, sandbox=sandbox)
        with Journal(tmp_path / "journal") as journal:
            async with open_run(journal=journal) as (_, manager):
                await trio.sleep(30)
                before = delivery(manager)
                assert before.failures == 1
        written = (tmp_path / "tls" / f"{A}.crt").stat().st_mtime_ns
        (tmp_path / "good").touch()
        with Journal(tmp_path / "journal") as journal:
            async with open_run(journal=journal) as (_, manager):
                await trio.sleep(10)
                assert delivery(manager) == before
                await trio.sleep(MINUTE)
                assert delivery(manager).state is ANNOUNCED
                assert len(calls(tmp_path)) == 2
        with Journal(tmp_path / "journal") as journal:
            async with open_run(journal=journal) as (_, manager):
                await trio.sleep(10)
                assert delivery(manager).is_done
                assert len(calls(tmp_path)) == 2
        assert (tmp_path / "tls" / f"{A}.crt").stat().st_mtime_ns == written
        assert len(sandbox.orders) == 1


async def test_the_journal_never_holds_a_key(patient_clock, tmp_path):
    command = script(tmp_path, 'cat "$TSCERT_KEY_PATH"; exit 1')
    target = TargetSettings(name="t", files=files(tmp_path / "tls"), hook=HookSettings(command=command))
    with Journal(tmp_path / "journal") as journal:
        async with open_all(target, journal=journal) as (_, manager):
            await trio.sleep(10)
            assert delivery(manager).failures == 1
            assert "PRIVATE" not in repr(manager.statistics())
    key = (tmp_path / "tls" / f"{A}.key").read_bytes().splitlines()[1]
    for part in tmp_path.glob("journal*"):
        assert key not in part.read_bytes()


async def test_a_certificate_that_is_about_to_end_is_not_asked_for(patient_clock, tmp_path):
    """Tailscaled would order another one, at a mere look."""
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        with Journal(tmp_path / "journal") as journal:
            async with open_all(sandbox=sandbox, journal=journal) as (_, manager):
                await trio.sleep(1)
            sandbox.add_fault(Fault.validation())
            end = (sandbox.certificate(A).not_after - virtual_clock()).total_seconds()
            await trio.sleep(end - 30)
            target = TargetSettings(name="t", files=files(tmp_path / "tls"))
            async with open_all(target, sandbox=sandbox, journal=journal) as (_, manager):
                await trio.sleep(20)
                assert delivery(manager).state is PENDING
                assert [call.query["type"] for call in sandbox.calls if call.domain].count("pair") == 0


async def test_a_stop_while_a_hook_runs_ends_it(autojump_clock, tmp_path):
    autojump_clock.autojump_threshold = 0.3
    command = script(tmp_path, f"echo $$ > {tmp_path}/pid", "sleep 1000")
    async with open_all(TargetSettings(name="t", hook=HookSettings(command=command))):
        with trio.fail_after(1000):
            while not calls(tmp_path, "pid"):  # noqa: ASYNC110 -- a process does it
                await trio.sleep(0.01)
        pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()


async def test_a_certificate_that_comes_while_others_are_gathered_is_written_before_it_is_announced(
    patient_clock, tmp_path, monkeypatch
):
    (tmp_path / "bin").mkdir()
    look = f"openssl x509 -noout -fingerprint -sha256 -in {tmp_path}/tls/{A}.crt"
    script(tmp_path / "bin", f"{look} >> {tmp_path}/log", name="systemctl")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    target = TargetSettings(name="t", files=files(tmp_path / "tls"), reload="nginx.service")
    async with open_all(target) as (sandbox, manager):
        await trio.sleep(10)
        manager.renew(A, force=True)
        await trio.sleep(0.1)
        first = sandbox.certificate(A)
        manager.renew(A, force=True)
        await trio.sleep(10)
        found = delivery(manager)
        assert found.state is ANNOUNCED
        assert found.fingerprint == sandbox.certificate(A).fingerprint != first.fingerprint
    last = calls(tmp_path)[-1].partition("=")[2].replace(":", "").lower()
    assert last == found.fingerprint


async def test_a_name_that_leaves_while_its_hook_runs_is_delivered_when_it_is_back(patient_clock, tmp_path):
    command = script(tmp_path, f"echo run >> {tmp_path}/log", "exit 1")
    async with open_all(TargetSettings(name="t", hook=HookSettings(command=command))) as (_, manager):
        manager.ensure_domains([A])
        with trio.fail_after(60):
            while not manager.statistics().deliveries:  # noqa: ASYNC110 -- it is in the middle of it
                await trio.sleep(0.001)
        manager.ensure_domains([])
        await trio.sleep(10)
        assert manager.statistics().deliveries == ()
        script(tmp_path, f"echo run >> {tmp_path}/log")
        manager.ensure_domains([A])
        await trio.sleep(2 * MINUTE)
        assert delivery(manager).state is ANNOUNCED


async def test_a_person_who_wants_a_renewal_wants_its_delivery_too(patient_clock, tmp_path):
    command = script(tmp_path, f"test -e {tmp_path}/good")
    async with open_all(TargetSettings(name="t", hook=HookSettings(command=command))) as (sandbox, manager):
        await trio.sleep(HOUR)
        assert delivery(manager).failures > 5
        (tmp_path / "good").touch()
        manager.renew(A)
        await trio.sleep(1)
        assert delivery(manager).is_done
    assert len(sandbox.orders) == 1


async def test_a_target_from_which_the_failing_step_was_taken_is_done(patient_clock, tmp_path, server):
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        with Journal(tmp_path / "journal") as journal:
            async with open_all(served_by(server, tmp_path), sandbox=sandbox, journal=journal) as (
                _,
                manager,
            ):
                await trio.sleep(20)
                assert delivery(manager).error is not None
            target = attrs.evolve(served_by(server, tmp_path), probe=None)
            async with open_all(target, sandbox=sandbox, journal=journal) as (_, manager):
                await trio.sleep(5 * MINUTE)
                assert delivery(manager).is_done


async def test_a_mode_that_is_changed_in_the_settings_holds_at_once_and_reloads_nothing(
    patient_clock, tmp_path
):
    command = script(tmp_path, f"echo run >> {tmp_path}/log")
    async with open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox:
        for mode in (0o640, 0o600):
            options = {"files": files(tmp_path / "tls", key_mode=mode), "hook": HookSettings(command=command)}
            target = TargetSettings(name="t", **options)
            with Journal(tmp_path / "journal") as journal:
                async with open_all(target, sandbox=sandbox, journal=journal) as (_, manager):
                    await trio.sleep(MINUTE)
                    assert delivery(manager).is_done
            assert (tmp_path / "tls" / f"{A}.key").stat().st_mode & 0o777 == mode
    assert len(calls(tmp_path)) == 1


async def test_files_do_not_wait_for_the_hooks_of_others(patient_clock, tmp_path):
    names = tuple(f"n{number}.tail1234.ts.net" for number in range(10))
    command = script(tmp_path, f"ls {tmp_path}/tls/*.crt | wc -l >> {tmp_path}/log")
    target = TargetSettings(name="t", files=files(tmp_path / "tls"), hook=HookSettings(command=command))
    async with open_sandbox(cert_domains=names, clock=virtual_clock) as sandbox:
        with Journal(tmp_path / "journal") as journal:
            async with open_all(sandbox=sandbox, names=names, journal=journal):
                await trio.sleep(MINUTE)
            async with open_all(target, sandbox=sandbox, names=names, journal=journal) as (_, manager):
                await trio.sleep(MINUTE)
                assert all(each.is_done for each in manager.statistics().deliveries)
    assert len(calls(tmp_path)) == 10
    assert calls(tmp_path).count("10") >= 5


async def test_a_leaf_that_begins_later_by_this_clock_is_delivered_when_it_begins(autojump_clock, tmp_path):
    target = TargetSettings(name="t", files=files(tmp_path))
    slow = timedelta(hours=2)
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=lambda: virtual_clock() - slow, targets=[target]) as manager,
    ):
        manager.ensure_domains([A])
        await trio.sleep(HOUR)
        assert delivery(manager).state is PENDING
        await trio.sleep(2 * HOUR)
        assert delivery(manager).is_done


async def test_a_failing_delivery_goes_on_failing_with_the_next_certificate_until_its_goal_is_reached(
    patient_clock, tmp_path
):
    command = script(tmp_path, "exit 1")
    async with open_all(TargetSettings(name="t", hook=HookSettings(command=command))) as (_, manager):
        await trio.sleep(HOUR)
        before = delivery(manager)
        manager.renew(A, force=True)
        await trio.sleep(10)
        found = delivery(manager)
        assert found.fingerprint != before.fingerprint
        assert found.failures > before.failures
        assert found.error is not None


async def test_a_delivery_that_fails_for_days_is_in_the_journal_once_for_each_certificate(
    patient_clock, tmp_path
):
    target = TargetSettings(
        name="t",
        hook=HookSettings(command=script(tmp_path, f"echo run >> {tmp_path}/log")),
        probe=ProbeSettings(host="127.0.0.1", port=1),
    )
    with Journal() as journal:
        async with open_all(target, journal=journal) as (_, manager):
            await trio.sleep(2 * DAY)
            assert delivery(manager).failures > 40
            assert steps(journal) == ["announced", "failed"]
            manager.renew(A, force=True)
            await trio.sleep(DAY)
            assert steps(journal) == ["announced", "failed"] * 2


async def test_nothing_has_happened_where_a_target_has_no_such_step(patient_clock, tmp_path, server):
    """One that only looks at a server writes nothing, and announces nothing to anybody."""
    looking = attrs.evolve(served_by(server, tmp_path), name="looking", files=None)
    writing = TargetSettings(name="writing", files=files(tmp_path / "tls"))
    with Journal() as journal:
        async with open_all(looking, writing, journal=journal):
            await trio.sleep(10)
            server.load()
            await trio.sleep(5 * MINUTE)
        events = [each for each in journal.events(limit=1000) if hasattr(each, "target")]
        assert {each.outcome for each in events if each.target == "looking"} == {"failed", "seen served"}
        assert {each.outcome for each in events if each.target == "writing"} == {"written"}


async def test_a_hook_that_goes_well_in_vain_is_in_the_journal_once(patient_clock, tmp_path, monkeypatch):
    """It is run again with each retry, since the server still serves the old certificate."""
    with Journal() as journal:
        async with open_all(TargetSettings(name="t", files=files(tmp_path / "tls")), journal=journal) as (
            _,
            manager,
        ):
            await trio.sleep(10)
            (book,) = manager._deliveries
            (record,) = book.all_records()
            book.settings = attrs.evolve(served_by(SimpleNamespace(port=1), tmp_path), reload="nginx.service")
            book.goal = SEEN_SERVED
            for _ in range(50):
                book.reach(record, ANNOUNCED)
                book.failed([record], TargetError("it serves the old one"))
                book.fall_back(record, WRITTEN)
            assert steps(journal) == ["written", "announced", "failed"]
            for _ in range(2):
                book.reach(record, ANNOUNCED)
                book.reach(record, SEEN_SERVED)
                book.fall_back(record, WRITTEN)
                book.failed([record], TargetError("it serves the old one"))
            assert steps(journal)[3:] == ["seen served", "failed", "announced", "seen served", "failed"]


def steps(journal):
    """Return what the journal says of deliveries."""
    return [each.outcome for each in journal.events(limit=1000) if hasattr(each, "target")]


async def test_a_clock_set_back_draws_no_retry_out(patient_clock, tmp_path):
    leap, command = timedelta(0), script(tmp_path, f"echo run >> {tmp_path}/log", "exit 1")
    target = TargetSettings(name="t", hook=HookSettings(command=command))
    async with (
        open_sandbox(cert_domains=[A], clock=virtual_clock) as sandbox,
        LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
        open_cert_manager(client, clock=lambda: virtual_clock() + leap, targets=[target]) as manager,
    ):
        manager.ensure_domains([A])
        await trio.sleep(HOUR)
        leap = -timedelta(minutes=50)
        await trio.sleep(6 * MINUTE)
        wait = delivery(manager).next_attempt_at - (virtual_clock() + leap)
        assert timedelta(0) <= wait <= timedelta(hours=1)
        runs = len(calls(tmp_path))
        await trio.sleep(HOUR)
        assert len(calls(tmp_path)) > runs


async def test_a_journal_begun_anew_knows_the_deliveries_and_forgets_old_ones(patient_clock, tmp_path):
    target = TargetSettings(name="t", files=files(tmp_path / "tls"))
    with Journal(tmp_path / "journal") as journal:
        async with open_all(target, journal=journal) as (_, manager):
            await trio.sleep(MINUTE)
            journal._begin_anew(Exception("a disk went bad"))
            await trio.sleep(6 * MINUTE)
            before = delivery(manager)
        (found,) = journal.load().deliveries
        assert (found.target, found.domain, found.fingerprint) == ("t", A, before.fingerprint)
        journal.tidy(virtual_clock() + timedelta(days=401))
        assert journal.load().deliveries == ()


async def test_a_report_tells_of_a_delivery_that_fails(autojump_clock, tmp_path):
    (tmp_path / "tls").write_text("no folder")
    async with open_all(TargetSettings(name="web", files=files(tmp_path / "tls"))) as (_, manager):
        await trio.sleep(10)
        report = make_report(manager.statistics(), virtual_clock())
    assert f"{A}: web: delivery fails: " in report.summary
