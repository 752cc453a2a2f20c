"""The page for people: what a report says, as HTML that needs neither JavaScript nor a build step.

jinja2 is imported when the first page is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..history import DomainDetail, Event
    from ..report import StatusReport

__all__ = ["render_domain", "render_missing", "render_page", "static_file"]

_STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def render_page(report: StatusReport, events: Sequence[Event], query: Mapping[str, str]) -> bytes:
    """Return the page of all names, as HTML in UTF-8.

    Args:
        report: how everything is.
        events: what happened last, the newest last.
        query: of the URL: ``q``, a part of the names that are shown, and ``level``, one of :class:`Level`.
            What makes no sense is passed over.
    """
    from .rendering import page

    return page(report, events, query)


def render_domain(detail: DomainDetail) -> bytes:
    """Return the page of one name with its history, as HTML in UTF-8."""
    from .rendering import domain

    return domain(detail)


def render_missing(name: str) -> bytes:
    """Return the page that says that a name is not kept here, as HTML in UTF-8."""
    from .rendering import missing

    return missing(name)


def static_file(name: str) -> tuple[bytes, str] | None:
    """Return what a file beside the pages holds, and its content type; ``None``: there is no such file."""
    kind = _STATIC.get(name)
    return None if kind is None else (_read(name), kind)


@cache
def _read(name: str) -> bytes:
    return (files(__name__) / "static" / name).read_bytes()
