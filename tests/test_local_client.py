"""The client against a server that says anything: nothing hangs, grows, or is taken for an answer."""

import errno
import json
import logging
import math
import os
import socket
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import trio
import trio.testing
from raw_server import answer, open_raw_server, read_request, saying

from tscert_trio import (
    AccessDeniedError,
    IssuanceError,
    IssuanceTimeoutError,
    LocalAPIError,
    LocalClient,
    NoAnswerError,
    NotACertDomainError,
    ProtocolError,
    RateLimitedError,
    UnreachableError,
)
from tscert_trio.localapi.transport import UnixTransport

NAME = "box.tail1234.ts.net"


async def ask(handler, call=lambda client: client.cert(NAME)):
    """Return what a call brings, or raise what it raises, outside the server's nursery."""
    async with open_raw_server(handler) as path, LocalClient(path) as client:
        try:
            return await call(client)
        except LocalAPIError as exc:
            error = exc
    raise error


async def test_a_request_is_what_tailscaled_accepts():
    """Only this Host is let in, and nothing of a browser's headers (``ipn/localapi/localapi.go``)."""
    heads = []

    async def handler(stream):
        heads.append(await read_request(stream))
        await stream.send_all(answer(404, b"404 page not found\n"))

    with pytest.raises(IssuanceError):
        await ask(handler, lambda client: client.cert(NAME, min_validity=timedelta(hours=720)))
    assert b"".join(heads) == (
        b"GET /localapi/v0/cert/box.tail1234.ts.net?type=crt&min_validity=2592000.000000s HTTP/1.1\r\n"
        b"Host: local-tailscaled.sock\r\nConnection: close\r\n\r\n"
    )


async def test_a_name_cannot_reach_another_endpoint():
    heads = []

    async def handler(stream):
        heads.append(await read_request(stream))
        await stream.send_all(answer(500, b"invalid domain\n"))

    with pytest.raises(NotACertDomainError):
        await ask(handler, lambda client: client.cert("../../v0/logout?x=#"))
    assert heads[0].startswith(b"GET /localapi/v0/cert/..%2F..%2Fv0%2Flogout%3Fx%3D%23?type=crt ")


@pytest.mark.parametrize(
    ("pieces", "error", "text"),
    [
        ([], UnreachableError, "ended without an answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Le"], UnreachableError, "ended without an answer"),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"],
            ProtocolError,
            "in the middle of the answer",
        ),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf"],
            ProtocolError,
            "in the middle of the answer",
        ),
        ([b"SSH-2.0-OpenSSH\r\n\r\n"], ProtocolError, "no HTTP"),
        ([answer(200, b"hello")], ProtocolError, "no certificate"),
        ([answer(200, b"")], ProtocolError, "no certificate"),
        ([answer(200, b"x" * (1 << 20) + b"x")], ProtocolError, "larger than 1 MiB"),
        ([answer(500, b"x" * (1 << 21))], ProtocolError, "larger than 1 MiB"),
        ([answer(500, b"")], IssuanceError, "HTTP status 500 without a text"),
        ([answer(500, b"two\nlines\xff\n")], IssuanceError, "two lines"),
        ([answer(403, b"cert access denied\n")], AccessDeniedError, "cert access denied"),
    ],
)
async def test_an_answer_that_is_none_becomes_its_class_with_one_line(pieces, error, text):
    with pytest.raises(LocalAPIError) as caught:
        await ask(saying(*pieces))
    assert type(caught.value) is error
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_informational_answer_before_the_answer_is_passed_over():
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert await ask(saying(early, answer(200, b'["a"]')), lambda client: client.cert_domains()) == {"a"}


async def test_a_body_without_end_is_given_up_after_1_mib():
    sent = 0

    async def handler(stream):
        nonlocal sent
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536

    with pytest.raises(ProtocolError, match="larger than 1 MiB"):
        await ask(handler)
    assert sent < 3 << 20


async def test_a_key_where_none_was_asked_for_is_refused_and_never_shown(caplog):
    secret = b"-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n"
    for call in (lambda client: client.cert(NAME), lambda client: client.cert_pair(NAME)):
        with caplog.at_level(logging.DEBUG), pytest.raises(ProtocolError) as caught:
            await ask(saying(answer(200, secret)), call)
        assert "c2VjcmV0" not in str(caught.value) + repr(caught.value) + caplog.text


async def test_when_patience_ends_the_request_is_half_closed_and_the_reason_read(autojump_clock):
    """A real tailscaled hides a rate limit behind a request that hangs, and tells it when asked to stop."""

    async def handler(stream):
        await read_request(stream)
        assert await stream.receive_some() == b""  # the half-close
        await trio.sleep(0.012)
        body = b"429 urn:ietf:params:acme:error:rateLimited: too many certificates"
        await stream.send_all(answer(429, body, b"Retry-After: 3600"))

    with pytest.raises(RateLimitedError) as caught:
        await ask(handler, lambda client: client.cert(NAME, patience=timedelta(seconds=300)))
    assert caught.value.retry_after == timedelta(hours=1)
    assert trio.current_time() == pytest.approx(300.012)


