"""What is failing, by the service that runs, else by the journal: names and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NotACertDomainError
from ..planning import wanted_names
from ..serve_config import some_of
from ..statistics import DeliveryStatistics
from ..status import report as reports
from ..status.judging import judge_delivery
from ..status.words import moment
from .finding import Finding, Level, bad, warning
from .names import UNLISTED_REMEDY, is_missing, remedy_of_unlisted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..journal import Memories
    from ..schedule import DomainRecord
    from ..status.report import DomainReport, StatusReport
    from ..survey import Survey

__all__ = ["check_trouble"]


async def check_trouble(survey: Survey) -> list[Finding]:
    """Tell each name's last failure, with what it means and what to do, then each delivery's."""
    if survey.running is not None:
        return [*_of_service(survey.running.report, survey)]
    if survey.memories is not None:
        return [*_of_journal(survey.memories, survey)]
    return []


def _of_service(report: StatusReport, survey: Survey) -> Iterator[Finding]:
    """Yield what the service that runs says, of all names that it keeps."""
    of_all = None if report.tailscaled is None else report.tailscaled.trouble
    if of_all is not None and survey.status is not None:
        text = f"the running service cannot ask its tailscaled: {of_all.text}"
        yield bad("service", text, of_all.remedy)
    wanted = {name.domain for name in wanted_names(survey)}
    for domain in report.domains:
        is_told = domain.name in wanted and is_missing(domain.name, survey)
        if not is_told and not (domain.trouble is not None and domain.trouble == of_all):
            yield from _of_name(domain, report, survey)
    for domain in report.domains:
        for delivery in domain.deliveries:
            if delivery.trouble is not None:
                text = f"{domain.name}: {delivery.trouble.text}"
                yield Finding(delivery.level, f"delivery {delivery.target}", text, delivery.trouble.remedy)


def _of_name(domain: DomainReport, report: StatusReport, survey: Survey) -> Iterator[Finding]:
    check, trouble = f"name {domain.name}", domain.trouble
    if trouble is None:
        is_of_delivery = any(each.trouble is not None for each in domain.deliveries)
        if domain.level.rank >= reports.Level.WARNING.rank and not is_of_delivery:
            yield warning(check, domain.summary)
        return
    text, remedy = f"{trouble.text.rstrip('.')}. {trouble.meaning}", trouble.remedy
    if trouble.kind == NotACertDomainError.__name__:
        remedy = remedy_of_unlisted(survey)
        if report.tailscaled is not None and (listed := report.tailscaled.cert_domains):
            text, remedy = f"is no CertDomain of this node; those are {some_of(listed, 5)}", UNLISTED_REMEDY
    level = Level.BAD
    if domain.is_ready and domain.certificate is not None:
        level, text = (
            Level.WARNING,
            f"{text.rstrip('.')}. {_good_until(domain.certificate.not_after)}",
        )
    yield Finding(level, check, text, remedy)


def _of_journal(memories: Memories, survey: Survey) -> Iterator[Finding]:
    wanted = {name.domain for name in wanted_names(survey)}
    is_known = survey.serve_config is not None
    for record in memories.records.values():
        if record.error is None:
            continue
        if record.domain in wanted:
            is_told = isinstance(record.error, NotACertDomainError) and is_missing(record.domain, survey)
            if not is_told:
                yield _failure(record, survey)
        elif not is_known and (survey.kept is None or record.domain in survey.kept):
            yield _failure(record, survey, is_wanted=False)
    targets = {target.name for target in survey.settings.targets}
    for delivery in memories.deliveries:
        if delivery.error is not None and delivery.target in targets:
            check = f"delivery {delivery.target}"
            text = f"{delivery.domain}: {delivery.error}"
            level, _ = judge_delivery(DeliveryStatistics.of(delivery, delivery.state), survey.now)
            yield Finding(level, check, text, "put that right; it is tried again by itself")


def _failure(record: DomainRecord, survey: Survey, *, is_wanted: bool = True) -> Finding:
    """Return what the journal says of a name that failed.

    Args:
        record: of the name.
        survey: of everything else.
        is_wanted: whether that is known; it may have left with the serve config that cannot be read.
    """
    error = record.error
    assert error is not None
    is_good = record.has_valid_leaf(survey.now)
    text = f"{str(error).rstrip('.')}. {error.meaning}"
    if record.leaf is not None and is_good:
        text += f" {_good_until(record.leaf.not_after)}"
    if not is_wanted:
        text += " Whether it is still wanted is not known, since the serve config is not."
    level = Level.BAD if is_wanted and not is_good else Level.WARNING
    remedy = remedy_of_unlisted(survey) if isinstance(error, NotACertDomainError) else error.remedy
    return Finding(level, f"name {record.domain}", text, remedy)


def _good_until(end: datetime) -> str:
    return f"Its certificate is good until {moment(end)}."
