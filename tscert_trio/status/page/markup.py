"""Small pieces of HTML. All that comes from outside is escaped here, or by the templates."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape

from ..report import Level
from ..words import in_time, moment

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "LEVEL_WORDS",
    "domain_path",
    "escape",
    "link",
    "linked",
    "mark",
    "quoted",
    "safe",
    "stamp",
    "when",
]

LEVEL_WORDS = {
    Level.BAD: "Bad",
    Level.WARNING: "Not well",
    Level.NOTICE: "Under way",
    Level.GOOD: "Well",
}
"""The worst first."""
_URL = re.compile(r"""https?://[^\s<>"'`]+""", re.IGNORECASE)
_TRAILING = ".,;:!?)]}"


def safe(html: str) -> Markup:
    """Return HTML as such: numbers, words of ours and what is escaped already."""
    return Markup(html)  # noqa: S704 -- that is its purpose


@lru_cache(maxsize=20_000)
def quoted(text: str) -> str:
    """Return a short text that comes again and again, as :func:`escape` does."""
    return str(escape(text))


def mark(level: Level) -> Markup:
    """Return the mark of a level: a shape, and a word beside it."""
    return _MARKS[level]


_MARKS = {
    level: safe(
        f'<svg class="mark {level.value}" aria-hidden="true"><use href="#mark-{level.value}"/></svg> '
        f'<span class="word {level.value}">{word}</span>'
    )
    for level, word in LEVEL_WORDS.items()
}


@lru_cache(maxsize=20_000)  # those of certificates come again with each page
def stamp(at: datetime) -> Markup:
    """Return a moment in the zone of this machine, with its exact time for programs."""
    return safe(f'<time datetime="{at.isoformat(timespec="seconds")}">{escape(moment(at))}</time>')


def when(at: datetime | None, now: datetime) -> str:
    """Return a moment, and when it is as seen from now, in HTML; ``never`` of none."""
    return f"{stamp(at)}, {in_time(at, now)}" if at is not None else "never"


def link(url: str | None, label: str) -> Markup | None:
    """Return a link to somewhere outside; ``None`` if the URL is none of http(s)."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return None
    if not is_good or not url.isprintable():
        return None
    return safe(f'<a href="{escape(url)}" rel="noreferrer noopener">{escape(label)}</a>')


def linked(text: str) -> Markup:
    """Return a text in which the URLs of http(s) are links."""
    if "://" not in text:
        return escape(text)
    parts, end = [], 0
    for match in _URL.finditer(text):
        url = match.group().rstrip(_TRAILING)
        parts += [escape(text[end : match.start()]), link(url, url) or escape(url)]
        end = match.start() + len(url)
    return safe("".join([*parts, escape(text[end:])]))


@lru_cache(maxsize=20_000)
def domain_path(name: str) -> str:
    """Return the path of a name's own page, from the root."""
    return f"domains/{quote(name, safe='')}"
