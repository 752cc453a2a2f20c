"""The HTTP server: what it makes of requests, and of clients that behave badly."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from raw_client import CutOffError, ask, open_exchange
from trio.testing import wait_all_tasks_blocked

from tscert_trio.http_server import HangUp, Request, Response, StreamResponse, serve_http
from tscert_trio.unix_listener import bind_unix_listener, open_unix_listener


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="tscert-") as folder:
        yield Path(folder) / "s"


@asynccontextmanager
async def serving(path, handler, **options):
    async with open_unix_listener(path) as listener, trio.open_nursery() as nursery:
        started = await nursery.start(
            lambda task_status: serve_http(handler, [listener], task_status=task_status, **options)
        )
        assert list(started) == [listener]
        yield
        nursery.cancel_scope.cancel()


async def say(path, *pieces, pause=0):
    """Send these bytes, with a pause after each, and return all that comes back."""
    async with await trio.open_unix_socket(str(path)) as stream:
        received = b""
        try:
            with contextlib.suppress(trio.BrokenResourceError):
                for piece in pieces:
                    await stream.send_all(piece)
                    await trio.sleep(pause)
            while data := await stream.receive_some():
                received += data
        except trio.BrokenResourceError:
            pass
        return received


async def echo(request: Request) -> Response:
    text = (
        f"{request.method} {request.path} {dict(request.query)} {request.headers.get('x')} {request.body!r}"
    )
    return Response(body=text.encode(), headers=[("X-Answer", "yes")])


async def test_a_request_is_taken_apart_and_answered(path):
    async with serving(path, echo):
        answer = await ask(
            path, "/a%20b?x=1&x=2&empty=", "POST", headers=[("Host", "h"), ("X", "1"), ("X", "2")], body=b"hi"
        )
    assert answer.status == 200
    assert answer.headers.keys() == {"x-answer", "date", "content-length"}
    assert answer.headers["x-answer"] == "yes"
    assert answer.headers["content-length"] == str(len(answer.body))
    query = eval(answer.text.split(" ", 3)[3].split("} ")[0] + "}")
    assert query == {"x": "1", "empty": ""}
    assert answer.text.startswith("POST /a b ")
    assert answer.text.endswith(" 1, 2 b'hi'")


async def test_each_answer_has_its_date_by_the_clock_of_the_machine(autojump_clock, path, monkeypatch):
    """Of RFC 9110, section 5.6.7, the one form that may be written."""
    monkeypatch.setattr("time.time", lambda: 784111777.9)

    async def handler(request):
        async def write(send):
            await send(b"one")

        if request.path == "/own":
            return Response(headers=[("date", "the handler's own")])
        return StreamResponse(write_body=write) if request.path == "/stream" else Response()

    async with serving(path, handler):
        for target in ("/", "/stream"):
            assert (await ask(path, target)).headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
        monkeypatch.setattr("time.time", lambda: 784111778.0)
        assert (await ask(path, "/")).headers["date"] == "Sun, 06 Nov 1994 08:49:38 GMT"
        assert b"\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n" in await say(path, b"no request\r\n\r\n")
        received = await say(path, b"GET /own HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert b"\r\ndate: the handler's own\r\n" in received
        assert received.lower().count(b"date: ") == 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a?x=1", "/a {'x': '1'} outer"),
        ("http://inner/a?x=1", "/a {'x': '1'} inner"),
        ("HTTPS://inner:443/a%20b", "/a b {} inner:443"),
        ("http://inner", "/ {} inner"),
        ("http://[::1]:9410?x=1", "/ {'x': '1'} [::1]:9410"),
        ("http://inner//a", "//a {} inner"),
        ("/http://inner/", "/http://inner/ {} outer"),
    ],
)
async def test_a_target_may_name_its_host_which_counts_instead_of_the_header(path, target, expected):
    """A server has to take it (RFC 9112, section 3.2.2), and so does Go's."""

    async def handler(request):
        assert request.target == target
        return Response(body=f"{request.path} {dict(request.query)} {request.headers['host']}".encode())

    async with serving(path, handler):
        assert (await ask(path, target, headers=[("Host", "outer")])).text == expected


async def test_a_connection_is_kept_until_one_side_asks_to_close_it(path):
    async with serving(path, echo), open_exchange(path) as exchange:
        for _ in range(3):
            await exchange.send("GET", "/")
            assert (await exchange.answer()).status == 200
            exchange.start_next()
        await exchange.send("GET", "/", [("Host", "h"), ("Connection", "close")])
        assert (await exchange.answer()).headers["connection"] == "close"
        assert await exchange.stream.receive_some() == b""


