"""A real terminal of 80 columns, in tmux, and a shell in it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from commands import SECONDS, environment

from .stack.install import find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from house import House

__all__ = ["Terminal", "open_terminal"]

_SHELL = "sh -i"


class Terminal:
    """A shell in tmux.

    Args:
        house: whose commands it is to run.
        variables: of the environment, besides.
        shell: the command that starts the shell.
    """

    def __init__(self, house: House, variables: dict[str, str], shell: str) -> None:
        self._tmux = [find_program("tmux"), "-S", str(house.folder / f"tmux-{time.monotonic_ns()}")]
        inherited = environment(**(house.variables | variables), LC_ALL="C.UTF-8")
        # The size is the terminal's, whatever that of the tests is.
        self._environment = {
            key: value for key, value in inherited.items() if key not in {"COLUMNS", "LINES"}
        }
        self._house = house
        self._shell = shell

    def tmux(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._tmux, *arguments],
            cwd=self._house.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        ).stdout

    def start(self) -> None:
        command = f"exec {self._shell}"
        self.tmux("-f", "/dev/null", "-u", "new-session", "-d", "-x", "80", "-y", "50", command)
        self.wait(lambda screen: screen.rstrip().endswith(("#", "$", "%", ">")))

    def type(self, *arguments: str) -> None:
        """Clear the screen and run our command."""
        command = shlex.join([sys.executable, "-m", "tscert_trio", *arguments])
        self.write(f"clear; {command}; echo status $?")
        self.press("Enter")

    def write(self, text: str) -> None:
        self.tmux("send-keys", "-l", "--", text)

    def press(self, key: str) -> None:
        self.tmux("send-keys", key)

    def screen(self, *options: str) -> str:
        return self.tmux("capture-pane", "-p", *options)

    def wait(self, condition: Callable[[str], object]) -> str:
        """Return the screen as soon as it is as it is to be."""
        deadline = time.monotonic() + SECONDS
        while not condition(screen := self.screen()):
            assert time.monotonic() < deadline, screen
            time.sleep(0.02)
        return screen

    def wait_for_end(self) -> tuple[int, str]:
        """Return the exit status of the command, and what it left on the screen."""
        screen = self.wait(lambda screen: re.search(r"^status \d+$", screen, re.MULTILINE))
        text, status = re.split(r"^status (\d+)$", screen, maxsplit=1, flags=re.MULTILINE)[:2]
        return int(status), text

    def is_whole(self) -> bool:
        """Return whether the terminal had to break no line."""
        return [line.rstrip() for line in self.screen("-J").split("\n")] == [
            line.rstrip() for line in self.screen().split("\n")
        ]


@contextmanager
def open_terminal(house: House, shell: str = _SHELL, **variables: str) -> Iterator[Terminal]:
    """Open one, and close it with all that runs in it.

    Args:
        house: whose commands it is to run.
        shell: the command that starts the shell.
        variables: of the environment, besides; they stand over those of the house.
    """
    terminal = Terminal(house, variables, shell)
    try:
        terminal.start()
        yield terminal
    finally:
        terminal.tmux("kill-server")
