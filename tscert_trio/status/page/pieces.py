"""What the page and a name's own page say of a name, as HTML. Pure.

It is all escaped, and yet no :class:`~markupsafe.Markup`, which would be made anew for each of thousands of
pieces: :func:`.markup.safe` is for who gives it to a template.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NotACertDomainError
from ...schedule import RUNWAY_ENOUGH
from ..words import NOT_ORDERED, in_time
from .markup import escape, link, linked, quoted, stamp, when

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..report import DomainReport, Trouble

__all__ = ["facts", "next_attempt", "trouble_box", "troubles", "urgent"]

_NO_TIME = {
    "queued": "when others are done",
    "waiting": "once it is a CertDomain",
    "unknown": "not known",
}
"""When a name is asked for that has no time for it, by its state. In all others it is being asked for."""
_NO_CERT_DOMAIN = NotACertDomainError.__name__


def next_attempt(report: DomainReport, now: datetime) -> str:
    """Return when the name is asked for next, or delivered if that is sooner: in how long, at what time."""
    at, delivery_at = report.limited_until or report.next_attempt_at, report.next_delivery_at
    if delivery_at is not None and (at is None or delivery_at < at) and report.state != "requesting":
        return f"<b>{in_time(delivery_at, now)}</b> {stamp(delivery_at)}, to deliver it"
    if at is None and report.mode == "guest":
        return "<b>never: it is not ordered here</b>"
    if at is None and report.state == "waiting" and report.trouble is not None:
        is_listed = report.trouble.kind != _NO_CERT_DOMAIN  # or nobody can tell
        return "<b>once tailscaled can be asked</b>" if is_listed else f"<b>{_NO_TIME[report.state]}</b>"
    if at is None:
        return f"<b>{_NO_TIME.get(report.state, 'now')}</b>"
    return f"<b>{in_time(at, now)}</b> {stamp(at)}"


def facts(report: DomainReport, now: datetime) -> str:
    """Return what is known of a name as items of a ``dl``."""
    certificate = report.certificate
    terms = ""
    if certificate is not None:
        terms = (
            f"<dt>Certificate<dd>{stamp(certificate.not_before)} to {stamp(certificate.not_after)}"
            f"<dt>Renewal due<dd>{stamp(certificate.due_at)} ({quoted(certificate.due_reason)})"
        )
        window = certificate.window
        if window is not None:
            why = link(window.explanation_url, "why") if window.explanation_url else None
            terms += f"<dt>Window of the CA<dd>{stamp(window.start)} to {stamp(window.end)}"
            terms += f" ({why})" if why else ""
    attempt, success = report.last_attempt_at, report.last_success_at
    result = ", well" if attempt is not None and attempt == success else ""
    terms += f"<dt>Last request<dd>{when(attempt, now)}{result}"
    if not result:
        terms += f"<dt>Last success<dd>{when(success, now)}"
    if report.mode in NOT_ORDERED:
        return terms
    if report.is_ready:
        runway = (
            "enough" if report.runway >= RUNWAY_ENOUGH else f"{report.runway} before the certificate ends"
        )
        terms += f"<dt>Attempts left<dd>{runway}"
    attempts, certificates = report.attempts_left, report.certificates_left
    if attempts is not None:
        terms += (
            f"<dt>Left of limits<dd>{attempts} attempt{'s' if attempts != 1 else ''} for the name in an hour"
        )
        if certificates is not None:
            terms += f", {certificates} new certificate{'s' if certificates != 1 else ''} a week"
    return terms


def urgent(report: DomainReport, now: datetime) -> str:
    """Return what is worth a look without opening anything, as a list; nothing where all is well."""
    if not report.failures and report.limit is None and report.harmless_until is None:
        return ""
    items = "".join(f"<li>{each}</li>" for each in _urgent(report, now))
    return f'<ul class="urgent">{items}</ul>'


def _urgent(report: DomainReport, now: datetime) -> Iterator[str]:
    if report.harmless_until is not None:
        yield f"harmless until {when(report.harmless_until, now)}"
    if report.failures:
        yield f"{report.failures} failure{'s' if report.failures > 1 else ''} in a row"
        if report.last_attempt_at is not None:
            yield f"last attempt {in_time(report.last_attempt_at, now)}"
        if report.is_ready and report.runway < RUNWAY_ENOUGH and report.mode not in NOT_ORDERED:
            attempts = f"{report.runway} attempt{'s' if report.runway != 1 else ''}"
            yield f"{attempts} left before the certificate ends"
    if report.limit is not None:
        until = f" until {when(report.limited_until, now)}" if report.limited_until is not None else ""
        yield f"waits for {escape(report.limit)}{until}"


def troubles(report: DomainReport, *, is_own_page: bool = False) -> str:
    """Return why a name or its deliveries fail, each with what to do; nothing where all is well.

    Args:
        report: of the name.
        is_own_page: whether it is for the page that shows what a hook wrote, too.
    """
    boxes = [] if report.trouble is None else [trouble_box(report.trouble, said=report.summary)]
    for each in report.deliveries:
        trouble = each.trouble_beside_output(report.name) if is_own_page else each.trouble
        if trouble is not None:
            boxes.append(trouble_box(trouble, of=each.target))
    return "".join(boxes)


def trouble_box(trouble: Trouble, *, of: str | None = None, said: str = "") -> str:
    """Return a failure with what it means and what to do.

    Args:
        trouble: the failure.
        of: the target whose it is.
        said: what is said above it, and need not be said again.
    """
    text = trouble.text.rstrip(".")
    words = "" if text in said and "://" not in text else f' <span class="text">{linked(trouble.text)}</span>'
    whose = f"{escape(of)}: " if of is not None else ""
    return (
        f'<div class="trouble"><p><b class="kind">{whose}{escape(trouble.kind)}</b>{words}</p>'
        f'<p class="meaning">{escape(trouble.meaning)}</p>'
        f'<p class="remedy"><b>What to do</b> {linked(trouble.remedy)}</p></div>'
    )
