"""Commands on a real terminal of 80 columns: colours, whole lines, and a clean screen at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from house import House, open_house, tailnet_name

from .terminals import Terminal, open_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

BOX, FAIL, HEAL, SLOW, WIKI = map(tailnet_name, ("box", "fail", "heal", "slow", "wiki"))
LONG = tailnet_name("a-service-with-quite-a-long-name-of-its-own")
GREEN, YELLOW, RED = "\x1b[32m", "\x1b[33m", "\x1b[31m"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house("box", "fail", "heal", "slow", LONG.split(".")[0]) as house:
        fault = {"make": "control", "text": "the DNS provider is away"}
        house.ask_sandbox("POST", "faults", fault | {"domain": FAIL, "count": 1000})
        house.ask_sandbox("POST", "faults", fault | {"domain": HEAL, "count": 1})
        house.start(BOX, FAIL, HEAL, LONG, WIKI, "--files", house.folder / "tls")
        yield house


@pytest.fixture
def terminal(house: House) -> Iterator[Terminal]:
    with open_terminal(house) as terminal:
        yield terminal


@pytest.mark.parametrize("arguments", [["status"], ["status", "box"], ["status", "fail"], ["events"]])
def test_no_line_is_wider_than_the_terminal_and_trouble_has_colours(
    terminal: Terminal, arguments: list[str]
) -> None:
    terminal.type(*arguments)
    status, text = terminal.wait_for_end()
    assert status == 0
    assert tailnet_name("box") in text or tailnet_name("fail") in text
    assert terminal.is_whole()
    assert GREEN in terminal.screen("-e") or arguments == ["status", "fail"]
    assert "box" in arguments or (RED in terminal.screen("-e") or YELLOW in terminal.screen("-e"))


def test_the_table_has_what_to_do_under_each_name_that_is_not_well(terminal: Terminal) -> None:
    terminal.type("status")
    _, text = terminal.wait_for_end()
    (heads,) = re.findall(r"^   NAME .*", text, re.MULTILINE)
    assert heads.split() == ["NAME", "STATE", "VALID", "UNTIL", "NEXT", "ATTEMPT"]
    below = text.split(f"✗  {FAIL}")[1].split("\n✓")[0]
    assert "the DNS provider is away" in below
    assert "→ Usually passes by itself; look at https://status.tailscale.com" in below
    assert re.search(rf"^✓  {BOX} +issued +in 89 days +in 23 hours", text, re.MULTILINE)


def test_no_color_means_no_colour(house: House) -> None:
    with open_terminal(house, NO_COLOR="1") as terminal:
        terminal.type("status")
        terminal.wait_for_end()
        coloured = terminal.screen("-e")
    assert not any(colour in coloured for colour in (GREEN, YELLOW, RED))


def test_to_watch_shows_a_change_by_itself_and_ctrl_c_leaves_a_clean_screen(
    terminal: Terminal, house: House
) -> None:
    terminal.type("status", "--watch")
    terminal.wait(lambda screen: re.search(rf"✗  {HEAL} +failed", screen))
    assert terminal.tmux("display", "-p", "#{alternate_on}").strip() == "1"
    assert terminal.is_whole()
    house.run("renew", "heal")
    terminal.wait(lambda screen: re.search(rf"✓  {HEAL} +issued", screen))
    terminal.press("C-c")
    assert terminal.wait_for_end() == (0, "")
    assert terminal.tmux("display", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]


def test_to_watch_ends_with_q(terminal: Terminal) -> None:
    terminal.type("status", "box", "--watch")
    terminal.wait(lambda screen: "q or Ctrl-C ends" in screen and "SHA-256" in screen)
    terminal.press("q")
    assert terminal.wait_for_end() == (0, "")


def slow(house: House, name: str, seconds: int) -> None:
    fault = {"make": "delay", "seconds": seconds, "domain": name, "count": 1, "at": "order"}
    house.ask_sandbox("POST", "faults", fault)


def test_a_renewal_counts_the_seconds_on_a_line_that_is_gone_at_the_end(
    terminal: Terminal, house: House
) -> None:
    slow(house, BOX, 5)
    terminal.type("renew", "box", "--force")
    terminal.wait(lambda screen: re.search(rf"{BOX}: [1-9] s, asked tailscaled; ", screen))
    status, text = terminal.wait_for_end()
    assert (status, "asked tailscaled" in text) == (0, False)
    assert re.search(rf"^{BOX}: renewed: valid until .*\(in 89 days\)$", text, re.MULTILINE)
    assert terminal.is_whole()


def test_cert_counts_the_seconds_on_a_line_that_is_gone_at_the_end(terminal: Terminal, house: House) -> None:
    house.ask_sandbox("PUT", "cert-domains", [BOX, FAIL, HEAL, LONG, SLOW, tailnet_name("one")])
    slow(house, tailnet_name("one"), 5)
    terminal.type("cert", tailnet_name("one"), "--socket", str(house.tailscaled))
    terminal.wait(lambda screen: re.search("asked tailscaled, [1-9] s; a first certificate takes", screen))
    status, text = terminal.wait_for_end()
    assert (status, "asked tailscaled" in text) == (0, False)
    assert len(text.splitlines()) == 3


def test_ctrl_c_ends_cert_cleanly(terminal: Terminal, house: House) -> None:
    slow(house, SLOW, 60)
    terminal.type("cert", SLOW, "--socket", str(house.tailscaled), "--cert-file", f"{house.folder}/c.pem")
    terminal.wait(lambda screen: re.search("asked tailscaled, [1-9] s", screen))
    terminal.press("C-c")
    status, text = terminal.wait_for_end()
    assert (status, text.replace("^C", "").strip()) == (130, "")
    assert not (house.folder / "c.pem").exists()
