"""Fixtures of the contract suite. Each test runs on the sandbox and on tailscaled of each release."""

from __future__ import annotations

import functools
import inspect
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tscert_trio import LocalClient

from .servers import SERVERS, HAProxy, Nginx, PostgreSQL, PythonServer
from .stack.build import VERSIONS
from .stack.install import find_program
from .stack.stack import Stack, open_stack
from .tailnet import RealTailnet, Tailnet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from .server import Server

TEST_SECONDS = 180
"""How long a test may take; on a quiet machine it is a tenth of that."""

REAL_PROGRAMS = {"server", "nginx", "haproxy", "postgresql", "python_server", "program_of"}
"""Fixtures whose tests are left out by ``--no-real`` as a whole: nothing imitates these programs."""

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-real", action="store_true", help="leave out the tests on the real tailscaled")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if isinstance(item, pytest.Function) and here in item.path.parents]
    for item in ours:
        if inspect.iscoroutinefunction(item.obj):
            item.obj = _bounded(item.obj)
    if config.getoption("no_real", default=False):
        left_out = [item for item in ours if REAL_PROGRAMS.intersection(item.fixturenames)]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(**arguments: object) -> None:
        with trio.fail_after(TEST_SECONDS):
            await test(**arguments)

    return bounded


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "program" in metafunc.fixturenames:
        kinds = ["sandbox"] if metafunc.config.getoption("no_real", default=False) else ["sandbox", "real"]
        ids = [f"{kind}-{version}" for version in VERSIONS for kind in kinds]
        metafunc.parametrize("program", ids, indirect=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The control server and the CA, with the nodes that the session has asked for."""
    with open_stack() as stack:
        yield stack


@pytest.fixture
def program(request: pytest.FixtureRequest) -> str | RealTailnet:
    """The release of a sandbox to open, or a real tailnet."""
    kind, version = request.param.split("-")
    if kind == "sandbox":
        return str(version)
    stack: Stack = request.getfixturevalue("stack")
    return RealTailnet(stack, version)


@pytest.fixture
async def tailnet(program: str | RealTailnet) -> AsyncIterator[Tailnet]:
    """A tailnet in its first state: tailscaled runs and is logged in, without CertDomains or serve config."""
    if isinstance(program, RealTailnet):
        await program.reset()
        yield program
    else:
        from .sandbox_tailnet import open_sandbox_tailnet

        async with open_sandbox_tailnet(program) as tailnet:
            yield tailnet


@pytest.fixture
async def client(tailnet: Tailnet) -> AsyncIterator[LocalClient]:
    async with LocalClient(tailnet.socket_path) as client:
        yield client


@pytest.fixture
def domain() -> str:
    """A name that no other test uses."""
    return f"d{next(_numbers)}.tn.ts.net"


@pytest.fixture(params=SERVERS, ids=lambda kind: kind.__name__)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Each server in turn, not yet started and without a certificate."""
    async with request.param() as server:
        yield server


@pytest.fixture
async def nginx() -> AsyncIterator[Nginx]:
    async with Nginx() as server:
        yield server


@pytest.fixture
async def haproxy() -> AsyncIterator[HAProxy]:
    async with HAProxy() as server:
        yield server


@pytest.fixture
async def postgresql() -> AsyncIterator[PostgreSQL]:
    async with PostgreSQL() as server:
        yield server


@pytest.fixture
async def python_server() -> AsyncIterator[PythonServer]:
    async with PythonServer() as server:
        yield server


@pytest.fixture(scope="session")
def program_of() -> Callable[[str], str]:
    """Return the path of a program, which has to be there."""
    return find_program
