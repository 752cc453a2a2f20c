"""Show something anew again and again, on a screen of its own."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import TscertError
from .terminal import Line, console, group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

__all__ = ["watch"]

_SECONDS = 2
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a process that does not care; Ctrl-C is an exception anyway."""


class _Signalled(BaseException):
    """A signal that ends the process has come; no more caught by the way than Ctrl-C is."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


def watch(lines: Callable[[int], Sequence[Line]]) -> int:
    """Show lines every two seconds until q or Ctrl-C; return the exit status.

    Args:
        lines: returns what to show, for a width in columns. What keeps it from that is shown instead.
    """
    from rich.live import Live

    terminal = console()
    try:
        with (
            _signals(),
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
    except _Signalled as exc:
        signal.raise_signal(exc.signum)  # the terminal is as it was, so it may end the process now
    return 0


@contextmanager
def _signals() -> Iterator[None]:
    """Have signals raised that would end the process at once, while the context lasts: so all is undone."""

    def end(signum: int, _frame: FrameType | None) -> None:
        for each in taken:
            signal.signal(each, signal.SIG_IGN)  # another would come amid the clearing up
        raise _Signalled(signum)

    taken = [each for each in _SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
    try:
        for each in taken:
            signal.signal(each, end)
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


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
