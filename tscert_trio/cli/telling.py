"""What several commands say of a name in the same words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..status.words import in_time, sentence

if TYPE_CHECKING:
    from datetime import datetime

    from ..status.report import DomainReport, Trouble

__all__ = ["as_sentences", "attempts_left", "certificates_left", "comes_next", "says_as_much"]

_MOST = 5
"""So many attempts in an hour, and new certificates a week, a name has."""

_FACTS = ("this node's CertDomains",)
"""What a reason may say that the sentence before it has said."""


def says_as_much(said: str, trouble: Trouble) -> bool:
    """Return whether what was said says what the text of a trouble says, and that no more.

    Args:
        said: how a name is.
        trouble: why.
    """
    text = trouble.text.rstrip(".")
    return text in said or any(fact in said and text.endswith(fact) for fact in _FACTS)


def as_sentences(*parts: str) -> str:
    """Return parts as sentences, each once. None gets a capital: some begin with a name."""
    return " ".join(sentence(part) for part in dict.fromkeys(parts) if part.strip().rstrip("."))


def comes_next(domain: DomainReport, now: datetime) -> str:
    """Return what comes next, and when: a failed delivery that is tried again, or the next attempt.

    Where an order has to wait it is told when that is, and a look that comes before.

    Args:
        domain: how it is.
        now: the present time.
    """
    at, order_at, delivery_at = domain.next_attempt_at, domain.limited_until, domain.next_delivery_at
    if delivery_at is not None and all(each is None or delivery_at < each for each in (at, order_at)):
        return f"delivery {in_time(delivery_at, now)}"
    if order_at is None:
        return "-" if at is None else in_time(at, now)
    order = f"order {in_time(order_at, now)}"
    return order if at is None or at >= order_at else f"look {in_time(at, now)}, {order}"


def attempts_left(domain: DomainReport) -> str | None:
    """Return how many attempts the CA's limit lets through; ``None`` where none is spent."""
    return _left(domain.attempts_left, "attempts for a name in an hour")


def certificates_left(domain: DomainReport) -> str | None:
    """Return how many new certificates the CA's limit lets through; ``None`` where none is spent."""
    return _left(domain.certificates_left, "new certificates a week")


def _left(number: int | None, what: str) -> str | None:
    if number is None or number >= _MOST:
        return None
    return f"{number or 'none'} of {_MOST} {what} {'is' if number == 1 else 'are'} left"
