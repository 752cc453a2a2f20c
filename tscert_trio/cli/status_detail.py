"""Everything about one name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NotACertDomainError
from ..schedule import RUNWAY_ENOUGH
from ..status.report import Source
from ..status.words import NOT_ORDERED, in_time, moment, span
from .events_table import event_lines
from .telling import attempts_left, certificates_left
from .terminal import MARKS, STYLES, Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ..status.history import DomainDetail
    from ..status.report import CertificateReport, DeliveryReport, DomainReport, Trouble

__all__ = ["detail"]

_LABEL_WIDTH = 14
_EVENTS = 10
_NO_CERT_DOMAIN = NotACertDomainError.__name__


def detail(found: DomainDetail, cert_domains: Sequence[str] | None = None) -> list[Line]:
    """Return all that is known of a name, a label before each.

    Args:
        found: what is known.
        cert_domains: those of the node, where they are known.
    """
    domain, now = found.domain, found.at
    head = f"{domain.name}: {domain.summary}"
    lines = [Line(head, "bold", f"{MARKS[domain.level]} ", STYLES[domain.level])]
    if found.source is Source.JOURNAL:
        text = "the journal: the service does not answer"
        lines.append(_row("Source", text, "yellow"))
    lines.append(_row("State", _state(domain, now)))
    lines += [*_trouble(domain.trouble)]
    if cert_domains and domain.trouble is not None and domain.trouble.kind == _NO_CERT_DOMAIN:
        lines.append(_row("CertDomains", ", ".join(cert_domains)))
    if domain.harmless_until is not None:
        lines.append(_row("Harmless", f"until {_when(domain.harmless_until, now)}"))
    lines += _certificate(domain.certificate, now)
    issued = [each.at for each in found.events if each.outcome == "issued"]
    lines += _attempts(domain, now, max(issued, default=None))
    for delivery in domain.deliveries:
        lines += _delivery(delivery, domain.name, now)
    count = len(found.certificates)
    if count > 1:
        lines.append(_row("Before", f"{count - 1} more certificate{'s' if count > 2 else ''} in 400 days"))
    events = found.events[-_EVENTS:]
    return [*lines, Line(""), *event_lines(events, with_name=False)] if events else lines


def _row(label: str, text: str, style: str = "") -> Line:
    return Line(text, style, f"{label:>{_LABEL_WIDTH}}: " if label else " " * (_LABEL_WIDTH + 2), "bold")


def _when(at: datetime, now: datetime) -> str:
    return f"{moment(at)} ({in_time(at, now)})"


def _state(domain: DomainReport, now: datetime) -> str:
    parts = [domain.state, *([NOT_ORDERED[domain.mode]] if domain.mode in NOT_ORDERED else [])]
    if domain.limit is not None and domain.limited_until is not None:
        parts.append(f"an order waits for {domain.limit} until {_when(domain.limited_until, now)}")
    is_look = domain.limited_until is not None
    if domain.next_attempt_at is not None and domain.next_attempt_at != domain.limited_until:
        what = "look" if is_look else "attempt"
        parts.append(f"next {what} {_when(domain.next_attempt_at, now)}")
    return "; ".join(parts)


def _certificate(certificate: CertificateReport | None, now: datetime) -> Iterator[Line]:
    if certificate is None:
        yield _row("Certificate", "none")
        return
    life = span(certificate.not_after - certificate.not_before)
    yield _row("Certificate", ", ".join(certificate.names))
    begin = moment(certificate.not_before)
    yield _row("Valid", f"{begin} to {_when(certificate.not_after, now)}, {life} in all")
    yield _row("Issuer", certificate.issuer)
    yield _row("Serial", certificate.serial_number)
    yield _row("SHA-256", certificate.fingerprint)
    yield _row("Due", f"{_when(certificate.due_at, now)}: {certificate.due_reason}")
    if (window := certificate.window) is not None:
        url = f", {window.explanation_url}" if window.explanation_url else ""
        yield _row("Window", f"{moment(window.start)} to {moment(window.end)}, as the CA suggests{url}")


def _attempts(domain: DomainReport, now: datetime, issued_at: datetime | None) -> Iterator[Line]:
    last = f"last {_when(domain.last_attempt_at, now)}" if domain.last_attempt_at else "none remembered"
    count = f"{domain.attempts} since the start, looks included; " if domain.attempts else ""
    yield _row("Requests", f"{count}{last}")
    if domain.last_success_at is not None:
        yield _row("Last seen good", _when(domain.last_success_at, now))
    if issued_at is not None:
        yield _row("Last new one", _when(issued_at, now))
    if domain.failures:
        yield _row("Failures", f"{domain.failures} in a row")
    left = [text for text in (attempts_left(domain), certificates_left(domain)) if text is not None]
    if left:
        yield _row("CA's limits", ", ".join(left))
    if domain.is_ready and domain.mode not in NOT_ORDERED:
        number = "plenty of" if domain.runway >= RUNWAY_ENOUGH else str(domain.runway)
        attempts = "attempt is" if domain.runway == 1 else "attempts are"
        yield _row("Runway", f"{number} {attempts} left before the certificate ends")


def _trouble(trouble: Trouble | None) -> Iterator[Line]:
    if trouble is not None:
        yield _row("Failure", f"{trouble.kind}: {trouble.text}", "red")
        yield _row("Meaning", trouble.meaning)
        yield _row("Remedy", trouble.remedy)


def _delivery(delivery: DeliveryReport, name: str, now: datetime) -> Iterator[Line]:
    state = "done" if delivery.is_done else f"the last step is: {delivery.goal}"
    yield Line(delivery.target, "bold", f"{'Target':>{_LABEL_WIDTH}}: ", "bold")
    text = f"{delivery.state} since {_when(delivery.since, now)}; {state}"
    yield _row(
        "", f"{text}{'' if delivery.is_current else '; of an older certificate'}", STYLES[delivery.level]
    )
    if delivery.served is not None:
        yield _row("", f"the probe saw last: {delivery.served} certificate".replace("none ", "no "))
    if delivery.checked_at is not None:
        yield _row("", f"looked at last {_when(delivery.checked_at, now)}")
    if (trouble := delivery.trouble_beside_output(name)) is not None:
        yield _row("Failure", trouble.text, "red")
        yield _row("Meaning", trouble.meaning)
        yield _row("Remedy", trouble.remedy)
        if delivery.next_attempt_at is not None:
            yield _row(
                "", f"{delivery.failures} in a row; next attempt {_when(delivery.next_attempt_at, now)}"
            )
    for warning in delivery.warnings:
        yield _row("Warning", warning, "yellow")
    if delivery.output:
        for number, line in enumerate(delivery.output.splitlines()):
            yield _row("Hook wrote" if number == 0 else "", line)
