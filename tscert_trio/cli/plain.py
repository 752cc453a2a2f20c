"""Text for a terminal or a pipe."""

from __future__ import annotations

import codecs
import io
import os
import sys

__all__ = ["can_show", "coloured", "let_all_print"]

_COLOURS = {"green": "32", "yellow": "33", "red": "31"}


def let_all_print() -> None:
    """Let standard output take every character: where it cannot, escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def can_show() -> bool:
    """Return whether standard output shows more than ASCII."""
    try:
        return codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    except LookupError:
        return False


def coloured(text: str, colour: str) -> str:
    """Return a text in a colour, where standard output is a terminal and nobody objects (no-color.org).

    Args:
        text: of printable characters.
        colour: green, yellow or red.
    """
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
