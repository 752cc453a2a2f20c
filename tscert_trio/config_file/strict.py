"""Single values of a file: of exactly the right kind, or refused with the right one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..option_values import parse_duration
from .reading import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

__all__ = ["Fault", "FaultsError", "duration", "mode", "path", "strict", "text", "texts"]

Fault: TypeAlias = tuple[str, str]
"""A path of keys, and what would be right."""

_MODE = re.compile(r"0?[0-7]{3}")


class FaultsError(ValueError):
    """Several faults, each with the path of its key from here on."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{path}: {text}" for path, text in faults))
        self.faults = faults


def strict(kind: type, wanted: str) -> Callable[[object, Any], Any]:
    """Return what takes a value of exactly one type: "5" is not 5, and true is not 1."""

    def structure(value: object, _kind: object) -> object:
        if type(value) is not kind:
            raise TypeError(f"want {wanted}, not {kind_of(value)}")
        if isinstance(value, str) and "\0" in value:
            raise ValueError("has a null character in it")
        return value

    return structure


text = strict(str, "text in quotes")
"""Structure a text."""


def duration(value: object, _kind: object) -> timedelta:
    """Structure a duration."""
    written = strict(str, 'a duration in quotes, such as "90s" or "12h"')(value, str)
    return parse_duration(written)


def path(value: object, _kind: object) -> Path:
    """Structure a path."""
    written = strict(str, "a path in quotes")(value, str)
    if not written:
        raise ValueError("is empty")
    return Path(written)


def mode(value: object, _kind: object) -> int:
    """Structure the mode of a file: octal, so in quotes."""
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        shown = repr(value) if isinstance(value, str) else kind_of(value)
        raise ValueError(f'want an octal mode in quotes, such as "0640", not {shown}')
    return int(value, 8)


def texts(
    value: object, _kind: object, check: Callable[[str], object] = lambda _text: None
) -> tuple[str, ...]:
    """Structure a list of texts, each of which is checked."""
    if not isinstance(value, list):
        raise TypeError(f'want a list, such as ["…"], not {kind_of(value)}')
    faults, items = [], []
    for index, item in enumerate(value):
        try:
            items.append(text(item, str))
            check(items[-1])
        except (ValueError, TypeError) as exc:
            faults.append((f"[{index}]", str(exc)))
    if faults:
        raise FaultsError(faults)
    return tuple(items)
