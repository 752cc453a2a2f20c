"""How things are, in one sentence. Pure."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from .report import Level

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .report import DomainReport

__all__ = [
    "NOT_ORDERED",
    "capital",
    "harmless_while_all_are_well",
    "in_time",
    "moment",
    "of_names",
    "sentence",
    "sentence_of_all",
    "span",
    "worst_of",
]

NOT_ORDERED = {
    "reader": "not ordered here: this replica only reads",
    "guest": "not ordered here (issue = false)",
}
"""Why nothing is ordered for a name, by its mode."""

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def span(duration: timedelta) -> str:
    """Return a duration as people say it, such as ``3 hours`` or ``1 day``; rounded down to one unit."""
    seconds = abs(duration.total_seconds())
    for size, unit in _UNITS:
        number = int(seconds // size)
        if number >= (2 if size > 60 else 1):  # "36 hours" rather than "1 day"
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "a moment"


def in_time(at: datetime, now: datetime) -> str:
    """Return when something is or was, seen from now: ``in 3 hours``, ``5 minutes ago``, ``now``."""
    if abs(at - now) < timedelta(seconds=1):
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


@lru_cache(maxsize=4096)  # the ends of the same certificates, for each page and report
def moment(at: datetime) -> str:
    """Return a moment as people read it, in the zone of this machine."""
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z}"


def capital(text: str) -> str:
    """Return a text that begins with a capital; for words of ours only, not where others' or a name begin."""
    return f"{text[:1].upper()}{text[1:]}"


def sentence(text: str) -> str:
    """Return a text with a full stop at its end, unless it asks or calls."""
    whole = text.strip().rstrip(".")
    return whole if whole.endswith(("?", "!")) else f"{whole}."


def of_names(count: int, total: int, one: str = "is", many: str = "are") -> str:
    """Return ``1 of 3 names is``, ``Both names are`` or ``The name is``, for what follows."""
    if count == total:
        who = {1: "The name", 2: "Both names"}.get(total, f"All {total} names")
    else:
        who = f"{count} of {total} names"
    return f"{who} {one if count == 1 else many}"


def sentence_of_all(
    domains: Sequence[DomainReport], counts: dict[str, int], *, is_told: bool, is_live: bool = True
) -> str:
    """Return how all names are.

    Args:
        domains: the worst first.
        counts: how many are of each level.
        is_told: whether it is known which names are wanted.
        is_live: whether the service says so; else its journal, and nobody knows whether all goes well.
    """
    if not is_told:
        return "It is not known yet which names are wanted."
    if not domains:
        return "No name wants a certificate."
    total, bad, warnings = len(domains), counts["bad"], counts["warning"]
    if not bad and not warnings:
        return _sentence_without_trouble(domains, counts["notice"], is_live=is_live)
    tail = f"{domains[0].name}: {domains[0].summary}"
    if bad:
        without = sum(not each.is_ready for each in domains[:bad])
        kinds = (
            (without, "has", "have", "no valid certificate"),
            (bad - without, "is", "are", "not delivered"),
            (warnings, "is", "are", "not well"),
        )
        (count, one, many, what), *others = (kind for kind in kinds if kind[0])
        more = "".join(f", {n} more {first if n == 1 else rest} {text}" for n, first, rest, text in others)
        return f"{of_names(count, total, one, many)} {what}{more}. {tail}"
    return f"{of_names(warnings, total)} not well{_harmless(domains[:warnings])}. {tail}"


def _sentence_without_trouble(domains: Sequence[DomainReport], under_way: int, *, is_live: bool) -> str:
    total, ready = len(domains), sum(each.is_ready for each in domains)
    if not is_live:
        who = of_names(ready, total, "has", "have") if ready else "No name has"
        return f"{who} a valid certificate{_of_the_first(domains)}."
    if not ready:
        return "The certificate is under way." if total == 1 else "Certificates are under way."
    if not under_way:
        return f"{of_names(ready, total)} well."
    tail = f"{domains[0].name}: {domains[0].summary}"
    return f"{of_names(ready, total)} well; something is under way for {under_way}. {tail}"


def _of_the_first(domains: Sequence[DomainReport]) -> str:
    """Return when the first renewal is due, and when the first certificate ends."""
    valid = [each.certificate for each in domains if each.certificate is not None and each.is_ready]
    if not valid:
        return ""
    due, end = min(each.due_at for each in valid), min(each.not_after for each in valid)
    return f"; renewal is due from {moment(due)} on, and the first certificate ends {moment(end)}"


def harmless_while_all_are_well(domains: Sequence[DomainReport]) -> str:
    """Return until when it is harmless that nothing can be renewed, where nothing else is wrong."""
    well = [each for each in domains if each.level.rank < Level.WARNING.rank]
    ends = [each.certificate.not_after for each in well if each.certificate is not None]
    return f", harmless until {moment(min(ends))}" if ends and len(ends) == len(domains) else ""


def _harmless(domains: Sequence[DomainReport]) -> str:
    """Return until when nothing of what is wrong does harm, where that is known of all of it."""
    ends = [each.harmless_until for each in domains if each.harmless_until is not None]
    return f", harmless until {moment(min(ends))}" if len(ends) == len(domains) else ""


def worst_of(levels: Sequence[Level]) -> Level:
    """Return the worst of some levels."""
    return max(levels, key=lambda level: level.rank)
