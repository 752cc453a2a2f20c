"""A cert manager in a hurry, and what to wait for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from tscert_trio import CertManager, DomainState, LocalClient, RetryPolicy, open_cert_manager
from tscert_trio.schedule import NO_LIMITS

from .tailnet import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tscert_trio import LocalAPIError
    from tscert_trio.ari import RenewalInfoClient
    from tscert_trio.journal import Journal

REFRESH = timedelta(seconds=0.5)
QUICK_RETRIES = RetryPolicy(initial=timedelta(seconds=0.2), factor=1.5, maximum=timedelta(seconds=0.5))


@asynccontextmanager
async def quick_manager(
    client: LocalClient,
    *,
    issue_timeout: timedelta = timedelta(seconds=20),
    refresh_interval: timedelta = REFRESH,
    renewal_info: RenewalInfoClient | None = None,
    journal: Journal | None = None,
) -> AsyncIterator[CertManager]:
    """Open a cert manager that looks and retries twice a second, and keeps no limits of a CA."""
    async with open_cert_manager(
        client,
        retry_policy=QUICK_RETRIES,
        refresh_interval=refresh_interval,
        issue_timeout=issue_timeout,
        limits=NO_LIMITS,
        renewal_info=renewal_info,
        journal=journal,
    ) as manager:
        yield manager


async def issued(manager: CertManager, domain: str) -> int:
    """Wait until the last request for a name was a success; return the serial number."""
    await until(lambda: manager.statistics()[domain].state is DomainState.ISSUED)
    leaf = manager.statistics()[domain].leaf
    assert leaf is not None
    assert leaf.names == (domain,)
    return leaf.serial_number


async def renewed(manager: CertManager, domain: str, old: int) -> int:
    """Wait until another certificate has been seen; return its serial number."""

    def serial() -> int:
        leaf = manager.statistics()[domain].leaf
        return leaf.serial_number if leaf is not None else old

    await until(lambda: serial() != old)
    return serial()


async def failed(manager: CertManager, domain: str, error: type[LocalAPIError]) -> None:
    """Wait until a request for a name has failed in this way."""
    await until(lambda: type(manager.statistics()[domain].last_error) is error)


async def asked_again(manager: CertManager, domain: str) -> None:
    """Wait until two further requests for a name have been sent, so that one at least has been answered."""
    attempts = manager.statistics()[domain].attempts
    await until(lambda: manager.statistics()[domain].attempts >= attempts + 2)
