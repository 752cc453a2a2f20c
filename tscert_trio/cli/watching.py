"""Show something anew again and again, on a screen of its own."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import TscertError
from .terminal import Line, console, group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["watch"]

_SECONDS = 2


def watch(lines: Callable[[int], Sequence[Line]]) -> int:
    """Show lines every two seconds until q or Ctrl-C; return the exit status.

    Args:
        lines: returns what to show, for a width in columns. What keeps it from that is shown instead.
    """
    from rich.live import Live

    terminal = console()
    try:
        with (
            _keys() as wait_for_key,
            Live(
                console=terminal,
                screen=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            ) as screen,
        ):
            while True:
                try:
                    shown = lines(terminal.width)
                except TscertError as exc:
                    shown = [Line(str(getattr(exc, "told", exc.__str__)()), "bold red")]
                head = [Line("every 2 s; q or Ctrl-C ends", "dim"), Line("")]
                screen.update(group([*head, *shown], terminal), refresh=True)
                if wait_for_key(_SECONDS) in {"q", "Q"}:
                    break
    except KeyboardInterrupt:
        pass
    return 0


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Have keys at once and unseen; the function waits so many seconds for one, and returns it or nothing."""
    if not sys.stdin.isatty():
        yield _wait_without_keys
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _wait_for_key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _wait_for_key(seconds: float) -> str:
    if not select.select([sys.stdin], [], [], seconds)[0]:
        return ""
    return os.read(sys.stdin.fileno(), 1).decode(errors="replace") or "q"  # the terminal is gone


def _wait_without_keys(seconds: float) -> str:
    select.select([], [], [], seconds)
    return ""
