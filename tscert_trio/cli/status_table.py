"""All names as a table. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import end_of
from ..status.report import Level
from ..status.words import capital, in_time, moment
from .telling import as_sentences, comes_next, says_as_much
from .terminal import MARKS, STYLES, Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ..status.report import DomainReport, StatusReport, Trouble

__all__ = ["plain_table", "table"]

_NAME, _FACTS = "NAME", ("STATE", "VALID UNTIL", "NEXT ATTEMPT")
_GAP = "  "
_INDENT = "   "


def table(report: StatusReport, width: int) -> list[Line]:
    """Return a table for people, with what is wrong and what to do under each name that is not well.

    Args:
        report: how everything is.
        width: of the terminal, in columns.
    """
    lines = [Line(report.summary, STYLES[report.level]), Line("")]
    if report.tailscaled is not None and report.tailscaled.trouble is not None:
        lines += [*_notes(report.tailscaled.trouble), Line("")]
    if report.domains:
        lines += _rows(report, width)
    return lines


def _rows(report: StatusReport, width: int) -> Iterator[Line]:
    facts = [_facts(each, report.at, with_date=True) for each in report.domains]
    names = report.names
    if max(map(len, names)) > _room(facts, width):
        facts = [_facts(each, report.at, with_date=False) for each in report.domains]
    room = _room(facts, width)
    name_width = max([len(_NAME), *(len(name) for name in names if len(name) <= room)])
    heads, *padded = (_GAP.join(cells).rstrip() for cells in _padded([_FACTS, *facts]))
    yield Line(f"{_NAME:<{name_width}}{_GAP}{heads}", "bold", _INDENT)
    for domain, cells in zip(report.domains, padded, strict=True):
        mark, style, name = f"{MARKS[domain.level]}  ", STYLES[domain.level], domain.name
        if len(name) > name_width:
            yield Line(name, "", mark, style)
            mark, name = _INDENT, ""
        yield Line(f"{name:<{name_width}}{_GAP}{cells}", "", mark, style)
        if domain.level.rank >= Level.WARNING.rank:
            yield from _why(domain, report)
        elif domain.level is Level.NOTICE:
            yield Line(domain.summary, "", _INDENT)


def _room(facts: Sequence[Sequence[str]], width: int) -> int:
    """Return how wide names can be."""
    return width - len(_INDENT) - len(_GAP) - len(_GAP.join(_padded([_FACTS, *facts])[0]))


def plain_table(report: StatusReport) -> Iterator[str]:
    """Yield the sentence, and one line a name: columns stand two spaces apart or more, nothing is cut."""
    trouble = _of_tailscaled(report)
    yield report.summary if trouble is None else as_sentences(report.summary, trouble.meaning, trouble.remedy)
    rows = [
        (
            domain.level.value,
            domain.name,
            *_facts(domain, report.at, with_date=True),
            _why_on_a_line(domain, report),
        )
        for domain in report.domains
    ]
    yield from (_GAP.join(cells) for cells in _padded(rows))


def _facts(domain: DomainReport, now: datetime, *, with_date: bool) -> tuple[str, ...]:
    certificate, end = domain.certificate, "none"
    if certificate is not None:
        date = f"{certificate.not_after.astimezone():%Y-%m-%d} " if with_date else ""
        end = f"{date}{in_time(certificate.not_after, now)}"
    return domain.state, end, comes_next(domain, now)


def _padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]


def _of_tailscaled(report: StatusReport) -> Trouble | None:
    return None if report.tailscaled is None else report.tailscaled.trouble


def _why(domain: DomainReport, report: StatusReport) -> Iterator[Line]:
    yield Line(domain.summary, STYLES[domain.level], _INDENT)
    if domain.trouble is not None and domain.trouble != _of_tailscaled(report):  # which stands above all
        yield from _notes(domain.trouble, domain.summary)
    for delivery in domain.deliveries:
        if delivery.level.rank >= Level.WARNING.rank:
            text = f"{delivery.target}: {delivery.summary}"
            if text != domain.summary:
                yield Line(text, STYLES[delivery.level], _INDENT)
            if delivery.trouble is not None:
                if delivery.output:
                    yield Line(f"last output: {end_of(delivery.output)}", "", _INDENT)
                yield Line(delivery.trouble.remedy, "", f"{_INDENT}→ ")
    if domain.harmless_until is not None:
        yield Line(f"harmless until {moment(domain.harmless_until)}", "", _INDENT)


def _notes(trouble: Trouble, said: str = "") -> Iterator[Line]:
    """Yield why, and what to do; not what is said already."""
    if not says_as_much(said, trouble):
        yield Line(trouble.text, "", _INDENT)
    yield Line(trouble.meaning, "", _INDENT)
    yield Line(trouble.remedy, "", f"{_INDENT}→ ")


def _why_on_a_line(domain: DomainReport, report: StatusReport) -> str:
    """Return why a name is as it is, each sentence with its own remedy, and the worst first."""
    if domain.level is Level.GOOD:
        return ""
    why, trouble, targets = [], domain.trouble, list(_of_targets(domain))
    if trouble is not None and trouble != _of_tailscaled(report):  # which the first line tells
        said = [] if says_as_much(domain.summary, trouble) else [f"{trouble.kind}: {trouble.text}"]
        why = [*said, trouble.meaning, trouble.remedy]
    if targets and targets[0].startswith(domain.summary):
        return as_sentences(*targets, *why)
    return as_sentences(capital(domain.summary), *why, *targets)


def _of_targets(domain: DomainReport) -> Iterator[str]:
    """Yield how deliveries are that fail or speak for the name; the latter first."""
    said = {f"{each.target}: {each.summary}": each.trouble for each in domain.deliveries}
    for text in sorted(said, key=lambda text: text != domain.summary):
        trouble = said[text]
        if trouble is not None:
            yield as_sentences(text, trouble.remedy)
        elif text == domain.summary:
            yield as_sentences(text)
