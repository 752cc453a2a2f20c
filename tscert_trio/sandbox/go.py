"""The few habits of Go's standard library that show on the wire."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from ..http_server import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["dumps", "http_error", "json_response", "parse_duration", "quoted", "quoted_list"]

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,  # both the micro sign and the Greek letter
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TERM = re.compile(r"(\d*)(\.\d*)?([^\d.]*)")


def http_error(status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return what ``http.Error`` writes."""
    return Response(
        status=status,
        body=f"{text}\n".encode(),
        headers=[
            ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
            *headers,
        ],
    )


def json_response(value: object, *, status: int = 200) -> Response:
    """Return what ``json.NewEncoder(w).Encode`` writes."""
    body = f"{dumps(value)}\n".encode()
    return Response(status=status, body=body, headers=[("Content-Type", "application/json")])


def dumps(value: object) -> str:
    """Return what ``json.Marshal`` returns, which escapes three characters more than Python."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def quoted(text: str) -> str:
    """Return what ``%q`` prints for a string."""
    return json.dumps(text, ensure_ascii=False)


def quoted_list(texts: Sequence[str]) -> str:
    """Return what ``%q`` prints for a slice of strings."""
    return f"[{' '.join(map(quoted, texts))}]"


def parse_duration(text: str) -> timedelta:
    """Parse a duration as ``time.ParseDuration`` does, rounded up to a microsecond.

    Raises:
        ValueError: with Go's own text.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return timedelta(0)
    total, position = 0, 0
    while position < len(rest):
        match = _TERM.match(rest, position)
        assert match is not None
        whole, fraction, unit = match[1], match[2] or "", match[3]
        if not whole and fraction in {"", "."}:
            raise ValueError(f"time: invalid duration {quoted(text)}")
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted(text)}")
        if unit not in _NANOSECONDS:
            raise ValueError(f"time: unknown unit {quoted(unit)} in duration {quoted(text)}")
        digits = fraction[1:]
        total += int((whole or "0") + digits) * _NANOSECONDS[unit] // 10 ** len(digits)
        position = match.end()
    if not rest or total >= 2**63:
        raise ValueError(f"time: invalid duration {quoted(text)}")
    # A millionth of a second more: none may become 0, which means something else.
    return sign * timedelta(microseconds=-(-total // 1000))
