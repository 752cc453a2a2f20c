"""Where wanted names come from, and that the last good ones stay while a source is broken."""

import json
import logging

import pytest
import trio
from conftest import A, B, C, calls_of, virtual_clock

from tscert_trio import LocalClient, Scope
from tscert_trio.hints import Hints
from tscert_trio.sandbox import Fault, open_sandbox
from tscert_trio.sources import FixedNames, NodeName, ServeConfigFile, ServedNames


def config(*names):
    return {"Services": {f"svc:{n}": {"Web": {f"{name}:443": {}}} for n, name in enumerate(names)}}


@pytest.fixture
async def running(nursery):
    """Start a source; return its wanted names and the hints it follows."""

    def start(source):
        hints = Hints()
        nursery.start_soon(source.run, hints)
        return source.names.value, hints

    return start


async def test_served_names_are_asked_every_interval_and_at_once_after_a_hint(
    autojump_clock, sandbox, client, running
):
    sandbox.set_serve_config(config(A))
    wanted, hints = running(ServedNames(client, Scope.ALL, interval=30))
    assert wanted.value is None
    await trio.sleep(5)
    assert wanted.value == {A}
    sandbox.set_serve_config(config(A, B))
    hints.give()
    await trio.sleep(1)
    assert wanted.value == {A, B}
    sandbox.set_serve_config(None)
    await trio.sleep(30)
    assert wanted.value == set()
    assert calls_of(sandbox, "serve-config") == [0, 5, 35]


async def test_an_unchanged_serve_config_is_not_read_again(autojump_clock, sandbox, client):
    sandbox.set_serve_config(config(A))
    fetched = await client.serve_config()
    assert fetched.config.domains() == {A}
    assert await client.serve_config(known_etag=fetched.etag) is None
    sandbox.set_serve_config(config(B))
    assert (await client.serve_config(known_etag=fetched.etag)).config.domains() == {B}


async def test_a_serve_config_that_cannot_be_read_leaves_the_last_good_names_and_is_told_once(
    autojump_clock, sandbox, client, running, caplog
):
    sandbox.set_serve_config(config(A))
    wanted, _hints = running(ServedNames(client, Scope.ALL, interval=30))
    await trio.sleep(1)
    sandbox.set_serve_config(config("no-port:"))
    sandbox.set_serve_config({"Services": {"svc:x": {"Web": {"no-port": {}}}}})
    with caplog.at_level(logging.INFO):
        await trio.sleep(300)
        assert wanted.value == {A}
        (record,) = caplog.records
        assert "missing port" in record.getMessage()
        assert "its last good names stay" in record.getMessage()
        sandbox.set_serve_config(config(B))
        await trio.sleep(30)
    assert wanted.value == {B}
    assert "can be read again" in caplog.text


async def test_an_interval_below_a_second_is_no_error_and_asks_once_a_second(
    autojump_clock, sandbox, client, running
):
    running(ServedNames(client, Scope.ALL, interval=0.5))
    await trio.sleep(3.5)
    assert calls_of(sandbox, "serve-config") == [0, 1, 2, 3]


async def test_each_outage_of_a_source_is_told_and_its_end_too(
    autojump_clock, sandbox, client, running, caplog
):
    sandbox.set_serve_config(config(A))
    running(ServedNames(client, Scope.ALL, interval=30))
    await trio.sleep(1)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            sandbox.add_fault(Fault.answer(500, "no", endpoint="serve-config", count=2))
            await trio.sleep(120)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2


async def test_a_placeholder_costs_one_question_a_second_however_much_the_bus_talks(
    autojump_clock, sandbox, client, running, tmp_path
):
    path = tmp_path / "serve.json"
    path.write_text('{"TCP":{"443":{"HTTPS":true}},"Web":{"${TS_CERT_DOMAIN}:443":{}}}')
    _wanted, hints = running(ServeConfigFile(path, Scope.ALL, client))
    for _ in range(100):
        await trio.sleep(0.1)
        hints.give()
    assert len(calls_of(sandbox, "status")) <= 11


async def test_a_file_is_followed_within_two_seconds(autojump_clock, client, running, tmp_path):
    path = tmp_path / "serve.json"
    path.write_text(json.dumps(config(A)))
    wanted, _hints = running(ServeConfigFile(path, Scope.ALL, client))
    await trio.sleep(1)
    assert wanted.value == {A}
    path.write_text(json.dumps(config(B)))
    await trio.sleep(2)
    assert wanted.value == {B}


