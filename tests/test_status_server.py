"""The status server of the service, as its clients find it."""

import contextlib
import gzip
import json
import logging
import os
import re
import socket
import stat
from datetime import timedelta

import attrs
import h11
import pytest
import trio
import trio.testing
from conftest import A, B, virtual_clock
from raw_client import CutOffError, Exchange, ask, open_exchange

from tscert_trio.sandbox import Fault
from tscert_trio.service import serve
from tscert_trio.settings import NO_SOCKET, Settings
from tscert_trio.status import handlers
from tscert_trio.status.feed import Feed
from tscert_trio.status.history import DomainDetail, EventList
from tscert_trio.status.report import Level, StatusReport
from tscert_trio.status.wire import from_json
from tscert_trio.target_settings import FilesSettings, HookSettings, TargetSettings

HOST = ("Host", "localhost")
AS_JSON = ("Content-Type", "application/json")


@attrs.frozen
class Service:
    """A service that runs, and where it tells how it stands."""

    manager: object
    socket: trio.Path
    port: int

    async def get(self, target, method="GET", headers=(), **options):
        return await ask(self.socket, target, method, headers=[HOST, *headers], **options)

    async def renew(self, name=A, headers=(), **options):
        return await self.get(f"/api/v1/domains/{name}/renew", "POST", [AS_JSON, *headers], **options)

    async def get_by_tcp(self, target, method="GET", host="localhost", headers=(), **options):
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            exchange = Exchange(stream)
            await exchange.send(method, target, headers=[("Host", host), *headers], **options)
            return await exchange.answer()

    async def report(self):
        return from_json((await self.get("/api/v1/status")).body, StatusReport)


@pytest.fixture
def start(sandbox, nursery, tmp_path, caplog):
    """Start the service with some settings, on both kinds of listeners."""

    async def start(clock=virtual_clock, **settings):
        caplog.set_level(logging.INFO)
        complete = attrs.evolve(
            Settings(
                socket=sandbox.socket_path,
                status_socket=tmp_path / "s",
                listen="127.0.0.1:0",
                domains=(A,),
            ),
            **settings,
        )
        manager = await nursery.start(
            lambda task_status: serve(complete, clock=clock, task_status=task_status)
        )
        ports = re.findall(r"http://127\.0\.0\.1:(\d+)/", caplog.text)
        return Service(manager, tmp_path / "s", int(ports[-1]) if ports else 0)

    return start


async def test_the_status_is_told_on_both_kinds_of_listeners(autojump_clock, start):
    service = await start()
    await trio.sleep(10)
    for answer in (await service.get("/api/v1/status"), await service.get_by_tcp("/api/v1/status")):
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        report = from_json(answer.body, StatusReport)
        assert [each.name for each in report.domains] == [A]
        assert (report.level, report.summary) == (Level.GOOD, "The name is well.")


async def test_one_name_has_its_history(autojump_clock, start):
    service = await start()
    await trio.sleep(10)
    detail = from_json((await service.get(f"/api/v1/domains/{A}")).body, DomainDetail)
    assert detail.domain.name == A
    assert [each.fingerprint for each in detail.certificates] == [detail.domain.certificate.fingerprint]
    assert [(event.what, event.outcome) for event in detail.events] == [("issue", "issued")]


async def test_events_go_on_where_the_last_one_was(autojump_clock, start, sandbox):
    service = await start()
    await trio.sleep(10)
    first = from_json((await service.get("/api/v1/events")).body, EventList).events
    assert [event.outcome for event in first] == ["issued"]
    sandbox.add_fault(Fault.control("away"))
    service.manager.renew(A, force=True)
    await trio.sleep(5)
    later = from_json((await service.get(f"/api/v1/events?after={first[-1].id}")).body, EventList).events
    assert [(event.domain, event.outcome) for event in later] == [(A, "ControlError")]
    assert "away" in later[0].text
    nothing = await service.get(f"/api/v1/events?after={later[-1].id}&domain={A}")
    assert nothing.json == {"version": 1, "events": []}


