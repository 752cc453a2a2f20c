"""A fake tailscaled, and a manager with cert loops on it, on Trio's virtual clock."""

from __future__ import annotations

import math
import os
import re

if os.environ.get("TSCERT_TEST_HTTPX2"):  # before anything imports httpx
    import httpx2

    httpx2.alias_httpx()

from datetime import UTC, datetime, timedelta

import hypothesis
import pytest
import trio
import trio.testing

from tscert_trio import LocalClient
from tscert_trio.sandbox import open_sandbox

# Hypothesis builds its table of characters at the first draw, which takes seconds on a fresh machine; and on
# a loaded one any example may take longer than its deadline of 0.2 s.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")

A, B, C = (f"{letter}.tail1234.ts.net" for letter in "abc")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def virtual_clock() -> datetime:
    """Return a wall clock that goes with Trio's, so that both are exact under MockClock."""
    return EPOCH + timedelta(seconds=trio.current_time())


def cert_times(sandbox, domain=A):
    """Return when each certificate was asked for, in seconds since the test began."""
    return [
        (call.at - EPOCH).total_seconds()
        for call in sandbox.calls
        if call.path == f"/localapi/v0/cert/{domain}"
    ]


def calls_of(sandbox, endpoint):
    """Return when an endpoint was asked, in seconds since the test began."""
    return [(call.at - EPOCH).total_seconds() for call in sandbox.calls if call.path.endswith(f"/{endpoint}")]


@pytest.fixture
async def sandbox():
    """A fake tailscaled of the newest release, on which A and B are CertDomains."""
    async with open_sandbox(cert_domains=[A, B], clock=virtual_clock) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox):
    """A client of it."""
    async with LocalClient(sandbox.socket_path, clock=virtual_clock) as client:
        yield client


async def wait_until_started():
    """Return when no process is being started, in a thread, any more."""
    limiter = trio.to_thread.current_default_thread_limiter()
    while limiter.borrowed_tokens:
        await trio.testing.wait_all_tasks_blocked(0.001)
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def patient_clock(autojump_clock, monkeypatch):
    """A virtual clock that stands still while a process runs, so that hooks take no time on it."""
    running, open_process = set(), trio.lowlevel.open_process

    def hold(process):
        running.add(process)
        autojump_clock.autojump_threshold = math.inf

    def let_go(process):
        running.discard(process)
        autojump_clock.autojump_threshold = math.inf if running else 0

    async def open_held(*args, **options):
        place = object()
        hold(place)
        try:
            process = await open_process(*args, **options)
        except BaseException:
            let_go(place)
            raise
        wait = process.wait

        async def wait_and_let_go():
            try:
                return await wait()
            finally:
                let_go(place)

        process.wait = wait_and_let_go
        return process

    monkeypatch.setattr(trio.lowlevel, "open_process", open_held)
    return autojump_clock


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let no test pass that has written a private key to a log or to its output."""
    report = yield
    written = "".join(text for _, text in report.sections)
    if report.passed and re.search("BEGIN [A-Z ]*PRIVATE KEY-----\\s*[A-Za-z0-9+/]", written):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} has written a private key"
    return report
