"""How far a name is with a target, as its own page shows it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .markup import escape, mark, safe, when

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from markupsafe import Markup

    from ..report import DeliveryReport

__all__ = ["DeliveryView", "delivery_view"]

_SERVED = {
    "new": "the new certificate is served",
    "old": "the OLD certificate is still served",
    "other": "ANOTHER certificate is served",
    "none": "NO certificate is served",
}


@attrs.frozen(kw_only=True)
class DeliveryView:
    """One delivery as it is shown."""

    target: str
    mark: Markup
    summary: str
    facts: Markup
    """Items of a ``dl``."""
    output: str | None


def delivery_view(report: DeliveryReport, now: datetime) -> DeliveryView:
    """Return a delivery as it is shown.

    Args:
        report: of the delivery.
        now: the present time.
    """
    return DeliveryView(
        target=report.target,
        mark=mark(report.level),
        summary=report.summary,
        facts=safe("".join(f"<dt>{term}<dd>{escape(words)}" for term, words in _facts(report, now))),
        output=report.output,
    )


def _facts(report: DeliveryReport, now: datetime) -> Iterator[tuple[str, str | Markup]]:
    which = "" if report.is_current else " (the certificate before)"
    yield "Done", safe(f"{escape(report.state)}{which}, since {when(report.since, now)}")
    if not report.is_done:
        yield "Wanted", report.goal
    if report.served is not None:
        yield "Probe", _SERVED.get(report.served, report.served)
    if report.checked_at is not None:
        yield "Looked at", safe(when(report.checked_at, now))
    if report.failures:
        yield "Failures", str(report.failures)
    if report.next_attempt_at is not None:
        yield "Next try", safe(when(report.next_attempt_at, now))
    if report.good_until is not None and report.good_until > now and report.trouble is not None:
        yield "Harmless until", safe(when(report.good_until, now))
    for warning in report.warnings:
        yield "Warning", warning