@pytest.mark.parametrize("query", ["limit=many", "after=yesterday", "after=1-x-1", "after=a-a-a"])
async def test_a_question_that_makes_no_sense_is_refused_with_what_would(autojump_clock, start, query):
    service = await start()
    answer = await service.get(f"/api/v1/events?{query}")
    assert answer.status == 400
    assert answer.json["remedy"] == "limit is a number, after the id of an event"


async def test_a_delivery_is_told_step_by_step_and_a_hooks_output_only_on_this_machine(
    patient_clock, start, tmp_path
):
    target = TargetSettings(
        name="web",
        files=FilesSettings(directory=str(tmp_path / "tls")),
        hook=HookSettings(command=("sh", "-c", "echo a secret of the hook; exit 3")),
    )
    service = await start(targets=(target,))
    await trio.sleep(5)
    report = await service.report()
    (delivery,) = report.domains[0].deliveries
    assert (delivery.state, delivery.goal, delivery.is_done) == ("written", "announced", False)
    assert "a secret of the hook" in delivery.output
    by_tcp = from_json((await service.get_by_tcp("/api/v1/status")).body, StatusReport)
    assert by_tcp.domains[0].deliveries[0].output is None
    events = from_json((await service.get(f"/api/v1/events?domain={A}")).body, EventList).events
    assert [(event.kind, event.what, event.outcome) for event in events] == [
        ("attempt", "issue", "issued"),
        ("delivery", "web", "written"),
        ("delivery", "web", "failed"),
    ]


@pytest.mark.parametrize("path", ["/", "/api/v1/status", f"/api/v1/domains/{A}", "/events", "/nothing"])
async def test_over_tcp_an_unknown_name_is_not_answered_to(autojump_clock, start, path):
    service = await start()
    answer = await service.get_by_tcp(path, host="evil.example:80")
    assert answer.status == 421
    assert "evil.example" in answer.json["error"]
    assert "--allowed-hosts" in answer.json["remedy"]


async def test_an_unknown_name_is_not_answered_to_whatever_the_host_header_says(autojump_clock, start):
    service = await start()
    assert (await service.get_by_tcp("http://evil.example/api/v1/status")).status == 421
    assert (await service.get_by_tcp("http://localhost/api/v1/status", host="evil.example")).status == 200


@pytest.mark.parametrize("allowed", ["Box.tail1234.ts.net", "box.tail1234.ts.net."])
async def test_a_name_that_is_allowed_is_answered_to(autojump_clock, start, allowed):
    service = await start(allowed_hosts=(allowed,))
    assert (await service.get_by_tcp("/api/v1/status", host="box.tail1234.ts.net:9410")).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_health_and_metrics_are_answered_by_whatever_name(autojump_clock, start, path):
    service = await start()
    await trio.sleep(5)
    assert (await service.get_by_tcp(path, host="whatever.example")).status == 200


