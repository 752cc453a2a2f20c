"""What a type checker makes of the public API; checked by mypy, never run."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from typing import assert_type

from tscert_trio import (
    CertChain,
    CertManager,
    CertPair,
    DomainState,
    FetchedServeConfig,
    LocalAPI,
    LocalAPIError,
    LocalClient,
    RateLimitedError,
    RetryPolicy,
    ServeConfig,
    Status,
    open_cert_manager,
)
from tscert_trio.sandbox import Fault, Sandbox, open_sandbox


async def use_client(client: LocalClient) -> None:
    api: LocalAPI = client
    assert_type(await api.cert("a.ts.net", min_validity=timedelta(days=1)), CertChain)
    assert_type(await client.cert_pair("a.ts.net"), CertPair)
    assert_type(await client.cert_domains(), frozenset[str])
    assert_type(await client.status(), Status)
    assert_type(await client.serve_config(known_etag="x"), FetchedServeConfig | None)
    async with client.watch_ipn_bus() as messages:
        async for fields in messages:
            assert_type(fields, frozenset[str])


async def use_manager(client: LocalClient) -> None:
    policy = RetryPolicy(initial=timedelta(seconds=10), factor=10)
    async with open_cert_manager(client, retry_policy=policy) as manager:
        assert_type(manager, CertManager)
        manager.ensure_cert_loops(ServeConfig.from_json("{}"))
        statistics = manager.statistics()["a.ts.net"]
        assert_type(statistics.state, DomainState)
        assert_type(statistics.last_error, LocalAPIError | None)
        assert_type(statistics.next_attempt_at, datetime | None)
        if isinstance(statistics.last_error, RateLimitedError):
            assert_type(statistics.last_error.retry_after, timedelta | None)
        if statistics.leaf is not None:
            assert_type(statistics.leaf.not_after, datetime)


async def use_server_contexts(manager: CertManager) -> None:
    assert_type(await manager.ssl_context("a"), ssl.SSLContext)
    assert_type(await manager.sni_context(default="a.ts.net"), ssl.SSLContext)
    seen = manager.news.count
    await manager.news.wait(seen)


async def use_sandbox() -> None:
    async with open_sandbox(cert_domains=["a.ts.net"]) as sandbox:
        assert_type(sandbox, Sandbox)
        sandbox.add_fault(Fault.control("away", count=1))
