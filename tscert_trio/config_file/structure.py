"""Make targets, hooks and names of the tables of a file, strictly, and tell all that is wrong at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from cattrs import ClassValidationError, Converter
from cattrs.errors import AttributeValidationNote
from cattrs.gen import make_dict_structure_fn, override

from ..option_values import parse_probe
from ..target_checks import check_pattern
from ..target_settings import (
    FileSettings,
    FilesSettings,
    HookSettings,
    ProbeSettings,
    SignalSettings,
    TargetSettings,
    cross_faults,
    unique_name,
)
from .reading import kind_of, unknown_keys
from .strict import FaultsError, duration, mode, path, strict, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .strict import Fault

__all__ = ["take_tables"]

_T = TypeVar("_T")

_COMMAND = 'write a list, such as ["systemctl", "reload", "x"], or {command = "…", shell = true}'
_NAMELESS = "nameless"


@attrs.frozen(kw_only=True)
class _NameSettings:
    """What is settled for the names that match."""

    name: str = attrs.field(validator=lambda _self, _field, value: check_pattern(value.lower()))
    issue: bool


def take_tables(table: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Return what the tables of a file make, by field of ``ConfigFile``, and what is wrong with them."""
    faults: list[Fault] = []
    targets = _name(table, list(_each(table, "targets", TargetSettings, faults)), faults)
    names = [entry for _index, entry in _each(table, "names", _NameSettings, faults)]
    on_failure = None
    if "on_failure" in table:
        on_failure = _structure(table["on_failure"], "on_failure", HookSettings, faults)
    guests = tuple(entry.name.lower() for entry in names if not entry.issue)
    return {"targets": targets, "on_failure": on_failure, "guests": guests}, faults


def _each(table: dict[str, Any], key: str, kind: type[_T], faults: list[Fault]) -> Iterator[tuple[int, _T]]:
    entries = table.get(key, [])
    if not isinstance(entries, list):
        faults.append((key, f"want [[{key}]] with two brackets, since there may be several"))
        return
    for index, entry in enumerate(entries):
        given = entry
        if kind is TargetSettings and isinstance(entry, dict):
            given = {"name": _NAMELESS, **entry}  # until all are known
        value = _structure(given, f"{key}[{index}]", kind, faults)
        if value is not None:
            yield index, value


def _name(
    table: dict[str, Any], targets: list[tuple[int, TargetSettings]], faults: list[Fault]
) -> tuple[TargetSettings, ...]:
    """Refuse names that are given twice, and name the targets that have none."""
    entries = table.get("targets")
    names = [
        entry.get("name") if isinstance(entry, dict) else None
        for entry in (entries if isinstance(entries, list) else ())
    ]
    for index, name in enumerate(names):
        if isinstance(name, str) and name in names[:index]:
            first = names.index(name)
            fault = f"{name!r} is the name of targets[{first}], too; give each its own"
            faults.append((f"targets[{index}].name", fault))
    taken = {name for name in names if isinstance(name, str)}
    named = []
    for index, target in targets:
        if names[index] is None:
            named.append(attrs.evolve(target, name=unique_name(target, taken)))
            taken.add(named[-1].name)
        else:
            named.append(target)
    return tuple(named)


def _structure(value: object, place: str, kind: type[_T], faults: list[Fault]) -> _T | None:
    try:
        return _CONVERTER.structure(value, kind)
    except FaultsError as exc:
        faults += [(place + rest, why) for rest, why in exc.faults]
    except (ValueError, TypeError) as exc:
        faults.append((place, str(exc)))
    return None


def _faults_of(exc: Exception) -> Iterator[Fault]:
    """Return the faults of the fields of a class; what is wrong between them is asked for elsewhere."""
    assert isinstance(exc, ClassValidationError)
    for each, note in exc.group_exceptions()[0]:
        assert isinstance(note, AttributeValidationNote)
        if isinstance(each, FaultsError):
            yield from ((f".{note.name}{rest}", why) for rest, why in each.faults)
        elif isinstance(each, KeyError):
            yield f".{note.name}", "is missing"
        else:
            yield f".{note.name}", str(each)