@pytest.mark.parametrize(
    "path", ["/", f"/domains/{A}", "/domains/no.such.name", "/static/page.css", "/api/v1/status",
             "/api/v1/schema", "/metrics", "/livez", "/readyz", "/nothing", "/static/../server.py"]
)  # fmt: skip
async def test_every_answer_is_strict_with_browsers(autojump_clock, start, path):
    service = await start()
    await trio.sleep(5)
    headers = (await service.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


async def test_nothing_but_its_own_files_is_served(autojump_clock, start):
    service = await start()
    for name in ("../server.py", "..%2fserver.py", "page.html", "%2e%2e/server.py", "/etc/passwd"):
        assert (await service.get(f"/static/{name}")).status == 404


async def test_a_renewal_is_asked_for_and_made(autojump_clock, start, sandbox):
    service = await start()
    await trio.sleep(10)
    before = (await service.report()).domains[0].certificate.fingerprint
    answer = await service.renew(body=b'{"force": true}')
    assert answer.status == 202
    assert answer.json == {"version": 1, "asked_at": "2026-01-01T00:00:10.000Z", "attempts": 1}
    await trio.sleep(5)
    assert (await service.report()).domains[0].certificate.fingerprint != before


async def test_a_request_under_way_is_counted_before_the_one_that_was_asked_for(
    autojump_clock, start, sandbox
):
    """So who asks knows that what comes of that is no answer to him."""
    sandbox.add_fault(Fault.delay(20, count=1, endpoint="cert"))
    service = await start()
    await trio.sleep(5)
    (before,) = (await service.report()).domains
    assert (before.state, before.attempts) == ("requesting", 1)
    assert (await service.renew()).json["attempts"] == 1
    await trio.sleep(25)
    (after,) = (await service.report()).domains
    assert (after.state, after.attempts) == ("issued", 2)


async def test_over_tcp_nothing_is_renewed(autojump_clock, start, sandbox):
    service = await start()
    await trio.sleep(10)
    orders = len(sandbox.orders)
    answer = await service.get_by_tcp(
        f"/api/v1/domains/{A}/renew", "POST", headers=[AS_JSON], body=b'{"force": true}'
    )
    assert answer.status == 403
    assert answer.json["error"] == "renewals are taken by the Unix socket alone, and from no proxy"
    assert answer.json["remedy"] == f"run, on this machine: sudo tscert-trio renew {A}"
    await trio.sleep(5)
    assert len(sandbox.orders) == orders


@pytest.mark.parametrize(
    "body", [b"[]", b"force", b'{"force": 1}', b'{"force": true, "more": 1}', b"[" * 1000, b"\xff"]
)
async def test_a_renewal_is_asked_for_in_one_form_only(autojump_clock, start, body):
    service = await start()
    answer = await service.renew(body=body)
    assert (answer.status, answer.json["remedy"]) == (400, 'send {"force": false}')


async def test_a_name_that_is_mistyped_is_told_the_nearest(autojump_clock, start):
    service = await start()
    mistyped = A.replace("tail1234", "tail1243")
    for answer in (
        await service.get(f"/api/v1/domains/{mistyped}"),
        await service.renew(mistyped),
        await service.get(f"/api/v1/events?domain={mistyped}"),
    ):
        assert (answer.status, answer.json["remedy"]) == (404, f"is it {A}?")


async def test_nobody_elsewhere_and_no_name_too_long_to_be_one_is_compared_with_all_names(
    autojump_clock, start
):
    service = await start()
    too_long = "a" * 254 + A
    for answer in (
        await service.get_by_tcp(f"/api/v1/domains/{A[1:]}"),
        await service.get_by_tcp(f"/api/v1/events?domain={A[1:]}"),
        await service.get(f"/api/v1/domains/{too_long}"),
    ):
        assert (answer.status, answer.json["remedy"]) == (404, "see all with tscert-trio status")


async def test_only_names_of_like_length_are_compared_and_not_too_many(autojump_clock, start, monkeypatch):
    service = await start()
    service.manager.ensure_domains([A, *(f"{n}.very.long.name.tail1234.ts.net" for n in range(300))])
    compared, near = [], handlers.difflib.get_close_matches

    def note(name, names, n):
        compared.extend(names)
        return near(name, names, n)

    monkeypatch.setattr(handlers.difflib, "get_close_matches", note)
    assert (await service.get(f"/api/v1/domains/x{A[1:]}")).json["remedy"] == f"is it {A}?"
    assert (len(compared), compared[0]) == (200, A)


@pytest.mark.parametrize(
    "header", ["Origin", "Referer", "Sec-Fetch-Site", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto",
               "X-Real-IP", "Via", "Tailscale-User-Login"]
)  # fmt: skip
async def test_what_a_browser_or_a_proxy_asks_over_the_socket_is_not_asked_from_here(
    autojump_clock, start, sandbox, header
):
    """A proxy before the socket runs as root, and pages elsewhere may ask it."""
    service = await start()
    await trio.sleep(10)
    orders, headers = len(sandbox.orders), [(header, "x")]
    assert (await service.renew(headers=headers, body=b'{"force": true}')).status == 403
    evil = [("Host", "evil.example"), *headers]
    assert (await ask(service.socket, "/api/v1/status", headers=evil)).status == 421
    await trio.sleep(5)
    assert len(sandbox.orders) == orders


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON ;charset=UTF-8"])
async def test_json_may_be_called_so_with_its_charset(autojump_clock, start, kind):
    service = await start()
    headers = [("Content-Type", kind)]
    answer = await service.get(f"/api/v1/domains/{A}/renew", "POST", headers, body=b'{"force": false}')
    assert answer.status == 202


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Content-Type", "text/plain")],
        [("Content-Type", "text/plain; application/json")],
        [("Content-Type", "text/plain, application/json")],
        [("Content-Type", "application/json, text/plain")],
    ],
)
async def test_a_form_of_a_page_elsewhere_renews_nothing(autojump_clock, start, headers):
    """Such a form cannot be sent as JSON."""
    service = await start()
    answer = await service.get(f"/api/v1/domains/{A}/renew", "POST", headers, body=b'{"force": true}')
    assert (answer.status, answer.json["remedy"]) == (415, "send it with Content-Type: application/json")