async def test_a_half_closed_request_may_still_bring_half_an_answer_only_for_five_seconds(autojump_clock):
    async def handler(stream):
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nslow")
        await trio.sleep_forever()

    with pytest.raises(IssuanceTimeoutError, match="no answer in time"):
        await ask(handler, lambda client: client.cert(NAME, patience=timedelta(seconds=10)))
    assert trio.current_time() == 15


async def test_a_query_without_an_answer_ends_after_ten_seconds_and_the_grace(autojump_clock):
    async def handler(stream):
        await trio.sleep_forever()

    with pytest.raises(NoAnswerError, match=r"no answer within 10s$"):
        await ask(handler, lambda client: client.status())
    assert trio.current_time() == 15


@pytest.mark.parametrize(
    ("seconds", "said", "told"),
    [(math.inf, b"context canceled", "no answer within 10s"), (3, b"context deadline exceeded", "deadline")],
)
@pytest.mark.parametrize("call", [LocalClient.status, LocalClient.prefs, LocalClient.serve_config])
async def test_a_query_that_is_given_up_is_no_issuance_that_was(autojump_clock, call, seconds, said, told):
    """Who is told to give up says "context canceled": our own doing."""

    async def handler(stream):
        await read_request(stream)
        with trio.move_on_after(seconds):
            assert await stream.receive_some() == b""  # half-closed
        await stream.send_all(answer(500, said))

    with pytest.raises(LocalAPIError, match=told) as caught:
        await ask(handler, call)
    assert not isinstance(caught.value, IssuanceTimeoutError)
    assert "CA" not in caught.value.meaning
    assert trio.current_time() == pytest.approx(min(seconds, 10))


async def test_cancelling_a_call_closes_its_connection_at_once(autojump_clock):
    closed_at = []

    async def handler(stream):
        await read_request(stream)
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")  # closed, not half-closed
        closed_at.append(trio.current_time())

    async with open_raw_server(handler) as path, LocalClient(path) as client:
        with trio.move_on_after(3):
            await client.cert(NAME)
        await trio.sleep(1)
    assert closed_at == [3]


async def test_what_is_wrong_with_the_socket_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # sun_path holds 108 bytes
    (tmp_path / "file").touch()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind("dead")
    dead.close()
    for path, text in [
        ("missing", "no such socket"),
        ("file", "is no socket"),
        ("dead", "connection refused"),
        ("x" * 200, "no such socket"),
        ("x" * 300, "file name too long"),
    ]:
        async with LocalClient(path) as client:
            with pytest.raises(UnreachableError, match=text):
                await client.status()