def _file(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _hook(value: object) -> object:
    if isinstance(value, list):
        return {"command": value}
    if isinstance(value, str):
        raise TypeError(f"a text is for a shell; {_COMMAND}")
    if isinstance(value, dict) and isinstance(value.get("command"), str) and value.get("shell") is True:
        return value | {"command": [value["command"]]}
    return value


def _command(value: object, _kind: object) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"a text is for a shell; {_COMMAND}")
    return texts(value, _kind)


def _patterns(value: object, _kind: object) -> tuple[str, ...]:
    return texts(value, _kind, lambda item: check_pattern(item.lower()))


_BY_NAME = {"mode": mode, "key_mode": mode, "command": _command, "domains": _patterns}
"""Fields whose form in a file is not that of their type."""


def _probe(value: object) -> object:
    if isinstance(value, str):
        if ":" not in value:
            raise ValueError(f'{value!r} is no "host:port"; true is port 443 of the node\'s own address')
        return parse_probe(value)
    return parse_probe(str(value)) if isinstance(value, bool) else value


def _as_it_is(value: object) -> object:
    return value


def _register(converter: Converter, kind: type, prepare: Callable[[object], object] = _as_it_is) -> None:
    """Teach the converter a class: all faults at once, each with its key.

    Args:
        converter: to be taught.
        kind: the class.
        prepare: makes a table of other ways to write it, or the finished object.
    """
    attrs.resolve_types(kind)
    names = [field.name for field in attrs.fields(kind)]
    overrides: dict[str, Any] = {
        f.name: override(struct_hook=_field_hook(converter, f)) for f in attrs.fields(kind)
    }
    generated: Callable[[Mapping[str, Any], Any], Any] = make_dict_structure_fn(kind, converter, **overrides)

    def structure(value: object, _kind: object) -> object:
        table = prepare(value)
        if table is None or isinstance(table, kind):
            return table
        if not isinstance(table, dict):
            raise TypeError(f"want a table, not {kind_of(table)}")
        faults = [(f".{key}", why) for key, why in unknown_keys(table, names)]
        known = {key: entry for key, entry in table.items() if key in names}
        try:
            made = generated(known, kind)
        except ClassValidationError as exc:
            faults += _faults_of(exc)
            faults += [(f".{key}" if key else "", why) for key, why in cross_faults(kind, known)]
            faults = faults or [("", str(exc.exceptions[0]))]
        if faults:
            raise FaultsError(faults)
        return made

    converter.register_structure_hook(kind, structure)


def _field_hook(converter: Converter, field: attrs.Attribute[Any]) -> Callable[[object, Any], Any]:
    """Check a field where its key is known, and whatever is wrong with its neighbours."""
    take = _BY_NAME.get(field.name, converter.structure)

    def structure(value: object, kind: Any) -> Any:  # noqa: ANN401 -- of each field its own
        made = take(value, kind)
        if callable(field.converter):
            made = field.converter(made)
        if field.validator is not None:
            field.validator(None, field, made)
        return made

    return structure


def _converter() -> Converter:
    converter = Converter()
    converter.register_structure_hook(str, text)
    converter.register_structure_hook(int, strict(int, "a whole number"))
    converter.register_structure_hook(bool, strict(bool, "true or false"))
    converter.register_structure_hook(timedelta, duration)
    converter.register_structure_hook(Path, path)
    converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], texts)
    _register(converter, FileSettings, _file)
    _register(converter, FilesSettings)
    _register(converter, HookSettings, _hook)
    _register(converter, SignalSettings)
    _register(converter, ProbeSettings, _probe)
    _register(converter, TargetSettings)
    _register(converter, _NameSettings)
    return converter


_CONVERTER = _converter()
