"""From statistics to a report. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from ..delivery_record import DELIVERY_ERROR, DELIVERY_REMEDY
from ..errors import RateLimitedError
from ..schedule import Mode, is_recalled
from .judging import delivery_meaning, judge, judge_delivery, why_not_asked, why_not_well
from .report import (
    CertificateReport,
    DeliveryReport,
    DomainReport,
    Level,
    LimitReport,
    Source,
    SourceReport,
    StatusReport,
    TailscaledReport,
    Trouble,
    WindowReport,
)
from .words import capital, harmless_while_all_are_well, sentence_of_all, worst_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..certificate import Certificate
    from ..errors import LocalAPIError
    from ..schedule import DueReason
    from ..statistics import CertManagerStatistics, DeliveryStatistics, DomainStatistics

__all__ = ["make_report", "serial_text", "trouble_of"]

_LONG_AGO, _NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_OUTPUT_REMEDY = (
    "Look at what the hook or the reload wrote (tscert-trio status {domain}), repair that, then try at once: "
    "tscert-trio renew {domain}"
)


def make_report(
    statistics: CertManagerStatistics,
    now: datetime,
    *,
    source: Source = Source.SERVICE,
    with_output: bool = False,
) -> StatusReport:
    """Return a report.

    Args:
        statistics: of the manager, or as the journal remembers.
        now: the present time.
        source: which of the two.
        with_output: with what hooks wrote, which is for people on this machine only.
    """
    deliveries: dict[str, list[DeliveryStatistics]] = {}
    for delivery in statistics.deliveries:
        deliveries.setdefault(delivery.domain, []).append(delivery)
    reports = [
        _domain(
            each,
            deliveries.get(each.domain, ()),
            now,
            each.last_error if source is Source.JOURNAL else why_not_well(each, statistics),
            source,
            with_output=with_output,
        )
        for each in statistics.domains
    ]
    reports.sort(key=_rank)
    counts = {level.value: 0 for level in Level}
    for report in reports:
        counts[report.level.value] += 1
    level = reports[0].level if reports else Level.GOOD
    summary = sentence_of_all(reports, counts, is_told=statistics.is_told, is_live=source is Source.SERVICE)
    tailscaled = None if source is Source.JOURNAL else _tailscaled(statistics)
    trouble = None if tailscaled is None else tailscaled.trouble
    if trouble is not None:
        level = worst_of((level, Level.WARNING))
        harmless = harmless_while_all_are_well(reports)
        summary = (
            f"tailscaled cannot be asked{harmless}: {trouble.text.rstrip('.')} ({trouble.kind}). {summary}"
        )
    else:
        for source_trouble in filter(None, (each.trouble for each in statistics.sources)):
            level = worst_of((level, Level.WARNING))
            summary = f"{source_trouble.rstrip('.')}. {summary}"
    if (unwritten := statistics.journal_trouble) is not None:
        level = worst_of((level, Level.WARNING))
        summary = f"{capital(unwritten)}. {summary}"
    if not statistics.is_complete:
        level = worst_of((level, Level.NOTICE))
        unknown = [each.name for each in statistics.sources if not each.is_known and each.trouble is None]
        if statistics.is_told and unknown:
            summary = f"It is not known yet which names {' and '.join(unknown)} wants. {summary}"
    return StatusReport(
        program=_version(),
        at=now,
        source=source,
        level=level,
        summary=summary,
        counts=counts,
        domains=tuple(reports),
        limits=tuple(
            LimitReport(
                name=limit.name,
                scope=limit.scope,
                used=limit.used,
                capacity=limit.capacity,
                is_exceeded=limit.is_exceeded,
                until=limit.until,
            )
            for limit in statistics.limits
        ),
        tailscaled=tailscaled,
        sources=tuple(
            SourceReport(name=each.name, is_known=each.is_known, trouble=each.trouble)
            for each in statistics.sources
        ),
        is_told=statistics.is_complete,
        journal_trouble=statistics.journal_trouble,
    )


def trouble_of(error: LocalAPIError) -> Trouble:
    """Return why something failed."""
    return Trouble(kind=type(error).__name__, text=str(error), meaning=error.meaning, remedy=error.remedy)


def serial_text(leaf: Certificate) -> str:
    """Return a serial number as openssl and crt.sh write it: whole bytes, in hexadecimal."""
    text = f"{leaf.serial_number:X}"
    return text.zfill(len(text) + len(text) % 2)


@cache
def _version() -> str:
    from importlib.metadata import version  # takes 20 ms

    return version("tscert-trio")


def _tailscaled(statistics: CertManagerStatistics) -> TailscaledReport:
    names, error = statistics.cert_domains, why_not_asked(statistics)
    return TailscaledReport(
        is_bus_watched=statistics.bus_connected,
        capability=statistics.capability,
        cert_domains=tuple(sorted(names)) if names is not None else None,
        trouble=None if error is None else trouble_of(error),
    )


def _rank(report: DomainReport) -> tuple[int, datetime, str]:
    """Return what to sort by: the worst first, of these who has no certificate, then who soon has none."""
    until = report.harmless_until
    if until is None and report.level.rank >= Level.WARNING.rank and report.certificate is not None:
        until = report.certificate.not_after
    until = until or (_NEVER if report.is_ready else _LONG_AGO)
    return -report.level.rank, until, report.name


def _domain(
    statistics: DomainStatistics,
    deliveries: Iterable[DeliveryStatistics],
    now: datetime,
    error: LocalAPIError | None,
    source: Source,
    *,
    with_output: bool,
) -> DomainReport:
    due_at, due_reason, runway = statistics.due_and_runway(now)
    certificate = _certificate(statistics, due_at, due_reason, now)
    trouble = trouble_of(error) if error is not None else None
    reports = tuple(_delivery(each, certificate, now, with_output=with_output) for each in deliveries)
    level, summary = judge(statistics, certificate, trouble, now)
    if level is Level.BAD and trouble is None and statistics.limit is not None:
        trouble = trouble_of(RateLimitedError(f"a new certificate waits for {statistics.limit}"))
    if level is Level.GOOD and not runway and statistics.is_running and statistics.mode is Mode.KEEPER:
        level, summary = Level.WARNING, f"{summary}; no attempt is left before it ends"
    if level is Level.NOTICE and certificate is None and source is Source.JOURNAL:
        level = Level.BAD  # nobody says that it is under way
    is_wrong = trouble is not None or level is Level.WARNING
    worst = max(reports, key=lambda report: report.level.rank, default=None)
    if worst is not None and worst.level.rank > level.rank:
        level, summary = worst.level, f"{worst.target}: {worst.summary}"
    return DomainReport(
        name=statistics.domain,
        level=level,
        summary=summary,
        state="unknown" if source is Source.JOURNAL else statistics.state.value,
        certificate=certificate,
        mode=statistics.mode.value,
        harmless_until=None
        if level is Level.BAD
        else _harmless_until(certificate, reports, is_wrong=is_wrong),
        trouble=trouble,
        attempts=statistics.attempts,
        failures=statistics.failures,
        runway=runway,
        last_attempt_at=statistics.last_attempt_at,
        last_success_at=statistics.last_success_at,
        next_attempt_at=statistics.next_attempt_at,
        limit=statistics.limit,
        limited_until=statistics.limited_until,
        attempts_left=statistics.attempts_left(now),
        certificates_left=statistics.certificates_left(now),
        deliveries=reports,
    )


def _harmless_until(
    certificate: CertificateReport | None, deliveries: Iterable[DeliveryReport], *, is_wrong: bool
) -> datetime | None:
    """Return until when all that is wrong does no harm; ``None`` where not all of it is known to do none.

    Args:
        certificate: the newest.
        deliveries: of the name.
        is_wrong: whether something is, besides the deliveries.
    """
    if certificate is None or not certificate.is_valid or certificate.is_recalled:
        return None
    ends = [certificate.not_after] if is_wrong else []
    for delivery in deliveries:
        if delivery.trouble is not None:
            if delivery.level is Level.BAD or delivery.good_until is None:
                return None
            ends.append(delivery.good_until)
    return min(ends, default=None)


def _certificate(
    statistics: DomainStatistics, due_at: datetime | None, reason: DueReason | None, now: datetime
) -> CertificateReport | None:
    leaf, window = statistics.leaf, statistics.window
    if leaf is None or due_at is None or reason is None:
        return None
    return CertificateReport(
        names=leaf.names,
        serial_number=serial_text(leaf),
        fingerprint=leaf.fingerprint,
        issuer=leaf.issuer,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        due_at=due_at,
        due_reason=reason.value,
        window=None
        if window is None
        else WindowReport(start=window.start, end=window.end, explanation_url=window.explanation_url),
        is_valid=leaf.valid_at(now),
        is_recalled=is_recalled(leaf, window, now),
    )


def _delivery(
    statistics: DeliveryStatistics, newest: CertificateReport | None, now: datetime, *, with_output: bool
) -> DeliveryReport:
    level, summary = judge_delivery(statistics, now)
    trouble = None
    if statistics.error is not None:
        remedy = _OUTPUT_REMEDY if statistics.output else DELIVERY_REMEDY
        trouble = Trouble(
            kind=DELIVERY_ERROR,
            text=statistics.error,
            meaning=delivery_meaning(statistics, newest),
            remedy=remedy.format(domain=statistics.domain),
        )
    return DeliveryReport(
        target=statistics.target,
        level=level,
        summary=summary,
        state=statistics.state.value,
        goal=statistics.goal.value,
        is_done=statistics.is_done,
        is_current=newest is not None and statistics.fingerprint == newest.fingerprint,
        since=statistics.since,
        failures=statistics.failures,
        trouble=trouble,
        output=statistics.output if with_output else None,
        next_attempt_at=statistics.next_attempt_at,
        checked_at=statistics.checked_at,
        served=statistics.served,
        warnings=statistics.warnings,
        good_until=statistics.good_until,
    )
