"""What a client of renewal information makes of what a CA says."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import attrs
import httpx
import pytest
import trio
from conftest import EPOCH, A, virtual_clock
from raw_client import ask_cert
from raw_server import answer, open_raw_server, read_request

from tscert_trio.ari import RenewalInfoClient
from tscert_trio.certificate import Certificate
from tscert_trio.errors import RenewalInfoError
from tscert_trio.localapi.transport import UnixTransport
from tscert_trio.schedule import RenewalWindow

DIRECTORY = "http://ca.sandbox/directory"
LETS_ENCRYPT = "CN=R12,O=Let's Encrypt,C=US"
LEAF = Certificate(
    names=(A,),
    serial_number=1,
    not_before=EPOCH,
    not_after=EPOCH + timedelta(days=90),
    issuer="CN=Sandbox Intermediate",
    fingerprint="00" * 32,
    ari_id="abc.def",
)
WINDOW = {"start": "2026-02-01T00:00:00Z", "end": "2026-02-02T00:00:00Z"}


def client_of(path, directory_url=DIRECTORY):
    return RenewalInfoClient(directory_url, transport=UnixTransport(path), clock=virtual_clock)


@pytest.fixture
async def info(sandbox):
    """A client of the sandbox's CA, which has issued a certificate for A."""
    await ask_cert(sandbox, A)
    async with client_of(sandbox.ca_socket_path, sandbox.directory_url) as client:
        yield client


@asynccontextmanager
async def open_ca(body, *headers, status=200, directory=None):
    """Open a CA that answers with this to whoever asks about a certificate, and a client of it."""
    directory = {"renewalInfo": "http://ca.sandbox/renewal-info/"} if directory is None else directory
    targets = []

    async def handler(stream):
        target = (await read_request(stream)).split()[1].decode()
        targets.append(target)
        if target == "/directory":
            await stream.send_all(answer(200, json.dumps(directory).encode()))
        else:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            await stream.send_all(answer(status, text, *headers))

    async with open_raw_server(handler) as path, client_of(path) as client:
        yield client, targets


async def error_of(client, leaf=LEAF):
    with pytest.raises(RenewalInfoError) as caught:
        await client.fetch(leaf)
    text = str(caught.value)
    assert text
    assert text.isprintable()
    return text


async def test_the_window_of_the_sandboxs_ca(autojump_clock, sandbox, info):
    fetched = await info.fetch(sandbox.certificate(A))
    assert fetched.window == RenewalWindow(
        start=EPOCH + timedelta(days=58.5), end=EPOCH + timedelta(days=61.5), explanation_url=None
    )
    assert fetched.retry_after == timedelta(hours=6)
    assert sandbox.renewal_info_calls == [(EPOCH, A)]


async def test_a_window_comes_with_its_explanation(autojump_clock, sandbox, info):
    start, end = EPOCH - timedelta(days=2), EPOCH - timedelta(days=1)
    sandbox.set_ari_window(A, start, end, "https://ca.sandbox/incident")
    window = (await info.fetch(sandbox.certificate(A))).window
    assert window == RenewalWindow(start=start, end=end, explanation_url="https://ca.sandbox/incident")


async def test_the_directory_is_asked_for_once(sandbox, info):
    for _ in range(3):
        await info.fetch(sandbox.certificate(A))
    assert (len(sandbox.directory_calls), len(sandbox.renewal_info_calls)) == (1, 3)


async def test_a_check_asks_for_the_directory_only(sandbox, info):
    await info.check()
    await info.check()
    assert (len(sandbox.directory_calls), sandbox.renewal_info_calls) == (2, [])


async def test_a_look_at_the_directory_tells_the_time_of_the_ca(autojump_clock, sandbox, info):
    await trio.sleep(90)
    look = await info.look()
    assert timedelta(0) <= virtual_clock() - look.date < timedelta(seconds=1)
    assert look.offers_renewal_info


async def test_a_ca_that_is_away_is_an_error_until_it_is_back(sandbox, info):
    sandbox.set_ca_away()
    with pytest.raises(RenewalInfoError, match=r"^http://ca.sandbox/directory: HTTP status 503$"):
        await info.check()
    assert await error_of(info, sandbox.certificate(A)) == "http://ca.sandbox/directory: HTTP status 503"
    sandbox.set_ca_away(False)
    await info.fetch(sandbox.certificate(A))
    sandbox.set_ca_away()
    assert (await error_of(info, sandbox.certificate(A))).endswith(": HTTP status 503")


async def test_a_ca_out_of_reach_is_an_error(sandbox, info):
    sandbox.set_egress_shut()
    text = await error_of(info, sandbox.certificate(A))
    assert text == "http://ca.sandbox/directory: the connection ended without an answer"
    async with client_of("/nonexistent/s") as client:
        assert await error_of(client) == "http://ca.sandbox/directory: no such socket"


