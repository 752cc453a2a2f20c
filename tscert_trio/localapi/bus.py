"""The IPN bus, read without reading it.

A message can be a netmap of more than a megabyte, and all that matters of it here is which fields it
has. A positive pattern over each piece, with an overlap for what a boundary cuts, costs 0.1 ms a
megabyte, keeps nothing, and cannot be fooled by a string, since Go escapes quotes. A nested key of the
same name costs a spare query only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["BusWatch", "FieldScanner"]

_FIELD = re.compile(rb'"(SelfChange|NetMap|State|ErrMessage)":[{"0-9]')
_OVERLAP = len(b'"SelfChange":{') - 1


@attrs.define(eq=False)
class FieldScanner:
    """Finds which fields of interest appear in a stream of JSON, wherever it is cut."""

    _tail: bytes = attrs.field(default=b"", init=False)

    def feed(self, piece: bytes) -> frozenset[str]:
        """Return the names of the non-null fields that are complete with this piece."""
        data = self._tail + piece
        found, end = set(), 0
        for match in _FIELD.finditer(data):
            found.add(match[1].decode())
            end = match.end()
        self._tail = data[max(end, len(data) - _OVERLAP) :]
        return frozenset(found)


class BusWatch:
    """Iterates over what the IPN bus says: each item is the set of field names just seen.

    The names are among ``State``, ``SelfChange``, ``NetMap`` and ``ErrMessage``. The iteration ends
    when tailscaled ends the stream.
    """

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._scanner = FieldScanner()

    def __aiter__(self) -> BusWatch:
        return self

    async def __anext__(self) -> frozenset[str]:
        while True:
            if fields := self._scanner.feed(await anext(self._pieces)):
                return fields
