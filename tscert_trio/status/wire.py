"""A report as JSON, and back. Version 1 of ``/api/v1``; ``schema.json`` describes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from cattrs import Converter

if TYPE_CHECKING:
    import attrs

__all__ = ["from_json", "to_json", "to_moment", "to_plain"]

_T = TypeVar("_T", bound="attrs.AttrsInstance")


def to_json(value: object) -> bytes:
    """Return a report, or a part of one, as JSON; times are RFC 3339 in UTC."""
    return json.dumps(to_plain(value), ensure_ascii=False, separators=(",", ":")).encode()


def to_plain(value: object) -> Any:  # noqa: ANN401 -- whatever JSON holds
    """Return the same as dicts, lists and texts."""
    return _converter().unstructure(value)


def from_json(data: bytes, kind: type[_T]) -> _T:
    """Return a report of JSON. Fields that a newer service has are passed over.

    Args:
        data: the JSON.
        kind: the class that is expected.

    Raises:
        ValueError: it is something else.
    """
    try:
        return _converter().structure(json.loads(data), kind)
    except (Exception, RecursionError) as exc:  # noqa: BLE001 -- cattrs raises groups of anything
        raise ValueError(f"is no {kind.__name__}: {exc}") from None


@cache
def _converter() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_unstructure_hook(datetime, _from_moment)
    converter.register_structure_hook(datetime, lambda text, _: to_moment(text))
    return converter


def _from_moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_moment(text: str) -> datetime:
    """Return the time that a text of this form says.

    Raises:
        ValueError: it says none.
    """
    return datetime.fromisoformat(text)
