"""From a report to a page, with jinja2, which escapes whatever is not HTML of ours."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2

from ..report import Level
from .chart import history_chart
from .deliveries import delivery_view
from .events import event_view
from .life import life_bar
from .markup import LEVEL_WORDS, mark, safe, stamp
from .meters import meter_view, release
from .pieces import facts, next_attempt, trouble_box, troubles, urgent
from .rows import row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..history import DomainDetail, Event
    from ..report import DomainReport, StatusReport

__all__ = ["domain", "missing", "page"]

_TEMPLATES = ("base.html", "pieces.html", "page.html", "domain.html", "missing.html")
_EVENTS = 40


def page(report: StatusReport, events: Sequence[Event], query: Mapping[str, str]) -> bytes:
    """Return the page of all names. See :func:`tscert_trio.status.page.render_page`."""
    wanted, text = query.get("level", ""), query.get("q", "").strip()
    if wanted not in report.counts:
        wanted = ""
    now = report.at
    shown = [each for each in report.domains if _is_shown(each, wanted, text.casefold())]
    tailscaled, kept = report.tailscaled, set(report.names)
    return _render(
        "page.html",
        root=".",
        report=report,
        title=f"{LEVEL_WORDS[report.level]} · certificates",
        rows=safe("".join([row(each, now) for each in shown])),
        count=len(shown),
        text=text,
        wanted=wanted,
        levels=[(level.value, word, report.counts[level.value]) for level, word in LEVEL_WORDS.items()],
        meters=[meter_view(limit, now) for limit in report.limits],
        trouble=safe(trouble_box(tailscaled.trouble))
        if tailscaled is not None and tailscaled.trouble
        else None,
        release=release(tailscaled.capability) if tailscaled is not None else None,
        events=[event_view(event, is_kept=event.domain in kept) for event in reversed(events[-_EVENTS:])],
    )


def _is_shown(report: DomainReport, level: str, text: str) -> bool:
    if level and report.level.value != level:
        return False
    return not text or text in report.name.casefold()


def domain(detail: DomainDetail) -> bytes:
    """Return the page of one name. See :func:`tscert_trio.status.page.render_domain`."""
    report, now = detail.domain, detail.at
    return _render(
        "domain.html",
        root="..",
        report=detail,
        title=f"{LEVEL_WORDS[report.level]} · {report.name}",
        domain=report,
        word=LEVEL_WORDS[report.level],
        wrong=safe(troubles(report, is_own_page=True) + urgent(report, now)),
        life=safe(life_bar(report.certificate, now)) if report.certificate is not None else None,
        next_attempt=safe(next_attempt(report, now)),
        facts=safe(facts(report, now)),
        deliveries=[delivery_view(each, now) for each in report.deliveries],
        chart=history_chart(detail),
        certificates=detail.certificates[::-1],
        events=[event_view(event) for event in reversed(detail.events)],
    )


def missing(name: str) -> bytes:
    """Return the page for a name that is not kept. See :func:`tscert_trio.status.page.render_missing`."""
    return _render("missing.html", root="..", name=name, title="No such name", report=None)


def _render(template: str, **values: object) -> bytes:
    return _environment().get_template(template).render(values).encode()


@cache
def _environment() -> jinja2.Environment:
    folder = files(__package__) / "templates"  # a PackageLoader takes longer than the first page may
    sources = {name: (folder / name).read_text("utf-8") for name in _TEMPLATES}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals |= {"Level": Level, "mark": mark, "stamp": stamp}
    return environment
