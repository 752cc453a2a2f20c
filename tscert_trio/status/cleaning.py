"""Text of others that is shown on a terminal. Pure."""

from __future__ import annotations

__all__ = ["clean"]


def clean(text: str) -> str:
    """Return a text in which nothing moves a terminal's cursor, on one line."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)
