"""What the service knows after it was ended or killed, on every release, on the real clock."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import trio

from tscert_trio import Attempt, LocalClient
from tscert_trio.journal import open_state_folder

from .managers import issued, quick_manager
from .tailnet import until
from .wiretap import open_wiretap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .tailnet import Tailnet

BACKOFF = timedelta(seconds=5)


def command(domain: str, socket: Path, state: Path) -> list[str]:
    """Return the command of the service."""
    options = {"--socket": socket, "--state": state, "--retry-initial": f"{BACKOFF.total_seconds():.0f}s"}
    words = [str(word) for option in options.items() for word in option]
    return [sys.executable, "-m", "tscert_trio", "run", domain, "--no-ari", *words]


@asynccontextmanager
async def open_process(argv: list[str]) -> AsyncIterator[trio.Process]:
    """Run a program, killed at the end; its output goes nowhere."""
    process = await trio.lowlevel.open_process(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def attempts_in(state: Path) -> tuple[Attempt, ...]:
    """Return what the journal of a service that has ended holds."""
    with open_state_folder(state) as journal:
        return journal.attempts()


async def test_a_kill_in_the_middle_of_an_issuance_is_a_failure_and_its_backoff_is_kept(
    tailnet: Tailnet, domain: str, tmp_path: Path
) -> None:
    await tailnet.set_cert_domains(domain)
    await tailnet.control_hangs()
    async with open_wiretap(tailnet.socket_path) as tap:
        argv = command(domain, tap.socket_path, tmp_path)
        async with open_process(argv) as killed:
            with trio.fail_after(60):
                while await tailnet.orders(domain) == 0:  # noqa: ASYNC110 -- it is in another process
                    await trio.sleep(0.01)
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
        (first,) = attempts_in(tmp_path)
        assert (first.domain, first.request, first.ended_at) == (domain, "issue", None)
        await tailnet.repair()

        async with open_process(argv) as restarted:
            await until(lambda: len(tap.of("watch-ipn-bus")) == 2)  # it works

            other = await trio.run_process(argv, check=False, capture_stdout=True, capture_stderr=True)
            (line,) = (other.stdout + other.stderr).decode().splitlines()
            assert other.returncode == 1
            assert f"held by another tscert-trio, process {restarted.pid};" in line

            await until(lambda: tap.of(f"cert/{domain}")[-1].status == 200)
            restarted.terminate()
            with trio.fail_after(60):
                assert await restarted.wait() == 0
        assert len(tap.of(f"cert/{domain}")) == 2
    first, second = attempts_in(tmp_path)
    assert first.outcome == "IssuanceError"
    assert "killed during this request" in (first.text or "")
    assert first.ended_at is not None
    assert first.started_at < first.ended_at < second.started_at
    assert second.started_at - first.started_at >= BACKOFF
    assert second.outcome == "issued"
    assert await tailnet.orders(domain) == 2


async def test_after_a_restart_a_healthy_certificate_is_looked_at_and_nothing_is_ordered(
    tailnet: Tailnet, domain: str, tmp_path: Path
) -> None:
    await tailnet.set_cert_domains(domain)
    serials = []
    async with open_wiretap(tailnet.socket_path) as tap, LocalClient(tap.socket_path) as client:
        for calls in (1, 2):
            with open_state_folder(tmp_path) as journal:
                async with quick_manager(
                    client, refresh_interval=timedelta(hours=24), journal=journal
                ) as manager:
                    manager.ensure_domains({domain})
                    serials.append(await issued(manager, domain))
                    assert [one.status for one in tap.of(f"cert/{domain}")] == [200] * calls
                    assert [one.outcome for one in journal.attempts()] == ["issued"]
    assert serials[0] == serials[1]
    assert await tailnet.orders(domain) == 1
