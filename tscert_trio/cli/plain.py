"""Text for a terminal or a pipe."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["as_json", "can_show", "coloured", "let_all_print", "print_json"]

_OF_A_TERMINAL = re.compile("[\x7f-\x9f]")
"""Characters that move its cursor, and that JSON would leave as they are."""
_COLOURS = {"green": "32", "yellow": "33", "red": "31"}


def let_all_print() -> None:
    """Let standard output take every character: where it cannot, escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def can_show(stream: TextIO | None = None) -> bool:
    """Return whether standard output, or another stream, shows more than ASCII."""
    try:
        return codecs.lookup((stream or sys.stdout).encoding or "ascii").name == "utf-8"
    except LookupError:
        return False


def as_json(value: object, stream: TextIO | None = None, *, indent: int | None = None) -> str:
    """Return JSON that standard output, or another stream, takes as it is: on one line, or indented."""
    text = json.dumps(value, ensure_ascii=not can_show(stream), indent=indent)
    return _OF_A_TERMINAL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print JSON, on one line or indented."""
    let_all_print()  # half of a character is escaped as in JSON
    print(as_json(value, indent=indent))


def coloured(text: str, colour: str) -> str:
    """Return a text in a colour, where standard output is a terminal and nobody objects (no-color.org).

    Args:
        text: of printable characters.
        colour: green, yellow or red.
    """
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
