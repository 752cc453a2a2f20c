"""``tscert-trio events``: what has happened, and what happens."""

import json
import re
import signal

import pytest
from commands import SECONDS, run
from house import open_house, tailnet_name

BOX, SHOP = tailnet_name("box"), tailnet_name("shop")
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def outcomes_of(result):
    """Return the outcome on each line; what took long enough has a duration behind it."""
    return re.findall(r"(\w+)(?:, \d+\.\d s)?$", result.stdout, re.MULTILINE)


@pytest.fixture
def house():
    with open_house("box", "shop") as house:
        house.start(BOX, SHOP, "--files", house.folder / "tls")
        yield house


@pytest.fixture
def follow(house):
    """Follow the events; end that with the test."""
    started = []

    def follow(*arguments):
        started.append(house.popen("events", "-f", *arguments))
        return started[-1]

    yield follow
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_each_event_has_a_line_and_the_newest_is_the_last(house):
    house.ask_sandbox("POST", "faults", {"make": "control", "text": "away", "domain": BOX})
    house.run("renew", "box", "--force")
    lines = house.run("events").stdout.splitlines()
    assert len(lines) == 5
    assert re.match(rf"✓ {TIME}  \S+  +issue +issued", lines[0])
    assert re.fullmatch(rf"! {TIME}  {BOX}   renew +ControlError.*  SetDNS .* away", lines[-1])
    assert sum(re.search(r"/tls  written$", line) is not None for line in lines) == 2


def test_they_may_be_of_one_name_and_few(house):
    (line,) = house.run("events", "shop", "-n", "1").stdout.splitlines()
    assert f"  {SHOP}  " in line
    assert "written" in line


def test_as_json_each_is_an_object_on_a_line_of_its_own(house):
    events = [json.loads(line) for line in house.run("events", "--json").stdout.splitlines()]
    assert {event["outcome"] for event in events} == {"issued", "written"}
    assert {event["domain"] for event in events} == {BOX, SHOP}


@pytest.mark.parametrize("is_dead", [False, True])
def test_a_name_that_has_left_still_has_its_events(house, is_dead):
    house.service.end()
    house.start(BOX)
    if is_dead:
        house.kill()
    for text in ("shop", SHOP.upper()):
        result = house.run("events", text)
        assert result.returncode == 0
        assert outcomes_of(result) == ["issued", "written"]
        assert result.stdout.count(SHOP) == 2
    for text in ("shob", f"{SHOP[:-1]}x"):
        result = house.run("events", text)
        assert (result.returncode, result.stdout) == (1, "")
        assert f"no certificate is kept for {text}" in result.stderr
    assert f"Is it {SHOP}?" in house.run("events", "shob").stderr


def test_following_goes_on_over_a_restart_of_the_service_and_says_so_once(house, follow):
    process = follow("-n", "1")
    assert "written" in process.stdout.readline()
    house.service.end()
    assert "waiting for it" in process.stderr.readline()
    house.start(BOX, SHOP)
    assert process.stderr.readline() == "tscert-trio: the service is back\n"
    house.run("renew", "shop", "--force")
    assert re.match(rf"✓ {TIME}  {SHOP}  renew  issued", process.stdout.readline())
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output, errors) == (130, "", "")


def test_a_service_that_does_not_know_the_name_yet_is_waited_for(house, follow):
    process = follow("-n", "1", "box")
    assert "written" in process.stdout.readline()
    process.send_signal(signal.SIGSTOP)  # so that it meets the next service first
    house.service.end()
    house.start(SHOP, TSCERT_STATE=":memory:")
    process.send_signal(signal.SIGCONT)
    assert process.stderr.readline() == f"tscert-trio: no certificate is kept for {BOX}; waiting for it\n"
    house.service.end()
    house.start(BOX, SHOP)
    assert process.stderr.readline() == "tscert-trio: the service is back\n"


def test_of_a_dead_service_the_journal_tells(house):
    house.kill()
    result = house.run("events", "box")
    assert result.returncode == 0
    assert outcomes_of(result) == ["issued", "written"]
    (line,) = result.stderr.splitlines()
    assert line.endswith("What follows is from its journal.")
    result = house.run("events", "box", "-f")
    assert result.returncode == 1
    assert outcomes_of(result) == ["issued", "written"]
    (line,) = result.stderr.splitlines()
    assert "systemctl start tscert-trio" in line
    assert line.endswith("What follows is from its journal.")


@pytest.mark.parametrize("arguments", [["-n", "0"], ["-n", "many"], ["a", "b"]])
def test_a_command_line_that_makes_no_sense_has_status_2(tmp_path, arguments):
    result = run("events", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