async def test_an_empty_line_before_a_request_is_skipped(autojump_clock, start):
    service = await start()
    async with await trio.open_unix_socket(str(service.socket)) as stream:
        await stream.send_all(b"\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_a_body_longer_than_any_wish_is_not_taken(autojump_clock, start):
    service = await start()
    assert (await service.renew(body=b" " * 1025)).status == 413


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/api/v1/status", "GET, HEAD"),
        ("PUT", f"/api/v1/domains/{A}", "GET, HEAD"),
        ("POST", f"/domains/{A}", "GET, HEAD"),
        ("DELETE", "/static/page.css", "GET, HEAD"),
        ("DELETE", f"/api/v1/domains/{A}/renew", "POST"),
        ("GET", f"/api/v1/domains/{A}/renew", "POST"),
        ("HEAD", f"/api/v1/domains/{A}/renew", "POST"),
    ],
)
async def test_another_method_is_told_which_would_do(autojump_clock, start, method, path, allowed):
    service = await start()
    answer = await service.get(path, method)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


async def next_piece(exchange):
    """Return the next piece of a stream that is no sign of life."""
    while True:
        event = await exchange.event()
        if isinstance(event, h11.Data) and not event.data.startswith(b":"):
            return bytes(event.data)


async def test_who_watches_is_told_of_each_change(autojump_clock, start):
    service = await start()
    await trio.sleep(10)
    async with open_exchange(service.socket) as exchange:
        await exchange.send("GET", "/events", headers=[HOST])
        head = await exchange.event()
        assert dict(head.headers)[b"content-type"] == b"text/event-stream"
        assert await next_piece(exchange) == b"retry: 2000\n\n"
        await trio.sleep(3)
        service.manager.ensure_domains([A, B])
        with trio.fail_after(1.1):
            assert await next_piece(exchange) == b"event: change\ndata: 1\n\n"


async def test_only_so_many_may_watch(autojump_clock, start):
    service = await start()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(32):
            exchange = await stack.enter_async_context(open_exchange(service.socket))
            await exchange.send("GET", "/events", headers=[HOST])
            assert (await exchange.event()).status_code == 200
        await trio.sleep(1)
        refused = await service.get("/events")
        assert (refused.status, refused.headers["retry-after"]) == (503, "60")
        assert (await service.get("/livez")).status == 200
    await trio.sleep(20)  # the next sign of life finds them gone
    async with open_exchange(service.socket) as exchange:
        await exchange.send("GET", "/events", headers=[HOST])
        assert (await exchange.event()).status_code == 200


async def test_however_many_ask_to_watch_at_once_only_so_many_may(autojump_clock, start):
    service = await start()
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(open_exchange(service.socket)) for _ in range(64)]
        for exchange in crowd:
            await exchange.send("GET", "/events", headers=[HOST])
        statuses = [(await exchange.event()).status_code for exchange in crowd]
        assert (statuses.count(200), statuses.count(503)) == (32, 32)
        assert (await service.get("/livez")).status == 200
        assert (await service.report()).level is Level.GOOD