async def test_pipelined_requests_are_answered_in_order(autojump_clock, path):
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(3))
    last = b"GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

    async def waiting(request):
        with trio.move_on_after(0.01):
            await request.wait_until_gone()
        return await echo(request)

    async with serving(path, waiting):
        received = await say(path, requests + last)
    assert [received.index(b"GET /%d" % number) for number in range(4)] == sorted(
        received.index(b"GET /%d" % number) for number in range(4)
    )


async def test_head_has_the_length_and_no_body(path):
    async with serving(path, echo), open_exchange(path) as exchange:
        for method in ("HEAD", "GET"):  # the second shows that nothing of a body was left in the connection
            await exchange.send(method, "/")
            answer = await exchange.answer()
            assert int(answer.headers["content-length"]) > 0
            assert bool(answer.body) is (method == "GET")
            exchange.start_next()


async def test_a_stream_sends_each_piece_at_once_and_says_when_it_is_over(path):
    go_on, responses = trio.Event(), []

    async def handler(request):
        async def write(send):
            await send(b"one\n")
            await go_on.wait()
            await send(b"two\n")

        responses.append(StreamResponse(write_body=write, headers=[("X-Answer", "yes")]))
        return responses[-1]

    async with serving(path, handler), open_exchange(path) as exchange:
        await exchange.send("GET", "/")
        assert (await exchange.event()).status_code == 200
        assert (await exchange.event()).data == b"one\n"
        assert not responses[0].finished.is_set()
        go_on.set()
        assert (await exchange.event()).data == b"two\n"
        await responses[0].finished.wait()


async def test_a_stream_is_cancelled_when_its_client_closes_its_side(path):
    ended = trio.Event()

    async def handler(request):
        async def write(send):
            await send(b"one\n")
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        return StreamResponse(write_body=write)

    async with serving(path, handler), open_exchange(path) as exchange:
        await exchange.send("GET", "/")
        await exchange.event()
        await exchange.stream.send_eof()
        await ended.wait()


@pytest.mark.parametrize("close", ["half", "whole"])
async def test_a_handler_learns_that_its_client_has_gone_and_may_still_answer(path, close):
    gone = trio.Event()

    async def handler(request):
        assert not request.is_gone
        await request.wait_until_gone()
        assert request.is_gone
        gone.set()
        return Response(body=b"too late")

    async with serving(path, handler), open_exchange(path) as exchange:
        await exchange.send("GET", "/")
        await wait_all_tasks_blocked()
        assert not gone.is_set()
        if close == "half":
            await exchange.stream.send_eof()
            assert (await exchange.answer()).body == b"too late"
        else:
            await exchange.stream.aclose()
            await gone.wait()


async def test_a_handler_may_stop_waiting_for_its_client_to_go(autojump_clock, path):
    async def handler(request):
        with trio.move_on_after(0.01):
            await request.wait_until_gone()
        return Response(body=str(request.is_gone).encode())

    async with serving(path, handler), open_exchange(path) as exchange:
        for _ in range(2):
            await exchange.send("GET", "/")
            assert (await exchange.answer()).body == b"False"
            exchange.start_next()


async def test_a_client_that_floods_while_its_request_is_served_counts_as_gone(path):
    async def handler(request):
        await request.wait_until_gone()
        return Response(body=b"enough")

    async with serving(path, handler):
        received = await say(path, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"x" * 400_000)
    assert received.endswith(b"enough")


