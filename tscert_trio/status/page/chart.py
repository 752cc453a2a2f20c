"""The past of a name as a chart: each certificate a bar in time, each event a mark. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from ..report import Level
from ..words import moment
from .markup import escape, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markupsafe import Markup

    from ..history import DomainDetail, Event, PastCertificate

__all__ = ["history_chart"]

_MOST_LANES = 10
_LANE, _BAR = 18, 12
_STRIP = 22
_DAY = timedelta(days=1)
_MOST_LINES = 8
_MONTH = 30
_MARKS = {
    "attempt": {
        Level.GOOD: '<circle r="4"/>',
        Level.NOTICE: '<circle r="3"/>',
        Level.WARNING: '<path d="M-4-4 4 4M4-4-4 4"/>',
    },
    "delivery": {Level.GOOD: '<path d="M0-5 5 0 0 5-5 0Z"/>', Level.WARNING: '<path d="M-4-4 4 4M4-4-4 4"/>'},
}


@attrs.frozen
class _Axis:
    """Time from left to right, in percent."""

    start: datetime
    end: datetime

    def at(self, moment: datetime) -> float:
        share = (moment - self.start) / max(self.end - self.start, timedelta(seconds=1))
        return min(max(100 * share, 0), 100)


def history_chart(detail: DomainDetail) -> Markup | None:
    """Return the chart as SVG, as wide as its place; ``None`` where nothing has happened yet."""
    moments = [event.at for event in detail.events]
    moments += [each.not_before for each in detail.certificates]
    if not moments:
        return None
    ends = [each.not_after for each in detail.certificates]
    begin, end = min(moments), max([detail.at, *ends])
    margin = (end - begin) / 100
    axis = _Axis(begin - margin, end + margin)
    lanes = _lanes(detail.certificates)
    newest = detail.domain.certificate
    present = newest.fingerprint if newest is not None and newest.is_valid else None
    height = max(len(lanes), 1) * _LANE + 2 * _STRIP
    parts = [
        *_lines(axis, height),
        *(_bar(each, n, axis, present) for n, lane in enumerate(lanes) for each in lane),
        *_marks(detail.events, axis, height),
    ]
    x = axis.at(detail.at)
    parts.append(f'<rect class="today" x="{x:.2f}%" width="2" height="{height}"/>')
    count, failures = len(detail.certificates), sum(each.level is Level.WARNING for each in detail.events)
    label = f"{count} certificates and {failures} failures in time; the tables below say the same"
    return safe(
        f'<svg class="history" role="img" aria-label="{label}" width="100%" height="{height + 20}">'
        f"{''.join(parts)}</svg>"
    )


def _lanes(certificates: Sequence[PastCertificate]) -> list[list[PastCertificate]]:
    """Return the certificates in as few lanes as they need, so that no two overlap."""
    lanes: list[list[PastCertificate]] = []
    for each in sorted(certificates, key=lambda each: each.not_before):
        free = (lane for lane in lanes if lane[-1].not_after <= each.not_before)
        lane = next(free, None)
        if lane is None and len(lanes) < _MOST_LANES:
            lanes.append([each])
        else:
            (lane if lane is not None else lanes[-1]).append(each)
    return lanes


def _bar(certificate: PastCertificate, lane: int, axis: _Axis, present: str | None) -> str:
    x, end = axis.at(certificate.not_before), axis.at(certificate.not_after)
    kind = "now" if certificate.fingerprint == present else "past"
    title = f"{certificate.issuer}: {moment(certificate.not_before)} to {moment(certificate.not_after)}"
    return (
        f'<rect class="cert {kind}" x="{x:.2f}%" y="{lane * _LANE + 4}" width="{max(end - x, 0.3):.2f}%" '
        f'height="{_BAR}" rx="2"><title>{escape(title)}</title></rect>'
    )


def _marks(events: Sequence[Event], axis: _Axis, height: int) -> Iterator[str]:
    """Yield a mark for each event: attempts in one strip, deliveries in one below it."""
    last: dict[tuple[str, Level], float] = {}
    for event in events:
        shape = _MARKS[event.kind].get(event.level)
        if shape is None or event.outcome == "found":
            continue
        x = axis.at(event.at)
        key = event.kind, event.level
        if abs(last.get(key, -1) - x) < 0.2:  # one over the other
            continue
        last[key] = x
        y = height - (_STRIP * 1.5 if event.kind == "attempt" else _STRIP / 2) + 2
        title = f"{event.kind} {event.what}: {event.outcome}, {moment(event.at)}"
        yield (
            f'<svg x="{x:.2f}%" y="{y:g}" overflow="visible"><g class="event {event.level.value}">'
            f"<title>{escape(title)}</title>{shape}</g></svg>"
        )


def _lines(axis: _Axis, height: int) -> Iterator[str]:
    """Yield the lines of the axis with their dates."""
    for at, date in _dates(axis):
        x = axis.at(at)
        yield f'<rect class="line" x="{x:.2f}%" width="1" height="{height}"/>'
        if x < 92:
            yield f'<text class="date" x="{x:.2f}%" y="{height + 14}">{date}</text>'


def _dates(axis: _Axis) -> Iterator[tuple[datetime, str]]:
    """Yield days, or beginnings of months, at most eight, and how each is called."""
    days = (axis.end - axis.start) / _DAY
    if days < 2 * _MONTH:
        step = math.ceil(days / _MOST_LINES)
        at = datetime(axis.start.year, axis.start.month, axis.start.day, tzinfo=UTC) + _DAY
        while at < axis.end:
            yield at, f"{at:%m-%d}"
            at += step * _DAY
        return
    step = math.ceil(days / _MONTH / _MOST_LINES)
    month = axis.start.year * 12 + axis.start.month  # the next one
    while (at := datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)) < axis.end:
        yield at, f"{at:%Y-%m}"
        month += step
