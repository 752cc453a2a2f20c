"""What systemd is told."""

import socket
from datetime import UTC, datetime

import pytest
import trio
from certs import make_cert, make_key

from tscert_trio import CertChain, CertManagerStatistics, DomainState, DomainStatistics, UnreachableError
from tscert_trio.cli.systemd import keep_systemd_informed, notify, status_line

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Systemd:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address.replace("\0", "@", 1)}

    def received(self):
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = {"file": str(tmp_path / "n"), "abstract": f"\0tscert-test-{tmp_path}"}[request.param]
    systemd = Systemd(address)
    yield systemd
    systemd.socket.close()


def domain(name, state=DomainState.ISSUED, error=None, leaf=None):
    return DomainStatistics(
        domain=name, state=state, leaf=leaf, attempts=1, failures=0, last_error=error, last_success_at=NOW,
        next_attempt_at=NOW,
    )  # fmt: skip


def statistics(*domains):
    return CertManagerStatistics(domains=domains, cert_domains=frozenset(), bus_connected=True)


class Manager:
    """Its statistics are all that is read of it."""

    def statistics(self):
        return statistics(domain("a.ts.net", DomainState.WAITING))


async def run(systemd, seconds, environ):
    """Return what systemd receives in this time; its queue holds ten messages."""
    messages = []
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_systemd_informed, Manager(), environ)
            while True:
                await trio.sleep(0.5)
                messages += systemd.received()
    return messages


def test_a_message_arrives_at_either_kind_of_socket(systemd):
    notify("READY=1", systemd.environ)
    assert systemd.received() == ["READY=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nonexistent/s"}])
def test_without_systemd_nothing_happens(environ):
    notify("READY=1", environ)


async def test_the_watchdog_is_fed_three_times_within_its_time(autojump_clock, systemd):
    environ = {**systemd.environ, "WATCHDOG_USEC": "6000000"}
    messages = await run(systemd, 58, environ)
    assert messages.count("WATCHDOG=1") == 30  # after 0, 1, 3, 5 … 57 seconds
    assert (
        messages.count("STATUS=0 of 1 names have a valid certificate, 1 waiting to become CertDomains") == 1
    )


@pytest.mark.parametrize(
    "variables",
    [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_PID": "1", "WATCHDOG_USEC": "6"}],
)
async def test_a_watchdog_that_is_not_for_this_process_is_none(autojump_clock, systemd, variables):
    assert len(await run(systemd, 100, systemd.environ | variables)) < 12


async def test_without_a_watchdog_the_status_is_told_less_and_less_often(autojump_clock, systemd):
    assert 120 <= len(await run(systemd, 3600, systemd.environ)) <= 130


def test_a_status_fits_into_a_datagram():
    error = UnreachableError("x" * 300_000)
    assert len(status_line(statistics(domain("a.ts.net", DomainState.FAILED, error)), NOW)) == 500


def test_the_status_names_a_failure():
    error = UnreachableError("tailscaled's socket /s: no such socket")
    line = status_line(statistics(domain("a.ts.net"), domain("b.ts.net", DomainState.FAILED, error)), NOW)
    assert line == (
        "0 of 2 names have a valid certificate, 1 failing, such as b.ts.net: tailscaled's socket /s: "
        "no such socket"
    )


def test_the_status_counts_only_certificates_that_are_valid_now():
    leaf = CertChain.from_pem(make_cert(make_key(), "a.ts.net")).leaf
    all_names = statistics(domain("a.ts.net", leaf=leaf), domain("b.ts.net"))
    assert status_line(all_names, leaf.not_after) == "1 of 2 names have a valid certificate"
    assert status_line(all_names, leaf.not_after + leaf.lifetime) == "0 of 2 names have a valid certificate"
