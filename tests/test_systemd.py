"""What systemd is told."""

import logging
import socket

import pytest
import trio
from conftest import virtual_clock
from statuses import HOUR, MINUTE, A, B, delivery, domain, statistics

from tscert_trio import DomainState
from tscert_trio.cli.systemd import keep_systemd_informed, notify
from tscert_trio.status.making import make_report


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


class Manager:
    """Its statistics are all that is read of it."""

    def __init__(self, read=None):
        self.read = read or (lambda: statistics(domain(A, DomainState.WAITING, next_attempt_at=None)))

    def statistics(self):
        return self.read()


async def run(systemd, seconds, environ, manager=None):
    """Return what systemd receives in this time; its queue holds ten messages."""
    messages = []
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_systemd_informed, manager or Manager(), environ, virtual_clock)
            while True:
                await trio.sleep(0.5)
                messages += systemd.received()
    return messages


def test_a_message_arrives_at_either_kind_of_socket(systemd):
    assert notify("READY=1", systemd.environ)
    assert systemd.received() == ["READY=1"]


@pytest.mark.parametrize(
    ("environ", "is_told"),
    [({}, True), ({"NOTIFY_SOCKET": ""}, True), ({"NOTIFY_SOCKET": "/nonexistent/s"}, False)],
)
def test_without_systemd_nothing_happens(environ, is_told):
    assert notify("READY=1", environ) is is_told


async def test_what_systemd_has_no_room_for_is_told_again(autojump_clock, systemd):
    """Each thing once, when there is room."""
    filled = 0
    while notify("X=1", systemd.environ):
        filled += 1
    messages = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_systemd_informed, Manager(), systemd.environ, virtual_clock)
        await trio.sleep(20)
        assert systemd.received() == filled * ["X=1"]
        for _ in range(100):
            await trio.sleep(1)
            messages += systemd.received()
        nursery.cancel_scope.cancel()
    assert messages[0] == "READY=1"
    assert messages.count("READY=1") == 1
    assert sum(message.startswith("STATUS=") for message in messages) == 1


async def test_the_watchdog_is_fed_three_times_within_its_time(autojump_clock, systemd):
    environ = {**systemd.environ, "WATCHDOG_USEC": "6000000"}
    messages = await run(systemd, 58, environ)
    assert messages.count("WATCHDOG=1") == 30  # after 0, 1, 3, 5 … 57 seconds
    status = f"STATUS={make_report(Manager().statistics(), virtual_clock()).summary}"
    assert messages.count(status) == 1
    assert messages[0] == "READY=1"
    assert len(messages) == 32


@pytest.mark.parametrize(
    "variables",
    [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_PID": "1", "WATCHDOG_USEC": "6"}],
)
async def test_a_watchdog_that_is_not_for_this_process_is_none(autojump_clock, systemd, variables):
    assert len(await run(systemd, 100, systemd.environ | variables)) < 12


async def test_without_a_watchdog_the_status_is_told_less_and_less_often(autojump_clock, systemd):
    assert 120 <= len(await run(systemd, 3600, systemd.environ)) <= 130


async def test_an_engine_that_stands_still_is_alive_to_systemd_no_more(autojump_clock, systemd, caplog):
    """It is told once why, and not at the first look: after a suspend the loops have not run yet."""
    environ = {**systemd.environ, "WATCHDOG_USEC": "6000000"}
    late, asleep = virtual_clock() - 11 * MINUTE, virtual_clock() + HOUR

    def read():
        at = late if 10 <= trio.current_time() - began < 20 else asleep
        return statistics(domain(A, next_attempt_at=at), domain(B, next_attempt_at=asleep))

    began = trio.current_time()
    messages = await run(systemd, 30, environ, Manager(read))
    assert messages.count("WATCHDOG=1") == 6 + 5  # after 0, 1, 3, 5, 7, 9 and 21, 23, 25, 27, 29 seconds
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith(f"the engine stands still: {A}: its next attempt was due 11 minutes ago")


async def test_a_late_look_that_is_over_by_the_next_one_is_not_told(autojump_clock, systemd, caplog):
    began, late = trio.current_time(), virtual_clock() - HOUR

    def read():
        return statistics(domain(next_attempt_at=late if trio.current_time() == began + 1 else None))

    messages = await run(systemd, 4, systemd.environ, Manager(read))
    assert messages.count("WATCHDOG=1") == 2  # after 0 and 3 seconds
    assert caplog.records == []


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}", "\N{ROCKET}", "\udcff"])
async def test_a_status_fits_into_a_datagram_and_is_cut_between_letters(autojump_clock, systemd, letter):
    broken = statistics(domain(), deliveries=(delivery(error=letter * 300_000),))
    messages = await run(systemd, 0.9, systemd.environ, Manager(lambda: broken))
    (status,) = [message for message in messages if message.startswith("STATUS=")]
    assert len(status) == len("STATUS=") + 500
    assert status.endswith(letter.encode(errors="replace").decode())


async def test_a_status_is_one_line_whatever_a_hook_says(autojump_clock, systemd):
    """Another line would be another message of ours to systemd."""
    broken = statistics(domain(), deliveries=(delivery(error="broken\nMAINPID=1"),))
    messages = await run(systemd, 0.9, systemd.environ, Manager(lambda: broken))
    (status,) = [message for message in messages if message.startswith("STATUS=")]
    assert "broken MAINPID=1" in status
    assert "\n" not in status
