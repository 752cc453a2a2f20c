"""The README is true: its commands, its options and its examples."""

import importlib
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import trio
from tls import ask, client_context

from tscert_trio import LocalClient, Scope, ServeConfig, open_cert_manager
from tscert_trio.option_values import parse_duration
from tscert_trio.options import OPTIONS
from tscert_trio.sandbox import open_sandbox
from tscert_trio.schedule import Mode
from tscert_trio.settings import Settings

README = (Path(__file__).parent.parent / "README.rst").read_text()


def code_blocks():
    return [
        re.sub(r"^    ", "", block, flags=re.MULTILINE)
        for block in re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README)
    ]


def test_it_begins_with_the_two_commands():
    commands = [line.strip() for line in README.splitlines() if line.startswith("    python3 -m venv")]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/tscert-trio run --sandbox",
        "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox",
    ]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.field)
def test_every_option_is_in_its_table_with_its_default(option):
    name = re.escape(option.flag.replace("domains", "DOMAIN"))
    row = re.search(rf"^``{name}\b.*\n(?: {{20}}.*\n)*", README, re.MULTILINE)
    assert row, f"{option.flag} is missing"
    default = re.search(r"\(default:\s+(\w+)\)", row[0])
    if default:
        value = getattr(Settings(), option.field)
        assert option.parse(default[1]) == value
    if option.also:
        assert option.also in README


def test_its_commands_are_understood():
    parser = importlib.import_module("tscert_trio.cli.main").make_parser()
    commands = "run|cert|sandbox|config|doctor|plan|status|renew|events"
    for line in re.findall(rf"^    (tscert-trio (?:{commands})[^#\n]*)", README, re.MULTILINE):
        parser.parse_args(shlex.split(line)[1:])


async def test_the_library_example_runs(monkeypatch, capsys):
    example = next(block for block in code_blocks() if "ServeConfig" in block)
    async with open_sandbox(cert_domains=["box.tail1234.ts.net"]) as sandbox:
        monkeypatch.setenv("TS_SOCKET", str(sandbox.socket_path))
        namespace = {}
        exec(example.replace("trio.run(main)", ""), namespace)
        await namespace["main"]()
    assert "box.tail1234.ts.net" in capsys.readouterr().out


async def test_the_server_example_runs(monkeypatch):
    example = next(block for block in code_blocks() if "serve_ssl_over_tcp" in block)
    name = "box.tail1234.ts.net"
    async with open_sandbox(cert_domains=[name]) as sandbox, trio.open_nursery() as nursery:
        monkeypatch.setenv("TS_SOCKET", str(sandbox.socket_path))
        namespace = {}
        exec(example.replace("trio.run(main)", ""), namespace)
        (listener, *_) = await nursery.start(partial(namespace["main"], port=0))
        port = listener.transport_listener.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port) as no_tls:
            await no_tls.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await no_tls.receive_some()
        clients = client_context(sandbox, alpn=["h2", "http/1.1"])
        serial_number, answer, stream = await ask(port, clients, name, b"hello")
        assert (serial_number, answer) == (sandbox.certificate(name).serial_number, b"hello")
        assert stream.selected_alpn_protocol() == "http/1.1"
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_the_test_example_runs(autojump_clock):
    example = next(block for block in code_blocks() if "open_sandbox" in block)
    namespace = {"LocalClient": LocalClient, "open_cert_manager": open_cert_manager, "trio": trio}
    exec(example, namespace)
    await namespace["test_a_failure_is_retried_after_a_minute"](autojump_clock)


def test_the_serve_config_example_is_one():
    (block,) = re.findall(r"\.\. code-block:: json\n\n((?:    .*\n)+)", README)
    names = ServeConfig.from_json(block).domains(Scope.ALL)
    assert names == {"shop.tail1234.ts.net", "box.tail1234.ts.net"}


def test_the_configuration_example_is_understood_and_says_what_the_text_does(tmp_path):
    (block,) = re.findall(r"\.\. code-block:: toml\n\n((?:    .*\n|\n)+)", README)
    (tmp_path / "config.toml").write_text(re.sub(r"^    ", "", block, flags=re.MULTILINE))
    settings = Settings.load({"config_file": str(tmp_path / "config.toml")}, {})
    assert (settings.self_name, settings.retry_max) == (True, parse_duration("12h"))
    assert settings.mode_of("old-box.tail1234.ts.net") is Mode.GUEST
    assert [target.name for target in settings.targets] == ["nginx.service", "mail", "haproxy", "java"]
    assert f"good, {len(settings.targets)} targets" in README
    files, reload = re.findall(r"# the same as --files (\S+) --reload (\S+)", README)[0]
    (same,) = Settings.load({"target_files": files, "target_reload": reload}, {}).targets
    assert settings.targets[0] == same


def test_durations_of_the_text_are_durations():
    (sentence,) = re.findall(r"A\s+duration is written ([^.]*)\.", README)
    durations = re.findall(r"``(\w+)``", sentence)
    assert len(durations) == 6
    assert all(map(parse_duration, durations))
