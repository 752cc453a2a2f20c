"""A real TLS server on loopback is looked at."""

import socket
import ssl
from datetime import timedelta

import pytest
import trio
from certs import key_pem, make_cert, make_key

from tscert_trio import CertPair
from tscert_trio.targets import PROBE_DELAYS, Served, probe, probe_until_new

NAME = "box.tail1234.ts.net"
TIMEOUT = timedelta(seconds=10)


def make_pair(*names, serial=1):
    key = make_key()
    return CertPair.from_pem(key_pem(key) + make_cert(key, *names, serial=serial))


OLD, NEW, OTHER = make_pair(NAME), make_pair(NAME, serial=2), make_pair("other.ex", "b.ex")


class Server:
    """Serves one certificate; it may change at a given connection."""

    def __init__(self, folder):
        self.folder = folder
        self.pairs = []  # one for each connection; the last one stays
        self.names = []
        self.times = []

    def serve(self, *pairs):
        self.pairs = [self._context(number, pair) for number, pair in enumerate(pairs)]

    def _context(self, number, pair):
        path = self.folder / f"{number}.pem"
        path.write_bytes(pair.key_pem + pair.chain_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        return context

    async def handle(self, stream):
        self.times.append(trio.current_time())
        context = self.pairs.pop(0) if len(self.pairs) > 1 else self.pairs[0]
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await tls.do_handshake()
            await tls.receive_some()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(tls)


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request):
    return request.param


@pytest.fixture
async def server(nursery, tmp_path, host):
    """A server, with its port."""
    server = Server(tmp_path)
    listeners = await nursery.start(lambda task_status: serve(server.handle, host, task_status))
    server.port = listeners[0].socket.getsockname()[1]
    return server


async def serve(handler, host, task_status):
    try:
        listeners = await trio.open_tcp_listeners(0, host=host)
    except OSError:
        pytest.skip(f"there is no {host} here")
    await trio.serve_listeners(handler, listeners, task_status=task_status)


async def look(host, port, domain=NAME):
    with trio.fail_after(60):
        return await probe(host, port, domain, leaf=NEW.leaf, before=OLD.leaf.fingerprint, timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("pair", "served", "text"),
    [
        (NEW, Served.NEW, "serves the new certificate"),
        (OLD, Served.OLD, "still serves the certificate before"),
        (
            OTHER,
            Served.OTHER,
            "serves another certificate, for b.ex, other.ex, valid until 2026-04-01",
        ),
    ],
)
async def test_which_certificate_is_served_is_seen_and_said(server, host, pair, served, text):
    """That it is self-signed, and for another name, or over, is not the question."""
    server.serve(pair)
    probed = await look(host, server.port)
    assert probed.served is served
    place = f"[::1]:{server.port}" if host == "::1" else f"127.0.0.1:{server.port}"
    assert probed.text == f"{place} {text}"
    assert server.names == [NAME]


async def test_without_a_certificate_before_the_old_one_is_another(server, host):
    server.serve(OLD)
    with trio.fail_after(60):
        probed = await probe(host, server.port, NAME, leaf=NEW.leaf, before=None, timeout=TIMEOUT)
    assert probed.served is Served.OTHER


async def test_an_address_may_stand_in_brackets(server, host):
    server.serve(NEW)
    assert (await look(f"[{host}]", server.port)).served is Served.NEW


async def test_a_wildcard_is_asked_for_by_a_name_below_it(server, host):
    server.serve(NEW)
    await look(host, server.port, "*.tail1234.ts.net")
    assert server.names == ["tscert-probe.tail1234.ts.net"]


async def test_a_certificate_that_cannot_be_read_is_told_by_its_fingerprint(server, host):
    key = make_key()
    server.serve(CertPair(key_pem=key_pem(key), chain_pem=make_cert(key), leaf=NEW.leaf))  # it has no names
    probed = await look(host, server.port)
    assert probed.served is Served.OTHER
    assert "with the fingerprint" in probed.text


async def test_where_nobody_listens_it_says_so(host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        probed = await look(host, sock.getsockname()[1])
    assert probed.served is Served.NONE
    assert probed.text.endswith("serves no certificate: Connection refused")


async def answer_http(stream):
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def hang_up(stream):
    await stream.aclose()


async def reset(stream):
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.receive_some(1)
    await stream.aclose()


@pytest.mark.parametrize("handler", [answer_http, hang_up, reset])
async def test_what_speaks_no_tls_serves_none(nursery, handler):
    listeners = await nursery.start(lambda task_status: serve(handler, "127.0.0.1", task_status))
    probed = await look("127.0.0.1", listeners[0].socket.getsockname()[1])
    assert probed.served is Served.NONE
    assert "serves no certificate: " in probed.text
    assert "\n" not in probed.text
    nursery.cancel_scope.cancel(reason="seen")


async def test_a_server_that_says_nothing_is_given_up(autojump_clock, nursery):
    async def say_nothing(_stream):
        await trio.sleep_forever()

    listeners = await nursery.start(lambda task_status: serve(say_nothing, "127.0.0.1", task_status))
    port = listeners[0].socket.getsockname()[1]
    probed = await look("127.0.0.1", port)
    assert (probed.served, probed.text) == (Served.NONE, f"127.0.0.1:{port} did not answer within 10s")
    assert trio.current_time() == 10
    nursery.cancel_scope.cancel(reason="seen")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "a..b"])
async def test_a_host_that_there_is_not_serves_none(host):
    assert (await look(host, 443)).served is Served.NONE


async def look_until_new(server, host):
    return await probe_until_new(
        host, server.port, NAME, leaf=NEW.leaf, before=OLD.leaf.fingerprint, timeout=TIMEOUT
    )


@pytest.fixture
def patient_clock(autojump_clock):
    """A virtual clock that lets a handshake take its real time."""
    autojump_clock.autojump_threshold = 0.2
    return autojump_clock


async def test_looks_go_on_until_the_new_certificate_is_served(patient_clock, server, host):
    server.serve(OLD, OLD, NEW)
    began = trio.current_time()
    assert (await look_until_new(server, host)).served is Served.NEW
    assert [at - began for at in server.times] == pytest.approx([0, 0.25, 0.75], abs=0.01)


async def test_looks_end_after_ten_seconds_and_the_last_one_counts(patient_clock, server, host):
    server.serve(OLD, OLD, OLD, OLD, OLD, OLD, OTHER)
    began = trio.current_time()
    assert (await look_until_new(server, host)).served is Served.OTHER
    assert [at - began for at in server.times] == pytest.approx([0, 0.25, 0.75, 1.5, 2.5, 4.5, 9.5], abs=0.01)
    assert len(server.times) == len(PROBE_DELAYS) + 1