async def test_a_ca_that_never_answers_is_waited_for_20_seconds(autojump_clock):
    async def say_nothing(stream):
        await trio.sleep_forever()

    async with open_raw_server(say_nothing) as path, client_of(path) as client:
        assert await error_of(client) == "http://ca.sandbox/directory: no answer in time"
    assert trio.current_time() == 20


async def test_an_answer_that_drips_is_waited_for_20_seconds_in_all(autojump_clock):
    async def drip(stream):
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(3)

    async with open_raw_server(drip) as path, client_of(path) as client:
        assert (await error_of(client)).endswith(": no answer in time")
    assert trio.current_time() == 20


async def test_a_certificate_that_the_ca_does_not_know_is_an_error(info):
    assert await error_of(info) == "http://ca.sandbox/renewal-info/abc.def: HTTP status 404"


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        (b"Retry-After: 7200", timedelta(hours=2)),
        (b"Retry-After: 0", timedelta(minutes=1)),
        (b"Retry-After: 59", timedelta(minutes=1)),
        (b"Retry-After: 43201", timedelta(hours=12)),
        (b"Retry-After: 999999999", timedelta(hours=12)),
        (b"Retry-After: Thu, 01 Jan 2026 01:00:00 GMT", timedelta(hours=1)),
        (b"Retry-After: Thu, 01 Jan 2026 01:00:00", timedelta(hours=1)),
        (b"Retry-After: Thu, 01 Jan 2026 01:00:00 -0000", timedelta(hours=1)),
        (b"Retry-After: Thu, 01 Jan 2026 02:00:00 +0100", timedelta(hours=1)),
        (b"Retry-After: Wed, 31 Dec 2025 23:00:00 GMT", timedelta(minutes=1)),
        (b"Retry-After: Thu, 01 Jan 2099 00:00:00 GMT", timedelta(hours=12)),
        (b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2300", timedelta(hours=6)),
        (b"Retry-After: soon", timedelta(hours=6)),
        (b"Retry-After: -5", timedelta(hours=6)),
        (b"Retry-After: 1.5", timedelta(hours=6)),
        (b"Retry-After: " + b"9" * 400, timedelta(hours=6)),
        (b"Retry-After:", timedelta(hours=6)),
        (b"X-Other: 1", timedelta(hours=6)),
    ],
)
async def test_the_pause_is_what_the_ca_says_within_a_minute_and_half_a_day(autojump_clock, header, pause):
    async with open_ca({"suggestedWindow": WINDOW}, header) as (client, _):
        assert (await client.fetch(LEAF)).retry_after == pause


