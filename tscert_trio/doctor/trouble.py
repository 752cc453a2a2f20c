"""What is failing, by the service that runs, else by the journal: names and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NotACertDomainError
from ..planning import wanted_names
from ..serve_config import some_of
from ..statistics import DeliveryStatistics
from ..status.judging import judge_delivery
from ..status.words import capital, in_time, moment, sentence
from .ca import SET_CLOCK
from .finding import Finding, Level, bad
from .names import UNLISTED_REMEDY, is_missing, remedy_of_unlisted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..certificate import Certificate
    from ..errors import LocalAPIError
    from ..journal import Memories
    from ..schedule import DomainRecord
    from ..status.report import DomainReport, StatusReport
    from ..survey import Survey

__all__ = ["check_trouble"]

_NEVER_HAD = "has no certificate yet, by the journal"
_START = "systemctl start tscert-trio, or: tscert-trio run"
_BY_MODE = {
    "guest": "leave issue = false out of its settings, or see to it where its certificates are ordered",
    "reader": "see to it where its certificates are ordered: this replica only reads",
}
"""What to do about a name for which nothing is ordered here."""


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
        is_of_delivery = any(  # which is told by itself
            each.trouble is not None and domain.summary == f"{each.target}: {each.summary}"
            for each in domain.deliveries
        )
        if domain.level.rank >= Level.WARNING.rank and not is_of_delivery:
            yield Finding(domain.level, check, domain.summary, _BY_MODE.get(domain.mode))
        return
    text, remedy = f"{sentence(trouble.text)} {trouble.meaning}", trouble.remedy
    if trouble.kind == NotACertDomainError.__name__:
        remedy = remedy_of_unlisted(survey)
        if report.tailscaled is not None and (listed := report.tailscaled.cert_domains):
            text, remedy = f"is no CertDomain of this node; those are {some_of(listed, 5)}", UNLISTED_REMEDY
    level = Level.BAD
    if domain.is_ready and domain.certificate is not None:
        level, text = (
            Level.WARNING,
            f"{sentence(text)} {_good_until(domain.certificate.not_after)}",
        )
    yield Finding(level, check, text, remedy)


def _of_journal(memories: Memories, survey: Survey) -> Iterator[Finding]:
    """Yield what the journal says of names and deliveries: no less than ``status --check`` reads in it."""
    lets_through, kept = survey.settings.domain_filter, survey.kept
    wanted = {name.domain for name in wanted_names(survey) if lets_through(name.domain)}
    for domain in sorted(wanted & (memories.records.keys() | (kept or frozenset()))):
        yield from _of_wanted(domain, memories.records.get(domain), survey)
    for record in memories.records.values() if survey.serve_config is None else ():
        is_maybe = record.domain not in wanted and (kept is None or record.domain in kept)
        if record.error is not None and is_maybe and lets_through(record.domain):
            yield _failure(record, record.error, survey, is_wanted=False)
    targets = {target.name for target in survey.settings.targets}
    for delivery in memories.deliveries:
        if delivery.error is not None and delivery.target in targets:
            check = f"delivery {delivery.target}"
            text = f"{delivery.domain}: {delivery.error}"
            level, _ = judge_delivery(DeliveryStatistics.of(delivery, delivery.state), survey.now)
            yield Finding(level, check, text, "put that right; it is tried again by itself")


def _of_wanted(domain: str, record: DomainRecord | None, survey: Survey) -> Iterator[Finding]:
    """Yield what the journal says of a name that is wanted, where that is not good."""
    error, leaf = (None, None) if record is None else (record.error, record.leaf)
    if is_missing(domain, survey) and (error is None or isinstance(error, NotACertDomainError)):
        return  # which another check has told
    if record is not None and error is not None:
        yield _failure(record, error, survey)
    elif (why := _why_without(leaf, survey)) is not None:
        yield bad(f"name {domain}", why, _remedy_without(domain, leaf, survey))


def _failure(
    record: DomainRecord, error: LocalAPIError, survey: Survey, *, is_wanted: bool = True
) -> Finding:
    """Return what the journal says of a name that failed.

    Args:
        record: of the name.
        error: why.
        survey: of everything else.
        is_wanted: whether that is known; it may have left with the serve config that cannot be read.
    """
    text, why = f"{sentence(str(error))} {error.meaning}", _why_without(record.leaf, survey)
    if record.leaf is not None:
        text += f" {_good_until(record.leaf.not_after)}" if why is None else f" {capital(sentence(why))}"
    if not is_wanted:
        text += " Whether it is still wanted is not known, since the serve config is not."
    level = Level.BAD if is_wanted and why is not None else Level.WARNING
    remedy = remedy_of_unlisted(survey) if isinstance(error, NotACertDomainError) else error.remedy
    return Finding(level, f"name {record.domain}", text, remedy)


def _why_without(leaf: Certificate | None, survey: Survey) -> str | None:
    """Return why a name has no valid certificate, by the journal; ``None``: it has one."""
    now = survey.now
    if leaf is None:
        return _NEVER_HAD
    if leaf.valid_at(now):
        return None
    if now > leaf.not_after:
        return f"its certificate ENDED {in_time(leaf.not_after, now)}, at {moment(leaf.not_after)}"
    return f"its certificate begins {in_time(leaf.not_before, now)}: is the clock of this machine right?"


def _remedy_without(domain: str, leaf: Certificate | None, survey: Survey) -> str:
    """Return what to do about a name that has no valid certificate, and did not fail."""
    if leaf is not None and survey.now < leaf.not_before:
        return SET_CLOCK
    of_its_mode = _BY_MODE.get(survey.settings.mode_of(domain).value)
    if of_its_mode is not None:
        return of_its_mode
    return _START if survey.holder is None else f"tscert-trio status {domain}"


def _good_until(end: datetime) -> str:
    return f"Its certificate is good until {moment(end)}."