async def test_however_many_do_not_read_their_answers_others_are_answered_at_once(
    autojump_clock, start, monkeypatch
):
    service = await start()
    await trio.sleep(10)
    began = trio.current_time()
    async with contextlib.AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            patch.setattr(handlers, "to_json", lambda _report: bytes(50_000_000))
            for _ in range(64):
                exchange = await stack.enter_async_context(open_exchange(service.socket))
                await exchange.send("GET", "/api/v1/status", headers=[HOST])
                await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            assert (await service.get("/livez")).status == 200
            assert (await service.get(f"/api/v1/domains/{A}")).status == 200
        assert trio.current_time() == began


class Polls(trio.abc.Instrument):
    """Counts how often Trio has looked whether others may go on."""

    count = 0

    def after_io_wait(self, _timeout):
        self.count += 1


async def test_between_the_answers_to_a_crowd_everything_else_goes_on(autojump_clock, start, monkeypatch):
    service, polls, made_at, make_report = await start(), Polls(), [], handlers.make_report

    def note(*args, **options):
        made_at.append(polls.count)
        return make_report(*args, **options)

    monkeypatch.setattr(handlers, "make_report", note)
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(open_exchange(service.socket)) for _ in range(60)]
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(polls)
        for number, exchange in enumerate(crowd):  # all before the service can read any
            request = f"GET /?q={number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            assert os.write(exchange.stream.socket.fileno(), request) == len(request)
        for exchange in crowd:
            assert (await exchange.stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        trio.lowlevel.remove_instrument(polls)
    assert len(set(made_at)) == 60


async def test_who_asks_for_the_same_within_a_second_is_given_the_same(autojump_clock, start, monkeypatch):
    service, made, make_report = await start(), [], handlers.make_report
    await trio.sleep(10)

    def note(*args, **options):
        made.append(trio.current_time())
        return make_report(*args, **options)

    monkeypatch.setattr(handlers, "make_report", note)

    async def made_by(asked):
        made.clear()
        answer = await asked
        return answer.status, len(made)

    assert await made_by(service.get("/")) == (200, 1)
    assert await made_by(service.get("/")) == (200, 0)
    assert await made_by(service.get_by_tcp("/")) == (200, 1)  # which has less in it
    assert await made_by(service.get_by_tcp("/")) == (200, 0)
    assert await made_by(service.get_by_tcp("/", host="evil.example")) == (421, 0)
    assert await made_by(service.get("/?q=a")) == (200, 1)
    await trio.sleep(1)
    assert await made_by(service.get("/")) == (200, 1)
    assert (await service.renew()).status == 202
    assert await made_by(service.get("/")) == (200, 1)
    service.manager.ensure_domains([A, B])
    assert await made_by(service.get("/")) == (200, 1)


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/metrics", f"/domains/{A}", "/static/page.css"])
async def test_who_takes_gzip_is_answered_with_that_and_nobody_else(autojump_clock, start, path):
    service, as_gzip = await start(), [("Accept-Encoding", "gzip, deflate, br")]
    await trio.sleep(10)
    for get in (service.get, service.get_by_tcp):
        for _ in range(2):  # the second is what was kept of the first
            plain, short = await get(path), await get(path, headers=as_gzip)
            assert "content-encoding" not in plain.headers
            assert short.headers["content-encoding"] == "gzip"
            assert gzip.decompress(short.body) == plain.body
            assert plain.headers.keys() < short.headers.keys()
        head = await get(path, method="HEAD", headers=as_gzip)
        assert head.body == b""
        assert {**head.headers, "date": ""} == {**short.headers, "date": ""}


async def test_of_one_name_no_report_of_all_is_made(autojump_clock, start, monkeypatch):
    service, make_report = await start(domains=(A, B)), handlers.make_report
    await trio.sleep(10)

    def check(statistics, *args, **options):
        assert [each.domain for each in statistics.domains] == [B]
        return make_report(statistics, *args, **options)

    monkeypatch.setattr(handlers, "make_report", check)
    assert (await service.get(f"/api/v1/domains/{B}")).json["domain"]["name"] == B
    assert (await service.get(f"/domains/{B}")).status == 200


async def test_just_after_a_suspend_the_service_is_alive(autojump_clock, start):
    """The first look at the clock wakes those who are late, and they go on before the answer is made."""
    asleep = timedelta(0)
    service = await start(domains=(A, B), clock=lambda: virtual_clock() + asleep)
    await trio.sleep(10)
    for _ in range(10):
        asleep += timedelta(days=30)
        answer = await service.get("/livez")
        assert (answer.status, answer.body) == (200, b"the engine turns\n")
        await trio.sleep(10)


async def test_a_socket_that_somebody_has_tidied_away_is_made_anew(autojump_clock, start, caplog):
    service = await start(listen=None)
    await trio.sleep(100)
    service.socket.unlink()
    await trio.sleep(31)
    assert (await service.get("/livez")).status == 200
    assert "its file is gone" in caplog.text
    assert "nobody can ask" not in caplog.text


class SlowResolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *_args):
        await trio.sleep(100)
        raise OSError("the name server is away")

    async def getnameinfo(self, *_args):
        raise NotImplementedError


