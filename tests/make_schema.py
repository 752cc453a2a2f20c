"""Writes ``schema.json`` from the classes of the status: their fields, types and docstrings.

python tests/make_schema.py
"""

import ast
import enum
import inspect
import json
import re
import textwrap
import types
import typing
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import attrs

from tscert_trio import status
from tscert_trio.status import history, report

PATH = Path(status.__file__).with_name("schema.json")
ANSWERS = {
    report.StatusReport: "GET /api/v1/status",
    history.DomainDetail: "GET /api/v1/domains/<name>",
    history.EventList: "GET /api/v1/events",
}
_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
_NAMES = {datetime: "Moment"}
_BY_HAND = {
    "RenewAnswer": {
        "type": "object",
        "title": "POST /api/v1/domains/<name>/renew",
        "description": "A certificate is being renewed. It is, or failed, once last_attempt_at is later.",
        "properties": {
            "version": {"const": 1, "description": "Of this format."},
            "asked_at": {"$ref": "#/$defs/Moment", "description": "When it was asked for."},
        },
        "required": ["version", "asked_at"],
    },
    "Error": {
        "type": "object",
        "title": "Every answer with a status of 400 or more",
        "description": "What was asked cannot be answered.",
        "properties": {
            "error": {"type": "string", "description": "What is wrong."},
            "remedy": {"type": "string", "description": "What to do."},
        },
        "required": ["error", "remedy"],
    },
    "Moment": {
        "type": "string",
        "format": "date-time",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        "description": "RFC 3339, in UTC, to the millisecond.",
    },
}


def make_schema():
    """Return the schema of all answers."""
    found = {}
    for kind in ANSWERS:
        _define(kind, found)
    found |= _BY_HAND
    answers = [*(kind.__name__ for kind in ANSWERS), "RenewAnswer", "Error"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:tscert-trio:api:v1",
        "title": "Version 1 of tscert-trio's /api/v1",
        "description": (
            "Each answer is one of these; title says of what. New fields may come in version 1, so pass over "
            "those you do not know; none goes, or changes its meaning."
        ),
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in answers],
        "$defs": dict(sorted(found.items())),
    }


def text_of_schema():
    """Return what the file is to hold."""
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"


def _define(kind, found):
    if kind.__name__ in found:
        return
    found[kind.__name__] = {}  # its place
    documents = _field_docstrings(kind)
    if issubclass(kind, enum.Enum):
        meanings = [f"{each.value}: {documents[each.name]}" for each in kind if each.name in documents]
        text = " ".join([_plain(kind.__doc__), *meanings])
        found[kind.__name__] = {"enum": [each.value for each in kind], "description": text}
        return
    hints = typing.get_type_hints(kind)
    properties = {}
    for field in attrs.fields(kind):
        schema = {"const": field.default} if field.name == "version" else _schema_of(hints[field.name], found)
        properties[field.name] = schema | {"description": documents[field.name]}
    title = {"title": ANSWERS[kind]} if kind in ANSWERS else {}
    found[kind.__name__] = {
        "type": "object",
        **title,
        "description": _plain(kind.__doc__),
        "properties": properties,
        "required": list(properties),
    }


def _schema_of(kind, found):
    arguments = typing.get_args(kind)
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    if typing.get_origin(kind) is types.UnionType:
        if all(each in _SIMPLE for each in arguments):
            return {"type": [_SIMPLE[each] for each in arguments]}
        return {"anyOf": [_schema_of(each, found) for each in arguments]}
    if typing.get_origin(kind) is tuple:
        return {"type": "array", "items": _schema_of(arguments[0], found)}
    if typing.get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1], found)}
    if kind is not datetime:
        _define(kind, found)
    return {"$ref": f"#/$defs/{_NAMES.get(kind, kind.__name__)}"}


def _field_docstrings(kind):
    """Return what stands below each field of a class."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    documents = {}
    for field, below in pairwise(found.body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            if isinstance(field, ast.AnnAssign):
                documents[field.target.id] = _plain(below.value.value)
            elif isinstance(field, ast.Assign):
                documents[field.targets[0].id] = _plain(below.value.value)
    return documents


def _plain(text):
    """Return the text of a docstring, without markup."""
    return re.sub(r":\w+:`[~.]*([^`]*)`|``([^`]*)``", r"\1\2", " ".join(text.split()))


if __name__ == "__main__":
    PATH.write_text(text_of_schema())
