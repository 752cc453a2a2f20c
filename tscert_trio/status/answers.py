"""The form of every answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..http_server import Response
from .guard import SECURITY_HEADERS

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["HTML", "JSON", "TEXT", "error", "respond"]

HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"


def respond(status: int, body: bytes, kind: str, headers: Collection[tuple[str, str]] = ()) -> Response:
    """Return an answer.

    Args:
        status: of HTTP.
        body: the content.
        kind: its media type.
        headers: more of them.
    """
    return Response(status=status, body=body, headers=[("Content-Type", kind), *SECURITY_HEADERS, *headers])


def error(status: int, text: str, remedy: str, headers: Collection[tuple[str, str]] = ()) -> Response:
    """Return an answer that says what is wrong, and what to do."""
    body = json.dumps({"error": text, "remedy": remedy}, ensure_ascii=False).encode()
    return respond(status, body + b"\n", JSON, headers)
