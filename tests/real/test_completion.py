"""Completion of names in real shells, by the files as they are shipped."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from house import House, open_house, tailnet_name

from .terminals import Terminal, open_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parents[2] / "packaging" / "completion"
MAIL, SHOP = tailnet_name("mail"), tailnet_name("shop")
SHELLS = {  # how each starts without anybody's configuration, and what makes it complete our command
    "bash": ("--norc --noprofile -i", f"PS1='> '; source {FOLDER}/tscert-trio.bash"),
    "zsh": ("-f -i", f"PS1='> '; fpath=({FOLDER} $fpath); autoload -U compinit; compinit -u -D"),
    "fish": (
        "--no-config --private -i",
        f"function fish_prompt; echo -n '> '; end; source {FOLDER}/tscert-trio.fish",
    ),
}
NO_SERVICE = {"TSCERT_STATUS_SOCKET": "none", "TSCERT_STATE": ":memory:"}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One that keeps two names, and has our command in a folder of its own."""
    with open_house("mail", "shop") as house:
        command = house.folder / "bin" / "tscert-trio"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tscert_trio "$@"\n')
        command.chmod(0o755)
        house.start(MAIL, SHOP)
        yield house


@contextmanager
def open_shell(house: House, program: str, **variables: str) -> Iterator[Terminal]:
    """Start a shell that completes our command, on a clear screen."""
    options, preparation = SHELLS[Path(program).name]
    path = f"{house.folder}/bin:{os.environ['PATH']}"
    with open_terminal(house, f"{program} {options}", PATH=path, **variables) as terminal:
        terminal.write(f"{preparation}; clear; echo ready")
        terminal.press("Enter")
        terminal.wait(lambda screen: screen.startswith("ready\n"))
        yield terminal


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, program_of: Callable[[str], str]) -> str:
    """The path of each shell in turn."""
    return program_of(request.param)


@pytest.mark.parametrize("command", ["status", "renew", "events"])
def test_the_beginning_of_a_name_that_is_kept_becomes_the_whole_name(
    house: House, shell: str, command: str
) -> None:
    with open_shell(house, shell) as terminal:
        terminal.write(f"tscert-trio {command} ma")
        terminal.press("Tab")
        terminal.wait(lambda screen: f"tscert-trio {command} {MAIL}" in screen)
        assert finished_lines(terminal) == [f"> tscert-trio {command} {MAIL} end"]


def test_nothing_is_offered_and_nothing_said_where_no_service_answers(house: House, shell: str) -> None:
    with open_shell(house, shell, **NO_SERVICE) as terminal:
        terminal.write("tscert-trio renew ma")
        terminal.press("Tab")
        assert finished_lines(terminal) == ["> tscert-trio renew maend"]


def finished_lines(terminal: Terminal) -> list[str]:
    """Type a last word, and return the lines then: fish shows before what it only suggests."""
    terminal.write("end")
    screen = terminal.wait(lambda screen: screen.rstrip().endswith("end"))
    ready, *lines = (line.rstrip() for line in screen.rstrip().splitlines())
    assert ready == "ready"
    return lines
