"""A fake tailscaled, and a manager with cert loops on it, on Trio's virtual clock."""

from __future__ import annotations

import os

if os.environ.get("TSCERT_TEST_HTTPX2"):  # before anything imports httpx
    import httpx2

    httpx2.alias_httpx()

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from tscert_trio import LocalClient
from tscert_trio.sandbox import open_sandbox

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
