"""The service as a whole, in virtual time."""

import json
import logging
from datetime import timedelta

import attrs
import pytest
import trio
from conftest import A, B, C, cert_times, virtual_clock

from tscert_trio import DomainState, LocalClient, ReadOnlyStoreError, Scope
from tscert_trio.sandbox import Fault
from tscert_trio.service import serve
from tscert_trio.settings import Settings


def config(*names):
    """A serve config with a Service for each name."""
    return {"Services": {f"svc:{n}": {"Web": {f"{name}:443": {}}} for n, name in enumerate(names)}}


NODE_CONFIG = {"TCP": {"443": {"HTTPS": True}}, "Web": {f"{B}:443": {}}}


@pytest.fixture
async def start(sandbox, nursery):
    """Start the service on the sandbox with some settings; return its manager."""

    async def start(**settings):
        complete = attrs.evolve(Settings(socket=sandbox.socket_path), **settings)
        return await nursery.start(
            lambda task_status: serve(complete, clock=virtual_clock, task_status=task_status)
        )

    return start


def states(manager):
    return {each.domain: each.state for each in manager.statistics().domains}


async def test_it_follows_the_serve_config_of_tailscaled(autojump_clock, sandbox, start):
    sandbox.set_serve_config(config(A))
    manager = await start()
    await trio.sleep(10)
    assert states(manager) == {A: DomainState.ISSUED}
    sandbox.set_serve_config(config(A, B))
    await trio.sleep(2)
    assert states(manager) == {A: DomainState.ISSUED, B: DomainState.ISSUED}
    sandbox.set_serve_config(config(B))
    await trio.sleep(2)
    assert states(manager) == {B: DomainState.ISSUED}
    assert cert_times(sandbox, A) == [0]


async def test_a_change_that_the_bus_does_not_tell_is_seen_within_the_interval(
    autojump_clock, sandbox, start
):
    manager = await start(poll_interval=timedelta(seconds=30))
    await trio.sleep(10)
    sandbox.drop_watchers()
    await sandbox.stop()
    await sandbox.start()
    sandbox.drop_next_message()
    sandbox.set_serve_config(config(A))
    await trio.sleep(31)
    assert states(manager) == {A: DomainState.ISSUED}


@pytest.mark.parametrize(("scope", "expected"), [(Scope.ALL, {B}), (Scope.SERVICES, set())])
async def test_the_nodes_own_names_count_unless_only_services_are_asked_for(
    autojump_clock, sandbox, start, scope, expected
):
    sandbox.set_serve_config(NODE_CONFIG)
    manager = await start(scope=scope)
    await trio.sleep(2)
    assert states(manager).keys() == expected


async def test_names_come_from_all_sources_together_through_the_filter(
    autojump_clock, sandbox, start, tmp_path
):
    path = tmp_path / "serve.json"
    path.write_text(json.dumps(config(B, "secret.tail1234.ts.net")))
    manager = await start(serve_config=path, self_name=True, domains=(C,), exclude=("secret.*",))
    await trio.sleep(2)
    assert states(manager).keys() == {A, B, C}
    assert not [call for call in sandbox.calls if "secret" in call.path]


async def test_without_a_name_it_says_so_once_in_one_line_that_shows_self(
    autojump_clock, sandbox, start, caplog
):
    with caplog.at_level(logging.INFO):
        await start()
        await trio.sleep(600)
    (line,) = [record.getMessage() for record in caplog.records if "no name" in record.getMessage()]
    assert "tscert-trio run --self" in line


async def test_when_the_filter_leaves_no_name_it_says_that(autojump_clock, sandbox, start, caplog):
    sandbox.set_serve_config(config(A))
    with caplog.at_level(logging.INFO):
        await start(only=("*.other.ts.net",))
        await trio.sleep(2)
    assert "--only and --not let none through" in caplog.text
    assert cert_times(sandbox) == []


async def test_names_that_leave_are_given_up_though_another_source_is_not_known_yet(
    autojump_clock, sandbox, start
):
    sandbox.set_serve_config(config(A))
    sandbox.add_fault(Fault.answer(500, "no", endpoint="status"))
    manager = await start(self_name=True)
    await trio.sleep(2)
    assert states(manager).keys() == {A}
    sandbox.set_serve_config(None)
    await trio.sleep(31)
    assert states(manager) == {}


async def test_a_reader_replica_looks_every_five_minutes_orders_nothing_and_says_why(
    autojump_clock, sandbox, start, caplog
):
    """Another replica issues, into a store that both share."""
    sandbox.set_serve_config(config(A))
    sandbox.set_read_only(True)
    settings = Settings.load({}, {"TS_EXPERIMENTAL_CERT_SHARE": "true", "POD_NAME": "proxy-1"})
    with caplog.at_level("INFO"):
        manager = await start(reader_reason=settings.reader_reason)
    await trio.sleep(1)
    assert isinstance(manager.statistics()[A].last_error, ReadOnlyStoreError)
    await trio.sleep(600)
    assert cert_times(sandbox, A) == pytest.approx([0, 300, 600], abs=1)
    assert "this replica only reads certificates" in caplog.text
    assert "POD_NAME is 'proxy-1'" in caplog.text

    sandbox.set_read_only(False)  # the other replica issues
    async with LocalClient(sandbox.socket_path) as other:
        issued = (await other.cert(A)).leaf
    sandbox.set_read_only(True)
    await trio.sleep(301)
    assert manager.statistics()[A].leaf == issued
    assert states(manager) == {A: DomainState.ISSUED}
    assert len(sandbox.orders) == 1


async def test_a_tailscaled_that_is_away_at_start_is_no_error(autojump_clock, sandbox, start, caplog):
    sandbox.set_serve_config(config(A))
    await sandbox.stop()
    manager = await start()
    await trio.sleep(600)
    assert states(manager) == {}
    await sandbox.start()
    await trio.sleep(61)
    assert states(manager) == {A: DomainState.ISSUED}
    (line,) = [r.getMessage() for r in caplog.records if "no such socket" in r.getMessage()]
    assert "systemctl start tailscaled" in line


async def test_a_broken_source_stops_nothing(autojump_clock, sandbox, start, tmp_path):
    path = tmp_path / "serve.json"
    path.write_text(json.dumps(config(A)))
    manager = await start(serve_config=path, refresh_interval=timedelta(hours=1))
    await trio.sleep(2)
    path.write_text("{")
    await trio.sleep(7200)
    assert states(manager) == {A: DomainState.ISSUED}
    assert cert_times(sandbox) == [0, 3600, 7200]


async def test_for_a_name_that_is_a_guest_nothing_is_ordered(autojump_clock, sandbox, start):
    """Rule 13: of a certificate that is not known yet nothing can be seen without ordering one."""
    await start(domains=(A, B), guests=("b*",))
    await trio.sleep(3600)
    assert cert_times(sandbox, A)
    assert cert_times(sandbox, B) == []