async def test_a_configmaps_symlink_swap_is_seen(autojump_clock, client, running, tmp_path):
    """The kubelet swaps a folder's link; the path of the file stays."""
    for version, name in (("..v1", A), ("..v2", B)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "serve.json").write_text(json.dumps(config(name)))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "serve.json").symlink_to("..data/serve.json")
    wanted, _hints = running(ServeConfigFile(tmp_path / "serve.json", Scope.ALL, client))
    await trio.sleep(1)
    assert wanted.value == {A}
    (tmp_path / "..data_tmp").symlink_to("..v2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await trio.sleep(2)
    assert wanted.value == {B}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (None, "No such file or directory"),
        ("", "is empty"),
        (" \n", "is empty"),
        ('{"Services":{"svc:0":{"We', "line 1, column"),
        ('{"Services":[]}', "want a JSON object"),
        ('{"Services":{"svc:0":{"Web":{"x":{}}}}}', "missing port"),
    ],
    ids=["missing", "empty", "blank", "half-written", "wrong shape", "bad host:port"],
)
async def test_a_broken_file_keeps_the_last_good_names_and_says_so_once(
    autojump_clock, client, running, tmp_path, caplog, broken, message
):
    path = tmp_path / "serve.json"
    path.write_text(json.dumps(config(A)))
    wanted, _hints = running(ServeConfigFile(path, Scope.ALL, client))
    await trio.sleep(1)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    await trio.sleep(60)
    assert wanted.value == {A}
    (record,) = caplog.records
    assert message in record.getMessage()
    assert str(path) in record.getMessage()
    assert "its last good names stay" in record.getMessage()
    path.write_text(json.dumps(config(B)))
    await trio.sleep(2)
    assert wanted.value == {B}


async def test_ts_cert_domain_in_a_file_is_the_first_cert_domain_and_follows_it(
    autojump_clock, sandbox, client, running, tmp_path
):
    path = tmp_path / "serve.json"
    path.write_text('{"TCP":{"443":{"HTTPS":true}},"Web":{"${TS_CERT_DOMAIN}:443":{}}}')
    wanted, hints = running(ServeConfigFile(path, Scope.ALL, client))
    await trio.sleep(1)
    assert wanted.value == {A}
    sandbox.set_cert_domains([C, A])
    hints.give()
    await trio.sleep(1)
    assert wanted.value == {C}
    sandbox.set_cert_domains([])
    hints.give()
    await trio.sleep(1)
    assert wanted.value == set()  # containerboot puts no-https there, which is no name


async def test_ts_cert_domain_waits_for_a_tailscaled_that_is_away(
    autojump_clock, sandbox, client, running, tmp_path, caplog
):
    path = tmp_path / "serve.json"
    path.write_text('{"TCP":{"443":{"HTTPS":true}},"Web":{"${TS_CERT_DOMAIN}:443":{}}}')
    await sandbox.stop()
    wanted, _hints = running(ServeConfigFile(path, Scope.ALL, client))
    await trio.sleep(60)
    assert wanted.value is None
    assert caplog.text == ""  # who follows the CertDomains says that it is away
    await sandbox.start()
    await trio.sleep(4)
    assert wanted.value == {A}


async def test_the_nodes_own_name_is_followed(autojump_clock, sandbox, client, running, caplog):
    wanted, hints = running(NodeName(client))
    await trio.sleep(1)
    assert wanted.value == {A}
    sandbox.add_fault(Fault.answer(500, "no", endpoint="status", count=1))
    hints.give()
    await trio.sleep(1)
    assert wanted.value == {A}
    assert "cannot learn the node's own name: no" in caplog.text


async def test_a_node_without_a_name_has_to_log_in_first(autojump_clock, sandbox, client, running, caplog):
    sandbox.logout()
    wanted, hints = running(NodeName(client))
    await trio.sleep(60)
    assert wanted.value is None
    assert "log in with tailscale up" in caplog.text
    sandbox.login()
    hints.give()
    await trio.sleep(1)
    assert wanted.value == {A}


async def test_a_node_whose_dns_name_is_no_cert_domain_takes_the_first_one(autojump_clock, nursery):
    """As containerboot does."""
    async with open_sandbox(cert_domains=[B, C], dns_name="box", clock=virtual_clock) as sandbox:
        async with LocalClient(sandbox.socket_path) as client:
            source = NodeName(client)
            nursery.start_soon(source.run, Hints())
            await trio.sleep(1)
            assert source.names.value.value == {B}


async def test_fixed_names_never_change(autojump_clock, running):
    wanted, hints = running(FixedNames([A, B]))
    hints.give()
    await trio.sleep(100)
    assert wanted.value == {A, B}