async def test_a_handler_may_hang_up(path):
    async def handler(request):
        raise HangUp

    async with serving(path, handler):
        assert await say(path, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == b""


async def test_a_stream_may_hang_up_in_the_middle(path):
    async def handler(request):
        async def write(send):
            await send(b"one\n")
            raise HangUp

        return StreamResponse(write_body=write)

    async with serving(path, handler):
        with pytest.raises(CutOffError):
            await ask(path, "/")


async def test_a_body_may_be_cut_short(path):
    async def handler(request):
        return Response(body=b"0123456789", cut_at=4)

    async with serving(path, handler):
        received = await say(path, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert received.endswith(b"Content-Length: 10\r\n\r\n0123")


async def test_what_is_no_utf_8_in_a_target_becomes_a_replacement_character(path):
    async with serving(path, echo):
        answer = await ask(path, "/%ff%c3%28?x=%ff")
    assert answer.text == "GET /\ufffd\ufffd( {'x': '\ufffd'} None b''"


GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
REFUSED = {
    "TLS": (400, b"\x16\x03\x01 this is TLS\r\n\r\n"),
    "HTTP/0.9": (400, b"GET /\r\n"),
    "said to be HTTP/0.9": (505, b"GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, GET + b"Host: other\r\n\r\n"),
    "bad Host": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "absolute target without a host": (400, b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n"),
    "absolute target with a user": (400, b"GET http://me@h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    "absolute target and no Host": (400, b"GET http://h/ HTTP/1.1\r\n\r\n"),
    "absolute target and bad Host": (400, b"GET http://h/ HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "target of another scheme": (400, b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    "encoded NUL in an absolute target": (400, b"GET http://h/%00 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "target *": (400, b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    "CONNECT": (400, b"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n"),
    "NUL in the target": (400, b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "encoded NUL": (400, b"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "NUL in a header": (400, GET + b"X: \0\r\n\r\n"),
    "folded header": (400, GET + b"X: a\r\n b\r\n\r\n"),
    "blanks, which cost h11 a second": (400, GET + b"X: " + b" " * 16_000 + b"\x01\r\n\r\n"),
    "long head": (431, GET + b"X: " + b"x" * 20_000),
    "long head in one piece": (431, GET + b"X: y\r\n" * 3000 + b"\r\n"),
    "long first line": (431, b"GET /" + b"x" * 20_000),
    "bad length": (400, POST + b"Content-Length: x\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    "length and chunks": (411, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunks": (411, POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: x\r\n\r\n"),
    "other coding": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "large body": (413, POST + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000),
    "large body to come": (413, POST + b"Content-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_request_is_refused_and_the_next_is_served(autojump_clock, path, what):
    status, request_bytes = REFUSED[what]
    async with serving(path, echo):
        received = await say(path, request_bytes)
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close\r\n" in received
        assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in received
        assert received.endswith(b"\n")
        assert (await ask(path, "/")).status == 200


POSTED = POST + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
LAST = GET + b"Connection: close\r\n\r\n"
EMPTY_LINES = {
    "one": ([b"\r\n" + LAST], [200], [400]),
    "one in two pieces": ([b"\r", b"\n" + LAST], [200], [400]),
    "one by itself": ([b"\r\n", LAST], [200], [400]),
    "two": ([b"\r\n\r\n" + LAST], [400], [400]),
    "one before each of two requests": ([b"\r\n" + POSTED, b"\r\n" + LAST], [200, 200], [400]),
    "one after a body": ([POSTED + b"\r\n" + LAST], [200, 200], [200, 400]),
    "half of one": ([b"\r" + LAST], [400], [400]),
    "a line feed": ([b"\n" + LAST], [400], [400]),
}


@pytest.mark.parametrize("what", EMPTY_LINES)
async def test_an_empty_line_before_a_request_is_skipped_where_that_is_wished_for(autojump_clock, path, what):
    """RFC 9112, section 2.2, wants it; Go refuses it, and so the sandbox does."""
    pieces, *expected = EMPTY_LINES[what]
    for may_skip_line, statuses in zip((True, False), expected, strict=True):
        async with serving(path, echo, may_skip_line=may_skip_line):
            received = await say(path, *pieces, pause=1)
        assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"%d" % status for status in statuses]


@pytest.mark.parametrize("sent", [b"\r\n", b"\r"])
async def test_who_sends_an_empty_line_and_no_request_is_left_after_a_while(autojump_clock, path, sent):
    async with serving(path, echo, may_skip_line=True, stall_timeout=5):
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(sent)
            assert await stream.receive_some() == b""
        assert trio.current_time() == 5


async def test_a_refused_head_request_gets_no_body(autojump_clock, path):
    async with serving(path, echo):
        received = await say(path, b"HEAD * HTTP/1.1\r\nHost: h\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"\r\n\r\n")


async def test_one_who_goes_on_after_a_refusal_is_left_after_a_second(autojump_clock, path):
    async with serving(path, echo), await trio.open_unix_socket(str(path)) as stream:
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(100):
                await stream.send_all(b"\0")
                await trio.sleep(0.3)
    assert trio.current_time() == pytest.approx(1.2)


async def test_an_upgrade_is_not_taken_up(path):
    async with serving(path, echo):
        received = await say(
            path,
            GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\n",
            GET + b"Connection: close\r\nX: 2\r\n\r\n",
        )
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert received.index(b" 1 b''") < received.index(b" 2 b''")


async def test_an_expected_100_continue_is_given(path):
    async with serving(path, echo), await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(
            b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"hi")
        assert (await stream.receive_some()).endswith(b"b'hi'")


async def test_clients_that_leave_in_the_middle_harm_nobody(path):
    async def handler(request):
        return Response(body=b"x" * 10_000_000)

    async with serving(path, handler):
        for sent in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx"):
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(sent)
        for _ in range(20):
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await stream.receive_some(100)
        assert len((await ask(path, "/")).body) == 10_000_000


async def test_a_client_that_stalls_is_left_after_a_while_and_not_waited_for_at_the_end(autojump_clock, path):
    async def handler(request):
        return Response(body=b"x" * 10_000_000)

    async with serving(path, handler, stall_timeout=30):
        async with await trio.open_unix_socket(str(path)) as slow_to_ask, open_exchange(path) as slow_to_take:
            await slow_to_ask.send_all(b"GET / HTTP/1.1\r\n")
            await slow_to_take.send("GET", "/")
            await trio.sleep(29)
            with trio.move_on_after(0.5) as waiting:
                await slow_to_ask.receive_some()
            assert waiting.cancelled_caught
            await trio.sleep(1)
            assert await slow_to_ask.receive_some() == b""
            with pytest.raises(CutOffError):
                await slow_to_take.answer()
    assert trio.current_time() == 30.5


MEGABYTE = Response(body=b"x" * 2**20)


async def test_a_client_may_be_slow_to_take_a_large_answer_as_long_as_it_takes_it(autojump_clock, path):
    async def handler(request):
        return MEGABYTE

    async with serving(path, handler, stall_timeout=30), open_exchange(path) as exchange:
        await exchange.send("GET", "/")
        received = 0
        while received < 2**20:
            received += len(data := await exchange.stream.receive_some(2**15))
            assert data
            await trio.sleep(2.5)
        assert trio.current_time() > 75


async def test_a_client_that_takes_a_byte_a_second_does_not_live_for_ever(autojump_clock, path):
    ended = trio.Event()

    async def handler(request):
        async def write(send):
            try:
                await send(MEGABYTE.body)
            finally:
                ended.set()

        return StreamResponse(write_body=write) if request.path == "/stream" else MEGABYTE

    for number, target in enumerate(("/", "/stream"), 1):
        async with serving(path, handler, stall_timeout=30), open_exchange(path) as exchange:
            await exchange.send("GET", target)
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await exchange.stream.receive_some(1)
                    await exchange.stream.send_all(b"x")  # tells whether the server is there
                    await trio.sleep(1)
        assert trio.current_time() <= 31 * number
    assert ended.is_set()


@pytest.mark.parametrize("target", ["/", "/stream"])
async def test_serving_ends_at_once_though_a_client_does_not_read(autojump_clock, path, target):
    async def handler(request):
        async def write(send):
            await send(b"x" * 50_000_000)

        if request.path == "/stream":
            return StreamResponse(write_body=write)
        return Response(body=b"x" * 50_000_000)

    async with open_unix_listener(path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, handler, [listener])
        async with open_exchange(path) as exchange:
            await exchange.send("GET", target)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert trio.current_time() == 0


async def test_one_more_connection_takes_the_place_of_the_one_that_has_waited_longest(path):
    async with serving(path, echo, max_connections=3):
        async with open_exchange(path) as first, open_exchange(path) as second, open_exchange(path) as third:
            for exchange in (first, second, third):
                await exchange.send("GET", "/")
                assert (await exchange.answer()).status == 200
                exchange.start_next()
            await first.send("GET", "/")  # so it has not waited longest any more
            assert (await first.answer()).status == 200
            first.start_next()
            await third.stream.send_all(b"GET / HTTP/1.1\r\n")  # no request yet

            assert (await ask(path, "/")).status == 200
            assert await second.stream.receive_some() == b""
            async with open_exchange(path) as one, open_exchange(path) as other:
                for exchange in (one, other):
                    await exchange.send("GET", "/")
                    assert (await exchange.answer()).status == 200
                # The place that `ask` has left was free.
                assert await third.stream.receive_some() == b""
                await first.send("GET", "/")
                assert (await first.answer()).status == 200


@pytest.mark.parametrize("body", [b"fine", b"x" * 50_000_000])
async def test_where_nobody_waits_one_more_takes_the_place_of_who_has_been_answered_longest(path, body):
    """The first two are answered by a handler that takes long, or do not read."""

    async def handler(request):
        if request.path == "/slow" and body == b"fine":
            await trio.sleep_forever()
        return Response(body=body if request.path == "/slow" else b"fine")

    async with serving(path, handler, max_connections=2):
        async with open_exchange(path) as first, open_exchange(path) as second:
            for exchange in (first, second):
                await exchange.send("GET", "/slow")
                await wait_all_tasks_blocked()
            assert (await ask(path, "/")).body == b"fine"
            with pytest.raises(CutOffError):
                await first.answer()
            assert (await ask(path, "/")).body == b"fine"  # there is a place that is free
            if body != b"fine":
                assert (await second.answer()).body == body


async def test_a_long_answer_is_not_copied_for_each_who_is_sent_it(path, monkeypatch):
    body, sent = bytes(1_000_000), []
    send_all = trio.SocketStream.send_all

    async def note(stream, data):
        sent.append(data)
        await send_all(stream, data)

    async def handler(request):
        return Response(body=body)

    async with serving(path, handler):
        async with open_exchange(path) as exchange:
            await exchange.send("GET", "/")
            monkeypatch.setattr(trio.SocketStream, "send_all", note)
            assert (await exchange.answer()).body == body
    pieces = [piece for piece in sent if isinstance(piece, memoryview) and piece.obj is body]
    assert sum(map(len, pieces)) == len(body)


async def test_a_body_longer_than_is_taken_is_refused(path):
    async with serving(path, echo, max_body=10):
        assert (await ask(path, "/", "POST", body=b"x" * 10)).status == 200
        assert (await ask(path, "/", "POST", body=b"x" * 11)).status == 413


async def test_when_all_are_streams_one_more_is_asked_to_come_again(autojump_clock, path):
    go_on = trio.Event()

    async def handler(request):
        async def write(send):
            await go_on.wait()
            await send(b"fine")

        return StreamResponse(write_body=write) if request.path == "/stream" else Response()

    async with serving(path, handler, max_connections=2):
        async with open_exchange(path) as first, open_exchange(path) as second:
            for exchange in (first, second):
                await exchange.send("GET", "/stream")
            await wait_all_tasks_blocked()
            for _ in range(3):
                answer = await ask(path, "/")
                assert answer.status == 503
                assert answer.headers["connection"] == "close"
                assert answer.headers["retry-after"] == "1"
            async with contextlib.AsyncExitStack() as stack:
                crowd = [await stack.enter_async_context(open_exchange(path)) for _ in range(100)]
                assert [(await exchange.answer()).status for exchange in crowd] == [503] * 100
            go_on.set()
            assert [(await exchange.answer()).body for exchange in (first, second)] == [b"fine", b"fine"]
        await wait_all_tasks_blocked()
        assert (await ask(path, "/")).status == 200


async def test_a_request_that_came_just_before_its_place_was_taken_is_not_begun(path):
    handled = []

    async def handler(request):
        handled.append(request.path)
        await trio.lowlevel.checkpoint()
        return Response()

    async with serving(path, handler, max_connections=1), open_exchange(path) as exchange:
        await wait_all_tasks_blocked()
        await exchange.send("GET", "/first")
        async with open_exchange(path) as other:
            await other.send("GET", "/other")
            statuses = []
            for asked in (exchange, other):
                with contextlib.suppress(CutOffError):
                    statuses.append((await asked.answer()).status)
    assert statuses in ([200, 503], [200, 200], [200])
    assert len(handled) == statuses.count(200)


async def test_a_handler_learns_who_asks_over_a_unix_socket_and_that_nobody_knows_on_tcp(path):
    async def who(request):
        return Response(body=f"{request.is_local} {request.peer_uid}".encode())

    async with open_unix_listener(path) as unix, trio.open_nursery() as nursery:
        (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(serve_http, who, [unix, tcp])
        assert (await ask(path, "/")).text == f"True {os.getuid()}"
        async with await trio.open_tcp_stream(*tcp.socket.getsockname()) as stream:
            await stream.send_all(GET + b"Connection: close\r\n\r\n")
            received = b"".join([data async for data in stream])
        assert received.endswith(b"False None")
        nursery.cancel_scope.cancel()


async def test_where_the_platform_does_not_tell_nobody_knows_who_asks(path, monkeypatch):
    monkeypatch.delattr(socket, "SO_PEERCRED")

    async def who(request):
        return Response(body=f"{request.is_local} {request.peer_uid}".encode())

    async with serving(path, who):
        assert (await ask(path, "/")).text == "True None"


async def test_a_bug_in_a_handler_ends_the_server(path):
    async def handler(request):
        raise trio.BrokenResourceError("of something of the handler's own")

    with pytest.RaisesGroup(pytest.RaisesExc(trio.BrokenResourceError, match="own"), flatten_subgroups=True):
        async with serving(path, handler):
            await say(path, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await trio.sleep_forever()


@pytest.mark.parametrize("target", ["/", "/stream"])
async def test_a_bug_ends_its_connection_only_where_somebody_is_told(path, target):
    bugs = []

    async def write(send):
        raise ZeroDivisionError

    async def handler(request):
        if request.path == "/fine":
            return Response()
        if request.path == "/":
            raise ZeroDivisionError
        return StreamResponse(write_body=write)

    async with serving(path, handler, on_bug=bugs.append):
        await say(path, f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert (await ask(path, "/fine")).status == 200
    (bug,) = bugs
    assert "ZeroDivisionError" in repr(bug)


async def test_a_bug_in_a_stream_ends_the_server(path):
    async def handler(request):
        async def write(send):
            raise ZeroDivisionError

        return StreamResponse(write_body=write)

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with serving(path, handler):
            await say(path, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await trio.sleep_forever()


async def test_the_socket_has_the_mode_asked_for_and_is_gone_afterwards(path):
    umask = os.umask(0o077)
    try:
        async with open_unix_listener(path, mode=0o660):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert os.umask(0o077) == 0o077
    finally:
        os.umask(umask)
    assert not path.exists()


async def test_a_stale_socket_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path, echo):
        assert (await ask(path, "/")).status == 200


async def test_a_file_that_is_no_socket_is_left_alone(path):
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        async with open_unix_listener(path):
            pass
    assert path.read_text() == "precious"


async def test_a_socket_on_which_somebody_listens_is_left_alone(path):
    async with serving(path, echo):
        with pytest.raises(OSError, match="in use"):
            async with open_unix_listener(path):
                pass
        assert (await ask(path, "/")).status == 200


async def test_a_server_that_is_about_to_listen_keeps_its_path(path, monkeypatch):
    """Between ``bind`` and ``listen`` a socket looks stale to another server."""
    refused, listen = [], socket.socket.listen

    def be_disturbed(sock, backlog):
        monkeypatch.undo()
        with pytest.raises(OSError, match="in use") as excinfo:
            bind_unix_listener(path)
        refused.append(excinfo.value)
        listen(sock, backlog)

    monkeypatch.setattr(socket.socket, "listen", be_disturbed)
    async with serving(path, echo):
        assert (await ask(path, "/")).status == 200
        assert len(refused) == 1
        assert [each.name for each in path.parent.iterdir()] == ["s"]


async def test_a_socket_is_listened_on_until_it_is_unlinked(path, monkeypatch):
    """Else another server may put its own there in between, and lose it."""
    refused, unlink = [], Path.unlink

    def be_disturbed(file):
        if file == path:
            with pytest.raises(OSError, match="in use") as excinfo:
                bind_unix_listener(path)
            refused.append(excinfo.value)
        unlink(file)

    async with serving(path, echo):
        monkeypatch.setattr(Path, "unlink", be_disturbed)
    assert len(refused) == 1
    assert not path.exists()


async def test_a_lock_that_a_dead_server_has_left_is_taken(path):
    Path(f"{path}.lock").touch()
    async with serving(path, echo):
        assert (await ask(path, "/")).status == 200


async def test_a_socket_that_somebody_else_has_put_there_meanwhile_is_left_alone(path):
    async with open_unix_listener(path):
        path.unlink()
        async with serving(path, echo):
            pass
        path.write_text("precious")
    assert path.read_text() == "precious"


async def test_a_path_too_long_for_a_socket_is_an_error_and_leaks_nothing(tmp_path):
    with pytest.raises(OSError, match="too long"):
        async with open_unix_listener(tmp_path / ("x" * 200)):
            pass
