"""Answers as gzip, for whoever takes it: a page of a thousand names is a thirtieth of its size then. Pure.

Nothing in an answer is secret, so its length gives nothing away (the BREACH attack).
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import attrs

from .weights import weight_of

if TYPE_CHECKING:
    from ..http_server import Response

__all__ = ["accepts_gzip", "compressed"]

_SMALLEST = 1024
"""Bytes; what is shorter fits into a packet as it is."""
_LEVEL = 1
"""The cert loops stand still meanwhile, and more saves little."""


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether a client takes gzip (RFC 9110, section 12.5.3).

    Args:
        accept_encoding: its header ``Accept-Encoding``, empty where it has none.
    """
    taken = {}
    for part in accept_encoding.lower().split(","):
        coding, *parameters = (each.strip() for each in part.split(";"))
        taken[coding] = weight_of(parameters) != 0
    return taken.get("gzip", taken.get("*", False))


def compressed(response: Response) -> Response:
    """Return an answer as gzip, if it is long enough to gain by it."""
    if len(response.body) < _SMALLEST:
        return response
    headers = [*response.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return attrs.evolve(response, body=gzip.compress(response.body, _LEVEL, mtime=0), headers=headers)
