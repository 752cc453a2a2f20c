"""What the journal says is failing: names and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..planning import wanted_names
from .finding import Finding, Level, warning

if TYPE_CHECKING:
    from ..schedule import DomainRecord
    from ..survey import Survey

__all__ = ["check_trouble"]


async def check_trouble(survey: Survey) -> list[Finding]:
    """Tell each name's last failure, with what it means and what to do, then each delivery's."""
    memories = survey.memories
    if memories is None:
        return []
    wanted = {name.domain for name in wanted_names(survey)}
    is_known = survey.serve_config is not None  # else any remembered name may be wanted
    findings = [
        _failure(record, survey)
        for record in memories.records.values()
        if record.error is not None and (record.domain in wanted or not is_known)
    ]
    targets = {target.name for target in survey.settings.targets}
    for delivery in memories.deliveries:
        if delivery.error is not None and delivery.target in targets:
            check = f"delivery {delivery.target}"
            text = f"{delivery.domain}: {delivery.error}"
            findings.append(warning(check, text, "put that right; it is tried again by itself"))
    return findings


def _failure(record: DomainRecord, survey: Survey) -> Finding:
    error = record.error
    assert error is not None
    level = Level.WARNING if record.has_valid_leaf(survey.now) else Level.BAD
    end = ""
    if record.leaf is not None and level is Level.WARNING:
        end = f" Its certificate is good until {record.leaf.not_after:%Y-%m-%d}."
    text = f"{str(error).rstrip('.')}. {error.meaning}{end}"
    return Finding(level, f"name {record.domain}", text, error.remedy)
