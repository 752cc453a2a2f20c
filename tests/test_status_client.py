"""The client of the status socket, on a real service and on what is none."""

import os
import re
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from house import open_house, run_as_stranger, tailnet_name

from tscert_trio.errors import NoStatusServiceError, StatusServiceError
from tscert_trio.status import client as client_module
from tscert_trio.status.client import StatusClient, reach
from tscert_trio.status.finding import find_name
from tscert_trio.status.report import Level, Source

BOX, SHOP = tailnet_name("box"), tailnet_name("shop")


@pytest.fixture(scope="module")
def house():
    with open_house("box", "shop") as house:
        house.start(BOX, SHOP)
        yield house


def test_it_returns_what_the_service_tells(house):
    report = house.client.status()
    assert (report.source, report.level) == (Source.SERVICE, Level.GOOD)
    assert [each.name for each in report.domains] == [BOX, SHOP]
    detail = house.client.domain(BOX)
    assert detail.domain.certificate.fingerprint == detail.certificates[-1].fingerprint
    events = house.client.events(limit=1, domain=SHOP).events
    assert [(event.domain, event.outcome) for event in events] == [(SHOP, "issued")]
    assert house.client.events(after=events[0].id, domain=SHOP).events == ()


def test_a_renewal_tells_when_the_service_took_note_of_it(house):
    attempts = house.report("shop").attempts
    asked_at, before = house.client.renew(SHOP)
    assert abs(datetime.now(UTC) - asked_at) < timedelta(minutes=1)
    assert before == attempts > 0


@pytest.mark.parametrize("ask", ["domain", "renew"])
def test_an_unknown_name_is_refused_with_the_nearest(house, ask):
    with pytest.raises(StatusServiceError, match="no certificate is kept for bxo") as caught:
        getattr(house.client, ask)("bxo.tail1234.ts.net")
    assert caught.value.status == 404
    assert caught.value.told().endswith(f"Is it {BOX}?")


def test_a_name_cannot_lead_to_another_path(house):
    with pytest.raises(StatusServiceError) as caught:
        house.client.domain("../status")
    assert caught.value.status == 404


def test_the_first_socket_on_which_somebody_listens_is_taken(house, tmp_path):
    assert reach([tmp_path / "missing", house.socket]).path == house.socket


@contextmanager
def short_folder():
    """A folder of whose files a socket's path may be."""
    with tempfile.TemporaryDirectory(prefix="tscert-") as text:
        yield Path(text)


def stale(folder):
    """Leave a socket on which nobody listens any more."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "stale"))


@pytest.mark.parametrize("place", ["missing", "no/folder", "stale"])
def test_where_nobody_listens_it_says_how_to_start_the_service(place):
    with short_folder() as folder:
        stale(folder)
        with pytest.raises(NoStatusServiceError) as caught:
            reach([folder / place])
    text = caught.value.told()
    assert text.startswith(f"no service listens on {folder}")
    assert "systemctl start tscert-trio" in text
    assert "\n" not in text


def test_without_any_socket_it_says_that_it_is_switched_off():
    with pytest.raises(NoStatusServiceError, match="switched off"):
        reach([])


def test_a_path_that_is_too_long_is_told():
    with short_folder() as folder, pytest.raises(NoStatusServiceError, match="too long"):
        reach([folder / ("x" * 200)])


def test_who_may_not_connect_is_told_who_may(house):
    """Root becomes a stranger; another user takes the right away from himself."""
    before = house.socket.stat().st_mode
    house.socket.chmod(0o600 if os.geteuid() == 0 else 0)
    try:
        result = run_as_stranger(house, "events", "-f")
    finally:
        house.socket.chmod(before)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"this user may not ask the service on {house.socket}: root, its owner and the group " in line
    assert "Run it with sudo" in line


@contextmanager
def impostor(answer, *, pause=None):
    """Something that listens, reads, and answers this; ``None`` is nothing at all, for ever.

    With a pause in seconds it answers byte by byte, with that between them.
    """
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        ended = threading.Event()

        def serve():
            with listener.accept()[0] as connection:
                while not re.search(rb"^GET .*\r\n\r\n|\}$", connection.recv(65536), re.DOTALL):
                    pass  # the body of a POST comes by itself
                if answer is None:
                    ended.wait(20)
                elif pause is not None:
                    with suppress(BrokenPipeError):
                        for byte in answer:
                            if not ended.wait(pause):
                                connection.sendall(bytes([byte]))
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield StatusClient(folder / "s")
        finally:
            ended.set()
            thread.join()


def http(status, body):
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"220 mail.example ESMTP\r\n", "no HTTP"),
        (http(200, "<html>"), "no StatusReport"),
        (http(200, '{"version": 1}'), "no StatusReport"),
        (http(200, "[]"), "no StatusReport"),
        (http(500, "oh"), "status 500 and no JSON"),
        (http(404, '{"error": 1}'), "status 404 and no JSON"),
        (b"HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n{", "no HTTP"),
    ],
)
def test_what_is_not_this_service_is_told_as_such(answer, what):
    with impostor(answer) as client, pytest.raises(StatusServiceError, match=what) as caught:
        client.status()
    assert not isinstance(caught.value, NoStatusServiceError)
    assert "is not this service" in caught.value.told()


def test_who_hangs_up_does_not_answer():
    with impostor(b"") as client, pytest.raises(NoStatusServiceError, match="hung up"):
        client.status()


def test_who_is_asked_by_too_many_does_not_answer():
    with (
        impostor(http(503, "too many connections, try again")) as client,
        pytest.raises(NoStatusServiceError, match="too many others"),
    ):
        client.status()


def test_who_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(client_module, "_TIMEOUT_SECONDS", 0.2)
    with impostor(None) as client, pytest.raises(NoStatusServiceError, match="does not answer within"):
        client.status()


def test_who_answers_drop_by_drop_is_given_up(monkeypatch):
    """Each byte comes in time, the whole would take a minute."""
    monkeypatch.setattr(client_module, "_TIMEOUT_SECONDS", 0.5)
    with (
        impostor(http(200, 600 * "x"), pause=0.1) as client,
        pytest.raises(NoStatusServiceError, match="does not answer within"),
    ):
        client.status()


def test_a_refusal_is_in_the_services_words():
    body = '{"error": "it is too late", "remedy": "come tomorrow"}'
    with impostor(http(403, body)) as client, pytest.raises(StatusServiceError) as caught:
        client.renew(BOX)
    assert (caught.value.status, caught.value.told()) == (403, "it is too late. come tomorrow")


@pytest.mark.parametrize("text", ["box", "BOX.tail1234.ts.net", "box.tail1234.ts.net."])
def test_a_name_may_be_short_and_in_capitals(text):
    assert find_name(text, [BOX, SHOP]) == BOX


def test_a_short_name_of_several_is_refused_with_all_of_them():
    with pytest.raises(StatusServiceError, match="may mean 2 names") as caught:
        find_name("box", [BOX, "box.example.ts.net"])
    assert caught.value.remedy == f"Say which: box.example.ts.net, {BOX}."


def test_an_unknown_name_that_is_near_to_none_is_refused_without():
    with pytest.raises(StatusServiceError) as caught:
        find_name("zzz", [BOX])
    assert "tscert-trio status" in caught.value.remedy
