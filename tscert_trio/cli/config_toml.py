"""Settings as TOML that can be read again."""

from __future__ import annotations

import enum
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from ..options import OPTIONS
from ..target_settings import FileSettings, HookSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..settings import Settings
    from ..target_settings import TargetSettings

__all__ = ["settings_toml", "target_toml"]

_UNITS = (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000))


def settings_toml(settings: Settings) -> str:
    """Return all settings in the form of a configuration file, each with where it came from.

    Args:
        settings: in effect; a setting without a value is a comment.
    """
    lines = []
    for option in OPTIONS:
        if not option.is_in_file:
            continue
        value = getattr(settings, option.field)
        is_nothing = value is None or value == ()
        line = f"# {option.key} is not set" if is_nothing else f"{option.key} = {_value(value)}"
        origin = settings.origins.get(option.field, "default")
        lines.append(line if is_nothing else f"{line}  # {_comment(origin)}")
    for pattern in settings.guests:
        lines += _heading(settings, "guests", "[[names]]")
        lines += [f"name = {_value(pattern)}", "issue = false"]
    if settings.on_failure is not None:
        lines += _heading(settings, "on_failure", "[on_failure]")
        lines += _fields(settings.on_failure)
    for index, target in enumerate(settings.targets):
        lines += _heading(settings, f"targets[{index}]", target_toml(target))
    return "\n".join(lines) + "\n"


def target_toml(target: TargetSettings) -> str:
    """Return a target in the form of a configuration file."""
    lines, tables = ["[[targets]]"], []
    for field in attrs.fields(type(target)):
        value = getattr(target, field.name)
        if attrs.has(type(value)):
            tables += ["", f"[targets.{field.name}]", *_fields(value)]
        elif value is not None:
            lines.append(f"{field.name} = {_value(value)}")
    return "\n".join(lines + tables)


def _heading(settings: Settings, key: str, text: str) -> list[str]:
    origin = settings.origins.get(key)
    return ["", *([f"# {_comment(origin)}"] if origin else []), text]


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _fields(settings: object) -> list[str]:
    return [f"{key} = {text}" for key, text in _pairs(settings)]


def _pairs(settings: object) -> Iterator[tuple[str, str]]:
    """Return the fields that have a value, as text."""
    for field in attrs.fields(type(settings)):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if isinstance(settings, HookSettings) and settings.shell and field.name == "command":
            (value,) = settings.command
        if value is None:
            continue
        if field.name.endswith("mode"):
            value = f"{value:04o}"
        yield field.name, _value(value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(int(value) if value == int(value) else value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if attrs.has(type(value)):
        pairs = list(_pairs(value))
        if isinstance(value, FileSettings) and len(pairs) == 1:
            return pairs[0][1]
        return f"{{{', '.join(f'{key} = {text}' for key, text in pairs)}}}"
    return json.dumps(_text(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        return _duration(value)
    return str(value.value if isinstance(value, enum.Enum) else value)


def _duration(duration: timedelta) -> str:
    """Return a duration to the microsecond, which for people would be too much."""
    rest, parts = duration // timedelta(microseconds=1), ""
    for unit, size in _UNITS:
        number, rest = divmod(rest, size)
        parts += f"{number}{unit}" if number else ""
    return parts + (f"{rest / 1000}ms" if rest else "")
