"""The servers by themselves, each with the text of its recipe: they do what a delivery relies on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from certs import key_pem, make_cert, make_key

from tscert_trio import CertPair

from .recipes import DOMAIN, RECIPES
from .server import fingerprint_at, replace_file
from .servers import HAProxy, Nginx, PostgreSQL
from .systemctl import write_systemctl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .server import Server
    from .servers import PythonServer


@attrs.frozen
class Pair:
    """A certificate and its key."""

    chain_pem: bytes
    key_pem: bytes
    fingerprint: str


def make_pair(serial: int) -> Pair:
    key = make_key()
    pair = CertPair.from_pem(key_pem(key) + make_cert(key, DOMAIN, serial=serial))
    return Pair(pair.chain_pem, pair.key_pem, pair.leaf.fingerprint)


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
OLD, NEW = make_pair(1), make_pair(2)


async def start_with_old(server: Server) -> None:
    server.install(OLD.chain_pem, OLD.key_pem)
    await server.start()
    assert await server.served_fingerprint() == OLD.fingerprint


async def test_new_files_are_served_after_a_reload_and_not_before(server: Server) -> None:
    await start_with_old(server)
    server.install(NEW.chain_pem, NEW.key_pem)
    for _ in range(3):
        assert await server.served_fingerprint() == OLD.fingerprint
    await server.reload()
    await server.wait_until_served(NEW.fingerprint)
    assert server.is_running


async def test_its_pidfile_names_the_process_that_reloads_it(server: Server) -> None:
    await start_with_old(server)
    server.install(NEW.chain_pem, NEW.key_pem)
    server.signal(signal.SIGUSR2 if isinstance(server, HAProxy) else signal.SIGHUP)
    await server.wait_until_served(NEW.fingerprint)


async def test_a_stopped_server_serves_nothing_and_the_new_files_when_it_is_back(server: Server) -> None:
    await start_with_old(server)
    await server.stop()
    assert not server.is_running
    assert await server.served_fingerprint() is None
    server.install(NEW.chain_pem, NEW.key_pem)
    await server.start()
    assert await server.served_fingerprint() == NEW.fingerprint


async def test_a_server_without_a_certificate_does_not_start_and_says_why(server: Server) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with .*([Nn]o such file|unable to stat)"):
        await server.start()
    assert not server.is_running


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [(Nginx, "key values mismatch"), (HAProxy, "inconsistencies between private key and certificate")],
)
async def test_a_pair_that_does_not_fit_fails_the_reload_and_the_old_one_stays(
    kind: type[Server], complaint: str, program_of: object
) -> None:
    async with kind() as server:
        await start_with_old(server)
        server.install(NEW.chain_pem, OLD.key_pem)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            await server.reload()
        assert complaint in refused.value.stderr.decode()
        assert await server.served_fingerprint() == OLD.fingerprint
        server.install(NEW.chain_pem, NEW.key_pem)
        await server.reload()
        await server.wait_until_served(NEW.fingerprint)


async def test_postgresql_goes_on_after_a_reload_of_a_pair_that_does_not_fit(postgresql: PostgreSQL) -> None:
    await start_with_old(postgresql)
    postgresql.install(NEW.chain_pem, OLD.key_pem)
    await postgresql.reload()
    await postgresql.wait_for_log("SSL configuration was not reloaded")
    assert await postgresql.served_fingerprint() == OLD.fingerprint


@only_root
async def test_postgresql_takes_a_key_of_root_that_its_group_may_read(postgresql: PostgreSQL) -> None:
    await start_with_old(postgresql)
    replace_file(postgresql.key, NEW.key_pem, mode=0o640, owner="root", group=postgresql.user)
    replace_file(postgresql.certificate, NEW.chain_pem, mode=0o644)
    await postgresql.reload()
    await postgresql.wait_until_served(NEW.fingerprint)


@only_root
@pytest.mark.parametrize("mode", [0o600, 0o640])
async def test_postgresql_refuses_a_key_of_another_user_however_readable(
    postgresql: PostgreSQL, mode: int
) -> None:
    await start_with_old(postgresql)
    replace_file(postgresql.key, NEW.key_pem, mode=mode, owner="nobody", group=postgresql.user)
    await postgresql.reload()
    await postgresql.wait_for_log("must be owned by the database user or root")
    assert await postgresql.served_fingerprint() == OLD.fingerprint


async def test_postgresql_refuses_its_own_key_when_others_may_read_it(postgresql: PostgreSQL) -> None:
    await start_with_old(postgresql)
    postgresql.install(NEW.chain_pem, NEW.key_pem)
    postgresql.key.chmod(0o640)
    await postgresql.reload()
    await postgresql.wait_for_log("has group or world access")
    assert await postgresql.served_fingerprint() == OLD.fingerprint


async def test_postgresql_before_17_shows_no_certificate_to_a_client_that_begins_with_tls(
    postgresql: PostgreSQL,
) -> None:
    await start_with_old(postgresql)
    served = await fingerprint_at(postgresql.port, postgresql.domain)
    assert served == (OLD.fingerprint if await postgresql.version() >= 17 else None)


async def test_a_silent_client_does_not_keep_the_python_server_from_others(
    python_server: PythonServer,
) -> None:
    await start_with_old(python_server)
    async with await trio.open_tcp_stream("127.0.0.1", python_server.port):
        assert await python_server.served_fingerprint() == OLD.fingerprint


async def test_the_stand_in_for_systemctl_reloads_a_server_that_runs_and_leaves_others_alone(
    server: Server, tmp_path: Path
) -> None:
    calls = write_systemctl(tmp_path, {"it.service": server})
    command = [str(tmp_path / "systemctl"), "try-reload-or-restart"]
    await trio.run_process([*command, "it.service"])
    assert not server.is_running
    await start_with_old(server)
    server.install(NEW.chain_pem, NEW.key_pem)
    await trio.run_process([*command, "it.service"], capture_stdout=True, capture_stderr=True)
    await server.wait_until_served(NEW.fingerprint)
    unknown = await trio.run_process([*command, "other.service"], check=False, capture_stderr=True)
    assert (unknown.returncode, b"not found" in unknown.stderr) == (5, True)
    assert calls.read_text().splitlines()[-1] == "try-reload-or-restart other.service"


@pytest.mark.parametrize(
    ("kind", "connects_to"),
    [(Nginx, "-connect 127.0.0.1:443"), (PostgreSQL, "-starttls postgres -connect 127.0.0.1:5432")],
)
async def test_the_command_of_the_recipes_shows_what_is_served(
    kind: type[Server], connects_to: str, program_of: Callable[[str], str]
) -> None:
    program_of("openssl")
    (command,) = re.findall(
        rf"^    (openssl s_client {re.escape(connects_to)}.*\n.*)$", RECIPES.read_text(), re.MULTILINE
    )
    async with kind() as server:
        await start_with_old(server)
        command = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{server.port}", command)
        said = await trio.run_process(command, shell=True, capture_stdout=True)
    assert f"sha256 fingerprint={OLD.fingerprint}" in said.stdout.decode().replace(":", "").lower()
