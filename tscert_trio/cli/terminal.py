"""Lines for a terminal, in colours and as wide as it is, or for a pipe, plain and whole."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TextIO

import attrs

from ..status.cleaning import clean
from ..status.report import Level
from .plain import can_show, let_all_print

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, Group

__all__ = [
    "MARKS",
    "STYLES",
    "Line",
    "StatusLine",
    "clean",
    "console",
    "counting",
    "group",
    "is_terminal",
    "show",
    "show_plain",
]

STYLES = {Level.GOOD: "green", Level.NOTICE: "cyan", Level.WARNING: "yellow", Level.BAD: "bold red"}
_ASCII = str.maketrans({"✓": "+", "…": "~", "✗": "x", "→": ">"})
MARKS = {Level.GOOD: "✓", Level.NOTICE: "…", Level.WARNING: "!", Level.BAD: "✗"}


@attrs.frozen
class Line:
    """A line, or several where a terminal is narrow: they hang under the text, behind the prefix."""

    text: str
    style: str = ""
    """One of rich's; a pipe has none."""
    prefix: str = ""
    prefix_style: str = ""


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person looks at it, on something that can do more than a printer."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Return rich's view of standard output; it keeps to ``NO_COLOR``."""
    from rich.console import Console  # takes 30 ms, and a pipe needs none

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def group(lines: Sequence[Line], terminal: Console) -> Group:
    """Return lines in colours, none wider than the terminal."""
    from rich.console import Group
    from rich.text import Text

    rows = []
    for line in lines:
        room = max(terminal.width - len(line.prefix), 20)
        pieces = Text(clean(line.text), line.style).wrap(terminal, room) or [Text()]
        for number, piece in enumerate(pieces):
            piece.rstrip()
            prefix = _shown(line.prefix) if number == 0 else " " * len(line.prefix)
            rows.append(Text.assemble((prefix, line.prefix_style), piece))
    return Group(*rows)


def show(lines: Sequence[Line]) -> None:
    """Print lines as standard output can take them."""
    let_all_print()
    if is_terminal(sys.stdout):
        terminal = console()
        terminal.print(group(lines, terminal))
    else:
        show_plain(f"{_shown(line.prefix)}{line.text}" for line in lines)


def show_plain(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    let_all_print()
    for line in lines:
        print(clean(line).rstrip())


def _shown(prefix: str) -> str:
    return prefix if can_show() else prefix.translate(_ASCII)


class StatusLine:
    """The last line of a terminal, written anew again and again; in a pipe there is none.

    Use it as a context manager; at its end the line is gone.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self.is_shown = is_terminal(self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.write("")

    def write(self, text: str) -> None:
        """Show this instead of what is there."""
        if self.is_shown:
            width = shutil.get_terminal_size().columns - 4  # the terminal writes ^C behind it
            print(f"\r\x1b[K{clean(text)[:width]}", end="", file=self._stream, flush=True)


@contextmanager
def counting(text: str, stream: TextIO | None = None) -> Iterator[None]:
    """Count the seconds on the last line of a terminal while the context lasts.

    Args:
        text: what it says, with ``{seconds}`` in it.
        stream: the terminal; by default standard error.
    """
    with StatusLine(stream) as line:
        if not line.is_shown:
            yield
            return
        ended, began = threading.Event(), time.monotonic()

        def count() -> None:
            while not ended.wait(1):
                line.write(text.format(seconds=f"{time.monotonic() - began:.0f} s"))

        thread = threading.Thread(target=count, name="seconds", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
