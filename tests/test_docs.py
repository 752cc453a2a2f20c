"""The documentation has all that there is in the code, and what is written by hand is true."""

import argparse
import importlib.util
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import attrs
import pytest
import trio

import tscert_trio
from tscert_trio import errors, sandbox
from tscert_trio.cli.main import describe_default, make_parser
from tscert_trio.http_server import Response, serve_http
from tscert_trio.options import OPTIONS
from tscert_trio.settings import Settings
from tscert_trio.unix_listener import open_unix_listener

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.rst"))
LOCAL_API_ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.LocalAPIError)
]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load(ROOT / "docs/_extensions/tscert_reference.py")


def plain(text):
    """Take the backslashes out of reStructuredText."""
    return re.sub(r"\\(.)", r"\1", text)


def sections(text):
    """Return what stands below each title."""
    parts = re.split(r"^(\S.*)\n[-~]{3,}\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def all_commands(parser):
    """Yield the name of each command that can be run."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from list(all_commands(each)) or [each.prog]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.field)
def test_every_option_is_described_with_where_it_can_be_set_and_its_default(option):
    name = option.flag if option.flag.startswith("-") else option.metavar
    (text,) = [
        plain(body)
        for title, body in sections(reference.options()).items()
        if title.strip("`").split()[0] == name
    ]
    assert option.help in text
    assert f"``{option.variable}``" in text
    assert option.also is None or f"``{option.also}``" in text
    assert f":Default: {describe_default(option) or 'none'}" in text
    if option.is_in_file:
        assert f":Configuration file: ``{option.key}``\n" in text


@pytest.mark.parametrize("error", LOCAL_API_ERRORS, ids=lambda error: error.__name__)
def test_every_failure_is_described_with_its_meaning_and_remedy(error):
    texts = plain(reference.local_api_errors()).split(".. autoexception:: ")
    (text,) = [each for each in texts if each.startswith(f"tscert_trio.{error.__name__}\n")]
    assert error.__doc__
    assert f":Means: {error.meaning}\n" in text
    assert f":What to do: {error.remedy}\n" in text
    assert f":Reached the CA: { {True: 'yes', False: 'no', None: 'perhaps'}[error.reached_ca] }\n" in text
    assert f":Counted: {'yes' if error.counted else 'no'}\n" in text


def test_every_other_public_error_is_described():
    names = set(re.findall(r"tscert_trio\.(\w+)", reference.local_api_errors() + reference.other_errors()))
    assert names == {name for name in tscert_trio.__all__ if name.endswith("Error")}


def test_every_command_is_described_with_every_argument():
    described = sections(reference.commands())
    assert list(described) == list(all_commands(make_parser()))
    assert all(f".. option:: {option.flag}" in described["tscert-trio run"] for option in OPTIONS[1:])
    assert ".. option:: --min-validity DURATION" in described["tscert-trio cert"]
    assert ".. option:: --version" in reference.commands()


def test_a_command_that_knows_the_options_of_run_does_not_repeat_them():
    text = sections(reference.commands())["tscert-trio config show"]
    assert ".. option::" not in text
    assert all(f"``{option.flag}``" in text for option in OPTIONS[1:])


def test_metrics_are_described_from_their_table(monkeypatch):
    metric = attrs.make_class("Metric", ["name", "kind", "help", "labels"])
    module = types.ModuleType("metrics")
    module.METRICS = [metric("tscert_up", "gauge", "Whether *all* is well.", ("domain", "target"))]
    monkeypatch.setitem(sys.modules, "tscert_trio.status", types.ModuleType("tscert_trio.status"))
    monkeypatch.setitem(sys.modules, "tscert_trio.status.metrics", module)
    text = reference.metrics()
    assert "   * - ``tscert_up``\n     - gauge\n     - ``domain``, ``target``\n" in text
    assert "     - Whether \\*all\\* is well.\n" in text


def test_without_a_table_of_metrics_nothing_is_said_of_them(monkeypatch):
    monkeypatch.setattr(reference, "_METRICS", "tscert_trio.no_such_room.metrics")
    assert reference.metrics() == ""


@pytest.mark.parametrize("module", [tscert_trio, sandbox], ids=lambda module: module.__name__)
def test_every_public_name_of_the_library_is_described(module):
    text = "".join((ROOT / f"docs/reference/{page}.rst").read_text() for page in ("library", "sandbox"))
    described = re.findall(
        rf"^\.\. (?!automodule)[\w:]+:: {re.escape(module.__name__)}\.(\w+)$", text, re.MULTILINE
    )
    assert sorted(described) == sorted(name for name in module.__all__ if not name.endswith("Error"))


def blocks(page, language):
    """Return the code blocks of a page, wherever they are indented to."""
    found = re.findall(
        rf"^( *)\.\. code-block:: {language}\n(?:\1   :name: .*\n)?\n((?:\1   .*\n|\n)+)",
        page.read_text(),
        re.MULTILINE,
    )
    return [re.sub(rf"^{indent}   ", "", block, flags=re.MULTILINE) for indent, block in found]


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page.stem}-{n}")
        for page in PAGES
        for n, block in enumerate(blocks(page, "toml"))
    ],
)
def test_every_configuration_on_a_page_is_one(tmp_path, page, block):
    path = tmp_path / "config.toml"
    path.write_text(block)
    assert Settings.load({"config_file": str(path)}, {}).config_file == path


COMMANDS = "run|cert|config|sandbox|doctor|plan|status|events|renew"


def commands_on(page):
    text = re.sub(r" \\\n\s*", " ", page.read_text())
    return re.findall(
        rf"^ +(?:\$ |[A-Z_]+=\S+ )?(?:\S*/)?(tscert-trio (?:{COMMANDS})\b[^#\n]*)",
        text,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    ("page", "command"),
    [
        pytest.param(page, command, id=f"{page.stem}-{n}")
        for page in PAGES
        for n, command in enumerate(commands_on(page))
    ],
)
def test_every_command_on_a_page_is_understood(page, command):
    make_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize(
    "path",
    [
        "man/tscert-trio.1",
        "completion/tscert-trio.bash",
        "completion/_tscert-trio",
        "completion/tscert-trio.fish",
    ],
)
def test_what_the_wheel_ships_for_a_terminal_knows_every_command_and_option(path):
    text = (ROOT / "packaging" / path).read_text().replace("\\", "")
    for command in all_commands(make_parser()):
        assert command.split()[-1] in text
    flags = {option.flag for option in OPTIONS if option.flag.startswith("-")}
    assert all(flag in text or f"-l {flag[2:]}" in text for flag in flags)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--log-level", ""], {"debug", "info", "warning", "error"}),
        (["config", ""], {"check", "show"}),
        (["config", "show", "--pr"], {"--probe"}),
    ],
)
def test_bash_completes(words, expected):
    script = (
        'source packaging/completion/tscert-trio.bash; COMP_WORDS=(tscert-trio "$@"); COMP_CWORD=$#; '
        '_shtab_tscert_trio; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(done.stdout.split()) == expected


def test_the_container_runs_as_the_user_whom_the_pages_name():
    dockerfile = (ROOT / "packaging/docker/Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\d+):\d+$", dockerfile, re.MULTILINE)
    for path in ("packaging/docker/compose.yaml", "docs/howto/containers.rst"):
        (permitted,) = re.findall(r'TS_PERMIT_CERT_UID[=:] ?"?(\d+)', (ROOT / path).read_text())
        assert permitted == user


def test_the_container_has_a_place_for_the_status_socket_and_a_health_check():
    dockerfile = (ROOT / "packaging/docker/Dockerfile").read_text()
    (folder,) = re.findall(r"TSCERT_STATUS_SOCKET=(\S+)/status\.sock$", dockerfile, re.MULTILINE)
    assert re.search(rf"install -d -m 0755 -o tscert -g tscert {folder} ", dockerfile)
    (source, target) = re.findall(r"^COPY (packaging/\S+) (\S+)$", dockerfile, re.MULTILINE)[0]
    assert f"!{source}\n" in (ROOT / "packaging/docker/Dockerfile.dockerignore").read_text()
    assert re.search(rf'^HEALTHCHECK .* CMD \["python", "{target}", "/livez"\]$', dockerfile, re.MULTILINE)
    assert f'"{target}", "/readyz"' in (ROOT / "docs/howto/containers.rst").read_text()


@pytest.mark.parametrize(("path", "status"), [("/livez", 0), ("/readyz", 1), (None, 0)])
async def test_the_health_check_of_the_container_says_what_the_service_says(tmp_path, path, status):
    async def answer(request):
        await trio.lowlevel.checkpoint()
        status = 200 if request.path == "/livez" else 503
        return Response(status=status, body=f"this is {request.path}\n".encode())

    async with open_unix_listener(tmp_path / "s", mode=0o600) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, answer, [listener])
        done = await ask_health(tmp_path / "s", *filter(None, [path]))
        nursery.cancel_scope.cancel()
    assert (done.returncode, done.stdout) == (status, f"this is {path or '/livez'}\n".encode())


async def test_the_health_check_of_the_container_fails_where_no_service_answers(tmp_path):
    done = await ask_health(tmp_path / "s")
    assert done.returncode == 1
    assert done.stdout.startswith(b"the service does not answer on ")
    assert done.stderr == b""


async def ask_health(socket_path, *arguments):
    return await trio.run_process(
        [sys.executable, ROOT / "packaging/docker/healthcheck.py", *arguments],
        env={"TSCERT_STATUS_SOCKET": str(socket_path)},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