async def test_a_date_without_a_zone_is_in_utc_wherever_the_machine_is(autojump_clock, monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        window = {"start": "2026-02-01T00:00:00", "end": "2026-02-02T00:00:00"}
        header = b"Retry-After: Thu, 01 Jan 2026 01:00:00 -0000"
        async with open_ca({"suggestedWindow": window}, header) as (client, _):
            fetched = await client.fetch(LEAF)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert fetched.retry_after == timedelta(hours=1)
    assert fetched.window.start == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "moment"),
    [
        ("2026-02-01T00:00:00Z", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T01:00:00+01:00", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T00:00:00.123456789Z", datetime(2026, 2, 1, 0, 0, 0, 123456, tzinfo=UTC)),
    ],
)
async def test_moments_of_the_window_are_as_in_rfc_3339(start, moment):
    async with open_ca({"suggestedWindow": {**WINDOW, "start": start}}) as (client, _):
        found = (await client.fetch(LEAF)).window.start
    assert (found, found.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the answer is no JSON object"),
        (b"<html>", "the answer is no JSON object"),
        (b"\xff\xfe", "the answer is no JSON object"),
        (b"[" * 50_000, "the answer is no JSON object"),
        ([], "the answer is no JSON object"),
        (None, "the answer is no JSON object"),
        (b'{"suggestedWindow": 0}' + b" " * 70_000, "the answer is no JSON object"),
        ({}, "has no window"),
        ({"suggestedWindow": None}, "has no window"),
        ({"suggestedWindow": "soon"}, "has no window"),
        ({"suggestedWindow": ["start", "end"]}, "has no window"),
        ({"suggestedWindow": {"start": WINDOW["start"]}}, "has no window"),
        ({"suggestedWindow": {**WINDOW, "end": 7}}, "has no window"),
        ({"suggestedWindow": {**WINDOW, "end": "soon\n"}}, "has no window"),
        ({"suggestedWindow": {**WINDOW, "start": "0001-01-01T00:00:00+23:00"}}, "has no window"),
        ({"suggestedWindow": {**WINDOW, "end": WINDOW["start"]}}, "ends before it begins"),
        ({"suggestedWindow": {**WINDOW, "end": "2026-01-31T00:00:00Z"}}, "ends before it begins"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_error(body, error):
    async with open_ca(body) as (client, _):
        assert (await error_of(client)).endswith(error)


@pytest.mark.parametrize("url", [7, None, ["x"], "https://x/\n2026-01-01 forged", "https://x/" + "y" * 5000])
async def test_an_explanation_that_is_no_url_for_a_line_of_a_log_is_left_out(url):
    async with open_ca({"suggestedWindow": WINDOW, "explanationURL": url}) as (client, _):
        assert (await client.fetch(LEAF)).window.explanation_url is None


@pytest.mark.parametrize(
    "directory",
    [
        {"newOrder": "x"},
        {"renewalInfo": 7},
        {"renewalInfo": "http://ca.sandbox/\nforged"},
        {"renewalInfo": ""},
        ["x"],
    ],
)
async def test_a_directory_that_makes_no_sense_is_an_error(directory):
    async with open_ca({"suggestedWindow": WINDOW}, directory=directory) as (client, _):
        await error_of(client)


async def test_a_slash_at_the_end_of_the_address_is_not_doubled():
    async with open_ca({"suggestedWindow": WINDOW}) as (client, targets):
        await client.fetch(LEAF)
    assert targets == ["/directory", "/renewal-info/abc.def"]


async def test_a_ca_that_has_moved_is_followed():
    def answer_from_elsewhere(request):
        if request.url.host == "ca.sandbox":
            return httpx.Response(301, headers={"Location": f"http://new.sandbox{request.url.path}"})
        if request.url.path == "/directory":
            return httpx.Response(200, json={"renewalInfo": "http://ca.sandbox/renewal-info"})
        return httpx.Response(200, json={"suggestedWindow": WINDOW})

    transport = httpx.MockTransport(answer_from_elsewhere)
    async with RenewalInfoClient(DIRECTORY, transport=transport) as client:
        assert (await client.fetch(LEAF)).window.start == datetime(2026, 2, 1, tzinfo=UTC)


async def test_a_ca_that_redirects_for_ever_is_an_error():
    transport = httpx.MockTransport(lambda _: httpx.Response(302, headers={"Location": "/elsewhere"}))
    async with RenewalInfoClient(DIRECTORY, transport=transport) as client:
        assert "redirects" in await error_of(client)


@pytest.mark.parametrize(
    "url", ["/renewal-info", "http://[/", "http://127.0.0.1:99999", "ftp://127.0.0.1", "http://a..b"]
)
async def test_an_address_that_leads_nowhere_is_an_error(url):
    async with RenewalInfoClient(DIRECTORY) as client:
        client._renewal_info_url = url
        await error_of(client)


async def test_a_cut_answer_is_an_error():
    async def cut(stream):
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{")

    async with open_raw_server(cut) as path, client_of(path) as client:
        assert (await error_of(client)).endswith("the connection ended in the middle of the answer")


async def test_an_error_of_httpx_without_a_text_is_named():
    def fail(request):
        raise httpx.ConnectTimeout("")

    async with RenewalInfoClient(DIRECTORY, transport=httpx.MockTransport(fail)) as client:
        assert await error_of(client) == "http://ca.sandbox/directory: ConnectTimeout"


async def test_a_proxy_that_httpx_does_not_know_is_an_error_and_no_crash(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    async with RenewalInfoClient(DIRECTORY) as client:
        assert (await error_of(client)).startswith("no HTTP client: ")


@pytest.mark.parametrize(
    ("directory_url", "issuer", "ari_id", "knows"),
    [
        (None, LETS_ENCRYPT, "abc.def", True),
        (None, LETS_ENCRYPT, None, False),
        (None, "CN=(STAGING) Counterfeit Cashew R10,O=(STAGING) Let's Encrypt,C=US", "abc.def", False),
        (None, "CN=Sandbox Intermediate", "abc.def", False),
        (DIRECTORY, "CN=Sandbox Intermediate", "abc.def", True),
        (DIRECTORY, "CN=Sandbox Intermediate", None, False),
    ],
)
def test_a_ca_is_asked_about_its_own_certificates_only(directory_url, issuer, ari_id, knows):
    """Without a directory it is Let's Encrypt; with one nobody can tell whose they are."""
    leaf = attrs.evolve(LEAF, issuer=issuer, ari_id=ari_id)
    assert RenewalInfoClient(directory_url).knows(leaf) is knows


async def test_a_client_that_asked_nothing_has_nothing_to_close():
    async with RenewalInfoClient():
        pass
