"""What a cert loop tells: what happened, until when it is harmless, what to do, and when it goes on."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .clock import describe_duration
from .errors import NotACertDomainError
from .schedule import NEVER

if TYPE_CHECKING:
    from datetime import datetime

    from .errors import LocalAPIError
    from .schedule import DomainRecord, Step

__all__ = ["how_it_stands", "local_time", "log_certificate", "log_earlier_failure", "log_end", "log_failure"]

_logger = logging.getLogger(__name__)


def log_certificate(record: DomainRecord) -> None:
    """Tell of the certificate that was seen just now."""
    leaf, due = record.leaf, record.due()
    assert leaf is not None
    assert due is not None
    _logger.info(
        "%s: certificate valid until %s, due at %s (%s)",
        record.domain,
        local_time(leaf.not_after),
        local_time(due[0]),
        due[1].value,
        extra=_fields(record, None),
    )


def log_failure(
    record: DomainRecord, error: LocalAPIError, step: Step, now: datetime, *, is_news: bool
) -> None:
    """Tell what failed, what that means, what to do, and when it is tried again.

    Args:
        record: of the name, after the failure.
        error: what failed.
        step: what comes next.
        now: the present time.
        is_news: whether it was not told before.
    """
    level = logging.WARNING if record.has_valid_leaf(now) or record.leaf is None else logging.ERROR
    _logger.log(
        level if is_news else logging.DEBUG,
        "%s: request failed%s: %s. %s %s %s %s",
        record.domain,
        f" (retry {record.failures})" if error.counted else "",
        str(error).rstrip("."),
        error.meaning,
        error.remedy,
        how_it_stands(record, now),
        "Waiting for it." if isinstance(error, NotACertDomainError) else _then(step, now),
        extra=_fields(record, step),
    )


def log_earlier_failure(record: DomainRecord, step: Step, now: datetime) -> None:
    """Tell, at the start, of a failure that the journal remembers."""
    _logger.warning(
        "%s: an earlier request failed (retry %d): %s. %s %s",
        record.domain,
        record.failures,
        str(record.error).rstrip("."),
        how_it_stands(record, now),
        _then(step, now),
        extra=_fields(record, step),
    )


def log_end(record: DomainRecord, step: Step, now: datetime) -> None:
    """Tell that the certificate is over, and that there is no other."""
    why = f" {str(record.error).rstrip('.')}. {record.error.remedy}" if record.error is not None else ""
    _logger.error(
        "%s: %s%s %s",
        record.domain,
        how_it_stands(record, now),
        why,
        _then(step, now),
        extra=_fields(record, step),
    )


def how_it_stands(record: DomainRecord, now: datetime) -> str:
    """Say until when it is harmless."""
    leaf, due = record.leaf, record.due()
    if leaf is None or due is None:
        return "There is no certificate yet."
    if not record.has_valid_leaf(now):
        return f"The certificate ENDED at {local_time(leaf.not_after)}."
    overdue = f", and was due at {local_time(due[0])}" if due[0] <= now else ""
    until = f"{local_time(leaf.not_after)} ({_left(leaf.not_after - now)})"
    return f"The present certificate is valid until {until}{overdue}."


def _left(duration: timedelta) -> str:
    days = duration / timedelta(days=1)
    return f"{days:.1f} days" if days >= 2 else describe_duration(duration)


def local_time(at: datetime) -> str:
    """Return a moment as people read it, with the zone of this machine."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S%z}"


def _then(step: Step, now: datetime) -> str:
    at = step.limited_until or step.at
    if at >= NEVER:
        return "It is not asked for again: nothing is ordered for it here."
    reason = f" (it waits for {step.limit})" if step.limit else ""
    return f"Next attempt at {local_time(at)}, in {describe_duration(at - now)}{reason}."


def _fields(record: DomainRecord, step: Step | None) -> dict[str, Any]:
    """Return what a log of JSON lines has besides the message."""
    at = (step.limited_until or step.at) if step is not None else None
    return {
        "domain": record.domain,
        "error": type(record.error).__name__ if record.error is not None else None,
        "retry": record.failures or None,
        "valid_until": record.leaf.not_after.isoformat() if record.leaf is not None else None,
        "next_attempt_at": at.isoformat() if at is not None and at < NEVER else None,
    }