async def test_the_certificates_do_not_wait_for_a_name_server_that_is_slow(autojump_clock, start, caplog):
    trio.socket.set_custom_hostname_resolver(SlowResolver())
    service = await start(listen="box.example:9410")
    assert trio.current_time() <= 1
    await trio.sleep(10)
    assert service.manager.statistics()[A].leaf is not None
    assert (await service.get("/livez")).status == 200
    await trio.sleep(100)
    assert "the name server is away" in caplog.text


class TwoAddresses(SlowResolver):
    """As of localhost with ``::1``, which not each machine has."""

    async def getaddrinfo(self, _host, port, *_args):
        await trio.lowlevel.checkpoint()
        address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
        return [address, address]


async def test_a_host_with_two_addresses_is_answered_at_both(autojump_clock, start, caplog):
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    service = await start(listen="box.example:0")
    ports = re.findall(r"the status page is at http://127\.0\.0\.1:(\d+)/", caplog.text)
    assert len(set(ports)) == 2
    for port in ports:
        answer = await attrs.evolve(service, port=int(port)).get_by_tcp("/livez")
        assert answer.status == 200


async def test_an_error_of_the_listener_is_told_and_it_listens_again(
    autojump_clock, start, monkeypatch, caplog, tmp_path
):
    accept_fine = trio.SocketListener.accept

    async def accept(listener):
        if listener.socket.getsockname() != str(tmp_path / "s"):
            return await accept_fine(listener)
        raise OSError("the firewall says no")

    with monkeypatch.context() as patch:
        patch.setattr(trio.SocketListener, "accept", accept)
        service = await start(listen=None)
        await trio.sleep(5)
        assert "how it stands (the firewall says no)" in caplog.text
    await trio.sleep(31)
    assert (await service.get("/livez")).status == 200


async def test_a_bug_in_the_stream_of_changes_is_logged_and_ends_nothing(autojump_clock, start, caplog):
    service = await start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feed, "watching", lambda _feed: 1 / 0)
        async with open_exchange(service.socket) as exchange:
            await exchange.send("GET", "/events", headers=[HOST])
            with pytest.raises(CutOffError):
                await exchange.answer()
    assert "a bug in the status server" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert (await service.get("/livez")).status == 200


async def test_the_socket_is_for_owner_and_group_and_goes_with_the_service(autojump_clock, sandbox, tmp_path):
    path = tmp_path / "s"
    settings = Settings(socket=sandbox.socket_path, status_socket=path, status_group=str(os.getgid()))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve(settings, task_status=task_status))
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_switched_off_there_is_no_server(autojump_clock, start, tmp_path, caplog):
    await start(status_socket=NO_SOCKET, listen=None)
    assert not (tmp_path / "s").exists()
    assert "the status" not in caplog.text


