"""Which names have a loop, and how loops begin and end."""

import json

import pytest
import trio
import trio.testing
from conftest import A, B, C, cert_times, virtual_clock
from test_cert_loop import tasks_named

from tscert_trio import DomainState, LocalClient, ServeConfig, ServeConfigError, open_cert_manager
from tscert_trio.sandbox import Fault, open_sandbox


def config(*host_ports, terminate_tls=()):
    return ServeConfig.from_json(serve_config_json(*host_ports, terminate_tls=terminate_tls))


def serve_config_json(*host_ports, terminate_tls=()):
    services = {f"svc:{n}": {"Web": {key: {}}} for n, key in enumerate(host_ports)}
    services |= {
        f"svc:t{n}": {"TCP": {"443": {"TerminateTLS": name}}} for n, name in enumerate(terminate_tls)
    }
    return json.dumps({"Services": services})


def loops():
    """Return the names that have a living loop."""
    return {name for name in (A, B, C) if tasks_named(f"cert loop {name}")}


# TestEnsureCertLoops of tailscale's kube/certs/certs_test.go, in our words.
@pytest.mark.parametrize(
    ("first", "then", "loops_first", "loops_then"),
    [
        (config(), None, set(), None),
        (config(), config(f"{A}:443"), set(), {A}),
        (config(f"{A}:443"), None, {A}, None),
        (config(f"{A}:443", f"{B}:443"), None, {A, B}, None),
        (config(f"{A}:443", f"{A}:80"), None, {A}, None),
        (config(f"{A}:443", f"{B}:443"), config(f"{A}:443"), {A, B}, {A}),
        (config(f"{A}:443"), config(f"{A}:443", f"{B}:443"), {A}, {A, B}),
        (config(f"{A}:443"), config(f"{B}:443"), {A}, {B}),
        (config(terminate_tls=[A]), None, {A}, None),
        (config(f"{B}:443", terminate_tls=[A]), None, {A, B}, None),
    ],
    ids=[
        "empty",
        "empty to one",
        "one",
        "several",
        "ignores port 80",
        "remove",
        "add",
        "change",
        "terminate tls",
        "terminate tls and web",
    ],
)
async def test_each_name_of_a_services_config_has_one_loop(
    autojump_clock, client, first, then, loops_first, loops_then
):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_cert_loops(first)
        await trio.testing.wait_all_tasks_blocked()
        assert loops() == loops_first
        if then is not None:
            manager.ensure_cert_loops(then)
            await trio.testing.wait_all_tasks_blocked()
            assert loops() == loops_then
            assert {each.domain for each in manager.statistics().domains} == loops_then
    assert loops() == set()


@pytest.mark.parametrize("bad", [None, config(f"{B}:443", "no-port"), config(f"{B}:443", ":443")])
async def test_no_config_or_one_that_cannot_be_read_changes_nothing(autojump_clock, sandbox, client, bad):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_cert_loops(config(f"{A}:443"))
        await trio.sleep(1)
        with pytest.raises(ServeConfigError):
            manager.ensure_cert_loops(bad)
        await trio.testing.wait_all_tasks_blocked()
        assert loops() == {A}


async def test_the_same_config_again_leaves_loops_and_their_timers_alone(autojump_clock, sandbox, client):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        for _ in range(20):
            manager.ensure_cert_loops(config(f"{A}:443"))
            await trio.sleep(6 * 3600)
    assert cert_times(sandbox) == [0, 86400, 2 * 86400, 3 * 86400, 4 * 86400]


async def test_a_name_removed_and_added_within_one_tick_starts_after_its_predecessor_has_ended(
    autojump_clock, sandbox, client
):
    """Never are there two requests for one name at once."""
    sandbox.add_fault(Fault.hang())
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(10)
        for _ in range(3):
            manager.ensure_domains([])
            manager.ensure_domains([A])
        assert manager.statistics()[A].attempts == 0
        await trio.sleep(10)
        assert len(tasks_named(f"cert loop {A}")) == 1
        assert manager.statistics()[A].state is DomainState.REQUESTING
    assert cert_times(sandbox) == [0, 10]


async def test_a_loop_whose_clean_up_takes_time_ends_before_its_successor_begins(
    autojump_clock, client, monkeypatch
):
    began_at = []

    async def slow_to_end(*_args, **_kwargs):
        began_at.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    monkeypatch.setattr(client, "cert", slow_to_end)
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        await trio.sleep(10)
        for _ in range(3):
            manager.ensure_domains([])
            manager.ensure_domains([A])
        await trio.sleep(100)
        assert len(tasks_named(f"cert loop {A}")) == 1
        assert not manager._ending
    assert began_at == [0, 15]


async def test_one_name_is_not_taken_for_its_letters(autojump_clock, client):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        with pytest.raises(TypeError):
            manager.ensure_domains(A)


async def test_a_name_removed_before_its_loop_ran_never_asks(autojump_clock, sandbox, client):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([A])
        manager.ensure_domains([])
        await trio.sleep(10)
    assert cert_times(sandbox) == []


async def test_a_closed_manager_takes_no_names(autojump_clock, client):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        pass
    with pytest.raises(trio.ClosedResourceError):
        manager.ensure_domains([A])
    assert manager.statistics().domains == ()


async def test_a_bug_in_one_loop_ends_the_manager_with_its_traceback(autojump_clock, client, monkeypatch):
    async def buggy(*_args, **_kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(client, "cert", buggy)
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError, match="a bug")):
        async with open_cert_manager(client, clock=virtual_clock) as manager:
            manager.ensure_domains([A, B])
            await trio.sleep(10)


async def test_a_tailscaled_with_one_lock_is_asked_for_one_certificate_at_a_time(autojump_clock):
    names = [f"n{n}.tail1234.ts.net" for n in range(20)]
    for version, at_once in [("1.100.0", 1), ("1.102.5", 8)]:
        async with (
            open_sandbox(version, cert_domains=names, clock=virtual_clock) as sandbox,
            LocalClient(sandbox.socket_path, clock=virtual_clock) as client,
            open_cert_manager(client, clock=virtual_clock) as manager,
        ):
            sandbox.add_fault(Fault.delay(10))
            manager.ensure_domains(names)
            await trio.sleep(5)
            states = [each.state for each in manager.statistics().domains]
            assert states.count(DomainState.REQUESTING) == at_once
            assert states.count(DomainState.QUEUED) == 20 - at_once


async def test_statistics_are_a_snapshot_sorted_by_name(autojump_clock, sandbox, client):
    async with open_cert_manager(client, clock=virtual_clock) as manager:
        manager.ensure_domains([B, A, C])
        before = manager.statistics()
        await trio.sleep(1)
        after = manager.statistics()
    assert [each.domain for each in after.domains] == [A, B, C]
    assert before[A].state is DomainState.WAITING
    assert before.cert_domains is None
    assert after[A].state is DomainState.ISSUED
    assert after.cert_domains == {A, B}
    assert after.bus_connected
    with pytest.raises(KeyError):
        after["x.ts.net"]
