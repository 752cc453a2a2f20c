"""One name as a row of the page. Pure.

A page may have a thousand rows and is asked for by each browser whenever something changes, while the same
task sees to the certificates. So rows are put together here: by templates they took twice as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .life import life_bar
from .markup import domain_path, escape, mark, quoted
from .pieces import facts, next_attempt, troubles, urgent

if TYPE_CHECKING:
    from datetime import datetime

    from ..report import DeliveryReport, DomainReport

__all__ = ["row"]

_NO_LIFE = '<span class="none">no certificate yet</span>'


def row(report: DomainReport, now: datetime) -> str:
    """Return a name as an item of a list, in HTML.

    Args:
        report: of the name.
        now: the present time.
    """
    certificate, level = report.certificate, report.level
    name = quoted(report.name)
    life = life_bar(certificate, now) if certificate is not None else _NO_LIFE
    targets = f'<p class="targets">{_targets(report.deliveries)}</p>' if report.deliveries else ""
    wrong = troubles(report) + urgent(report, now)
    if wrong:
        wrong = f'<div class="wrong">{wrong}</div>'
    return (
        f'<li id="n-{name}" class="row {level.value}">'
        f'<div class="how">{mark(level)}<span class="state">{quoted(report.state)}</span></div>'
        f'<div class="who"><h3><a href="{domain_path(report.name)}">{name}</a></h3>'
        f"{targets}<p>{escape(report.summary)}</p></div>"
        f'<div class="when">{life}<p>next attempt {next_attempt(report, now)}</p></div>{wrong}'
        f'<details><summary>More<span class="vh"> about {name}</span></summary>'
        f"<dl>{facts(report, now)}</dl></details></li>\n"
    )


def _targets(deliveries: tuple[DeliveryReport, ...]) -> str:
    return " ".join(
        f'<span class="target {each.level.value}">{quoted(each.target)}: {quoted(each.state)}'
        f"{'' if each.is_current else ' (the one before)'}</span>"
        for each in deliveries
    )
