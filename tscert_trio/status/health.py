"""Whether the engine turns, and whether every wanted name has a valid certificate. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ..schedule import Mode
from ..statistics import DomainState
from .judging import why_not_well
from .words import NOT_ORDERED, in_time, moment, span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..statistics import CertManagerStatistics, DomainStatistics

__all__ = ["liveness", "readiness", "render_health"]

_LATE = timedelta(minutes=10)
"""The clock is looked at every five minutes; only after a suspend a loop may oversleep, and for that long."""
_MOST_LINES = 20


def liveness(statistics: CertManagerStatistics, now: datetime) -> tuple[str, ...]:
    """Return why the engine does not turn: names that should have been asked for by now; nothing: it does.

    A name that waits, queues or is being asked for has no next attempt, and is never late.
    """
    return tuple(
        f"{each.domain}: its next attempt was due {span(now - each.next_attempt_at)} ago, and was not made"
        for each in statistics.domains
        if each.next_attempt_at is not None and now - each.next_attempt_at > _LATE
    )


def readiness(statistics: CertManagerStatistics, now: datetime) -> tuple[str, ...]:
    """Return why not every wanted name has a certificate that is valid now; nothing: each has."""
    if not statistics.is_told:
        return ("it is not known yet which names are wanted",)
    unread = (
        f"it is not known what {each.name} wants{f': {each.trouble}' if each.trouble else ''}"
        for each in statistics.sources
        if not each.is_known
    )
    without = (
        f"{each.domain}: {_why_not(each, statistics, now)}"
        for each in statistics.domains
        if each.leaf is None or not each.leaf.valid_at(now)
    )
    return (*unread, *without)


def _why_not(statistics: DomainStatistics, of_all: CertManagerStatistics, now: datetime) -> str:
    leaf, error = statistics.leaf, why_not_well(statistics, of_all)
    if leaf is None:
        text = "no certificate"
    elif now > leaf.not_after:
        text = f"its certificate ended {in_time(leaf.not_after, now)}, at {moment(leaf.not_after)}"
    else:
        begins = in_time(leaf.not_before, now)
        return f"its certificate begins {begins}, so the clock of this machine seems to be wrong"
    if error is not None:
        return f"{text}; {type(error).__name__}: {error}"
    if statistics.mode is not Mode.KEEPER and statistics.state is not DomainState.WAITING:
        return f"{text}; {NOT_ORDERED[statistics.mode.value]}"
    if statistics.state is DomainState.LIMITED:
        return f"{text}; one waits for {statistics.limit}"
    return f"{text}; {_STATES[statistics.state]}"


_STATES = {
    DomainState.WAITING: "it waits for tailscaled",
    DomainState.QUEUED: "one is requested when others are done",
    DomainState.REQUESTING: "one is being requested",
    DomainState.ISSUED: "one is about to be requested",
    DomainState.FAILED: "one is about to be requested",
}


def render_health(reasons: Sequence[str], *, ok: str) -> tuple[int, bytes]:
    """Return an HTTP status and a plain text.

    Args:
        reasons: what is wrong; a line each, the first twenty of them.
        ok: the text where nothing is.
    """
    if not reasons:
        return 200, f"{ok}\n".encode()
    lines = [" ".join(reason.split()) for reason in reasons[:_MOST_LINES]]
    if len(reasons) > _MOST_LINES:
        lines.append(f"and {len(reasons) - _MOST_LINES} more")
    return 503, ("\n".join(lines) + "\n").encode()