async def test_a_socket_that_this_user_may_not_open_is_access_denied(monkeypatch):
    """Root may open any, so the kernel's answer is played."""

    async def refuse(_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    async with open_raw_server(saying()) as path, LocalClient(path) as client:
        monkeypatch.setattr(trio, "open_unix_socket", refuse)
        with pytest.raises(AccessDeniedError, match="permission denied") as caught:
            await client.status()
    assert "TS_PERMIT_CERT_UID" in caught.value.remedy


async def test_a_full_backlog_is_unreachable(tmp_path, monkeypatch):
    """It shows only when something is sent, since a connect that waits seems to succeed."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as filler:
            filler.connect("s")
            async with LocalClient("s") as client:
                with pytest.raises(UnreachableError, match="does not accept connections"):
                    await client.status()


async def test_retry_after_is_taken_from_the_date_in_boulders_text_where_there_is_no_header():
    now = datetime(2026, 2, 23, 5, 40, 31, tzinfo=UTC)
    body = (
        b"429 urn:ietf:params:acme:error:rateLimited: too many certificates (5) already issued for this "
        b"exact set of identifiers in the last 168h0m0s, retry after 2026-02-23 06:40:31 UTC: see https://letsencrypt.org"
    )
    async with (
        open_raw_server(saying(answer(500, body))) as path,
        LocalClient(path, clock=lambda: now) as client,
    ):
        with pytest.raises(RateLimitedError) as caught:
            await client.cert(NAME)
    assert caught.value.retry_after == timedelta(hours=1)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", None),
        (b"null", None),
        (b"[1]", ProtocolError),
        (b'{"a":1}', ProtocolError),
        (b"{", ProtocolError),
        (b"\xff", ProtocolError),
    ],
)
async def test_cert_domains_are_a_list_of_names_or_nothing(body, error):
    if error is None:
        assert await ask(saying(answer(200, body)), lambda client: client.cert_domains()) == frozenset()
    else:
        with pytest.raises(error, match="cert-domains"):
            await ask(saying(answer(200, body)), lambda client: client.cert_domains())


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"3",
        b"{",
        b'{"Self": 3}',
        b'{"CertDomains": "a"}',
        b'{"CurrentTailnet": 3}',
        b'{"Self": {"CapMap": [1]}}',
        b"\xff",
    ],
)
async def test_a_status_of_another_shape_is_refused(body):
    with pytest.raises(ProtocolError, match="status"):
        await ask(saying(answer(200, body)), lambda client: client.status())


@pytest.mark.parametrize(
    ("capabilities", "approved"),
    [
        (None, None),
        ({}, None),
        ({"https": None}, frozenset()),
        ({"service-host": None}, frozenset()),
        ({"service-host": 3}, frozenset()),
        (
            {"service-host": [{"svc:a": ["100.1.1.1"]}, 3, {"svc:b": []}]},
            frozenset({"svc:a", "svc:b"}),
        ),
    ],
)
async def test_the_approved_services_are_among_the_capabilities(capabilities, approved):
    body = json.dumps({"Self": {"CapMap": capabilities}}).encode()
    status = await ask(saying(answer(200, body)), lambda client: client.status())
    assert status.approved_services == approved


async def test_a_status_tells_of_the_tailnet():
    tailnet = {"MagicDNSEnabled": False, "MagicDNSSuffix": "tail1.ts.net"}
    body = json.dumps({"MagicDNSSuffix": "tail1.ts.net", "CurrentTailnet": tailnet, "Health": ["ill"]})
    status = await ask(saying(answer(200, body.encode())), lambda client: client.status())
    assert (status.magic_dns_suffix, status.magic_dns_enabled, status.health) == (
        "tail1.ts.net",
        False,
        ("ill",),
    )
    status = await ask(saying(answer(200, b"{}")), lambda client: client.status())
    assert (status.magic_dns_suffix, status.magic_dns_enabled, status.health) == ("", None, ())


async def test_the_prefs_tell_what_is_advertised_and_who_is_the_operator():
    body = b'{"AdvertiseServices": ["svc:a"], "OperatorUser": "ann", "ControlURL": "x"}'
    prefs = await ask(saying(answer(200, body)), lambda client: client.prefs())
    assert (prefs.advertised_services, prefs.operator) == (frozenset({"svc:a"}), "ann")
    prefs = await ask(saying(answer(200, b'{"AdvertiseServices": null}')), lambda client: client.prefs())
    assert (prefs.advertised_services, prefs.operator) == (frozenset(), "")


@pytest.mark.parametrize("body", [b"[]", b"3", b"{", b'{"AdvertiseServices": "a"}'])
async def test_prefs_of_another_shape_are_refused(body):
    with pytest.raises(ProtocolError, match="prefs"):
        await ask(saying(answer(200, body)), lambda client: client.prefs())


async def test_a_serve_config_of_another_shape_is_refused():
    with pytest.raises(ProtocolError, match="serve-config: serve config is not JSON: line 1, column 2"):
        await ask(saying(answer(200, b"{")), lambda client: client.serve_config())


async def test_a_bus_line_of_many_megabytes_is_read_without_keeping_it():
    """The fields are found wherever the stream is cut, and what is not looked for is dropped."""

    async def handler(stream):
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'{"NetM', b'ap":{"Peers":["' + b"x" * (8 << 20), b'"]}}\n', b'{"State":6}\n'):
            await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
        await stream.send_all(b"0\r\n\r\n")

    async with open_raw_server(handler) as path, LocalClient(path) as client:
        async with client.watch_ipn_bus() as messages:
            assert [fields async for fields in messages] == [{"NetMap"}, {"State"}]


async def test_a_bus_watch_may_be_left_early_and_its_connection_closes():
    closed = trio.Event()

    async def handler(stream):
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send_all(b'd\r\n{"State":6}\n\n\r\n')
        assert await stream.receive_some() == b""
        closed.set()

    async with open_raw_server(handler) as path, LocalClient(path) as client:
        async with client.watch_ipn_bus() as messages:
            async for fields in messages:
                assert fields == {"State"}
                break
        with trio.fail_after(60):
            await closed.wait()


async def test_a_bus_watch_that_is_refused_tells_why():
    text = b"the NotifyRateLimit IPN bus subscription bit is no longer supported\n"
    async with open_raw_server(saying(answer(400, text))) as path, LocalClient(path) as client:
        with pytest.raises(LocalAPIError, match="NotifyRateLimit"):
            async with client.watch_ipn_bus(274):
                pytest.fail("was refused")


async def test_a_bus_that_breaks_off_raises():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with open_raw_server(saying(head)) as path, LocalClient(path) as client:
        async with client.watch_ipn_bus() as messages:
            with pytest.raises(ProtocolError):
                await anext(messages)


async def test_the_transport_is_httpxs_and_sends_a_body_too():
    """Whoever wants another call of the LocalAPI can make it with httpx itself."""
    heads = []

    async def handler(stream):
        head = await read_request(stream)
        while not head.endswith(b'{"a":1}'):
            head += await stream.receive_some()
        heads.append(head)
        await stream.send_all(answer(200, b"{}"))

    async with open_raw_server(handler) as path:
        async with httpx.AsyncClient(transport=UnixTransport(path)) as client:
            response = await client.post("http://local-tailscaled.sock/localapi/v0/x", json={"a": 1})
    assert response.json() == {}
    assert heads[0].startswith(b"POST /localapi/v0/x HTTP/1.1\r\n")