async def test_what_cannot_be_listened_on_is_told_and_tried_again_and_the_certificates_go_on(
    autojump_clock, start, tmp_path, caplog, sandbox
):
    """An address of the tailnet may come only when tailscaled is up."""
    (tmp_path / "s").write_text("in the way")
    service = await start(listen=None)
    assert caplog.text.count("nobody can ask at") == 1
    await trio.sleep(20)
    assert service.manager.statistics()[A].leaf is not None
    (tmp_path / "s").unlink()
    await trio.sleep(11)
    assert (await service.get("/livez")).status == 200


async def test_what_cannot_be_listened_on_a_second_time_is_told_again(autojump_clock, start, caplog):
    service = await start(listen=None)
    for count in (1, 2):
        service.socket.unlink()
        service.socket.write_text("in the way")
        await trio.sleep(100)
        assert caplog.text.count("nobody can ask at") == count
        service.socket.unlink()
        await trio.sleep(31)
        assert (await service.get("/livez")).status == 200


async def test_an_unknown_group_is_told(autojump_clock, start, caplog):
    await start(status_group="no-such-group", listen=None)
    assert "no-such-group" in caplog.text


async def test_a_bug_in_a_page_is_logged_and_ends_nothing(autojump_clock, start, monkeypatch, caplog):
    """The certificates are more important than a page."""

    def make_report(*_args, **_options):
        raise ZeroDivisionError

    service = await start()
    with monkeypatch.context() as patch:
        patch.setattr(handlers, "make_report", make_report)
        answer = await service.get("/api/v1/status")
    assert (answer.status, answer.json["error"]) == (500, "this answer has a bug")
    assert "ZeroDivisionError" in caplog.text
    assert (await service.get("/api/v1/status")).status == 200


async def test_no_answer_has_a_key(autojump_clock, start, tmp_path):
    service = await start(targets=(TargetSettings(name="w", files=FilesSettings(directory=str(tmp_path))),))
    await trio.sleep(10)
    assert b"PRIVATE KEY" in (tmp_path / f"{A}.key").read_bytes()
    for path in (
        "/",
        f"/domains/{A}",
        "/api/v1/status",
        f"/api/v1/domains/{A}",
        "/api/v1/events",
        "/metrics",
    ):
        assert b"PRIVATE KEY" not in (await service.get(path)).body


async def test_a_serve_config_that_cannot_be_read_is_told_and_its_last_good_names_stay(
    autojump_clock, start, tmp_path
):
    """New names in it would be ignored, and nobody would know."""
    config = tmp_path / "serve.json"
    config.write_text(json.dumps({"Services": {"svc:b": {"Web": {f"{B}:443": {}}}}}))
    service = await start(serve_config=config)
    await trio.sleep(10)
    report = await service.report()
    assert (report.level, [source.trouble for source in report.sources]) == (Level.GOOD, [None, None])
    config.write_text('{"Services":')
    await trio.sleep(3)
    report = await service.report()
    assert report.level is Level.WARNING
    assert report.summary.startswith(f"{config}: ")
    assert report.summary.endswith("Both names are well.")
    assert [source.name for source in report.sources] == [
        f"the serve config file {config}",
        "the names given",
    ]
    assert str(config) in (await service.get("/")).text
    assert (
        f'tscert_source_up{{source="the serve config file {config}"}} 0'
        in (await service.get("/metrics")).text
    )
    assert (await service.get("/readyz")).status == 200


async def test_it_is_not_ready_before_every_source_was_read(autojump_clock, start, tmp_path):
    """Else a serve config that was never read would count as one that wants nothing."""
    service = await start(serve_config=tmp_path / "missing.json")
    await trio.sleep(10)
    answer = await service.get("/readyz")
    assert answer.status == 503
    assert answer.text == (
        f"it is not known what the serve config file {tmp_path}/missing.json wants: cannot read the "
        f"serve config file {tmp_path}/missing.json: No such file or directory"
    )
    report = await service.report()
    assert (report.is_told, report.level) == (False, Level.WARNING)
