"""The CA: can it be reached, what does its clock say, and what is left of its limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..ari import LETS_ENCRYPT_DIRECTORY
from ..clock import describe_duration
from ..errors import CATroubleError, RateLimitedError, RenewalInfoError
from ..planning import wanted_names
from ..schedule import Ledger
from ..statistics import limit_statistics
from ..status.words import moment
from .finding import bad, good, warning
from .names import is_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ari import DirectoryLook
    from ..statistics import LimitStatistics
    from ..survey import Survey
    from .finding import Finding

__all__ = ["SET_CLOCK", "check_budget", "check_ca", "check_clock"]

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # this program is no older
_A_LITTLE, _MUCH = timedelta(minutes=1), timedelta(minutes=10)
_TOO_MANY = 429
SET_CLOCK = "timedatectl set-ntp true"


def check_ca(survey: Survey, look: DirectoryLook | RenewalInfoError | None) -> list[Finding]:
    """Tell whether the CA can be reached from here, and be asked when to renew.

    Args:
        survey: of everything else.
        look: what came of asking; ``None``: nobody asked.
    """
    url = survey.settings.ca_directory or LETS_ENCRYPT_DIRECTORY
    if look is None:
        return [good("CA", "is not asked when to renew (--no-ari)")]
    if isinstance(look, RenewalInfoError):
        return [_no_directory(look, url)]
    if not look.offers_renewal_info:
        text = f"{url} answers, and offers no renewal information: names are renewed at 2/3 of their life"
        return [warning("CA", text, "--no-ari, if that is as it should be")]
    return [good("CA", f"{url} answers, and can be asked when to renew")]


def _no_directory(trouble: RenewalInfoError, url: str) -> Finding:
    """Return why the CA's directory cannot be had; one that answers is no matter of the network."""
    if trouble.is_out_of_reach and trouble.status is None:
        text = f"cannot be asked: {trouble}; most likely tailscaled cannot reach it either"
        remedy = f"curl -sS {url}; if that fails, look at DNS, firewall and proxy, or at --ca-directory"
        return bad("CA", text, remedy)
    if not trouble.is_out_of_reach:
        return bad("CA", f"answers with nonsense: {trouble}", f"curl -sS {url}; is --ca-directory right?")
    if trouble.status == _TOO_MANY:
        return bad("CA", f"answers that it is asked too often: {trouble}", RateLimitedError.remedy)
    remedy = CATroubleError.remedy
    if url != LETS_ENCRYPT_DIRECTORY:
        remedy = "most likely it passes by itself; if not, look at the CA: its log, and what stands before it"
    return bad("CA", f"can be reached, and has trouble of its own: {trouble}", remedy)


def check_clock(survey: Survey, look: DirectoryLook | RenewalInfoError | None) -> list[Finding]:
    """Compare this machine's clock with the CA's; without that, tell whether it can be right.

    The arguments are those of :func:`check_ca`.
    """
    now = survey.now
    if now < _EARLIEST:
        return [bad("clock", f"is wrong: it cannot be {now:%Y-%m-%d}", SET_CLOCK)]
    date = None if look is None or isinstance(look, RenewalInfoError) else look.date
    if date is None:
        return [good("clock", f"can be right ({now:%Y-%m-%d %H:%M} UTC); there is none to compare it with")]
    off = abs(now - date)
    if off < _A_LITTLE:
        return [good("clock", "agrees with the CA's")]
    text = f"is {describe_duration(off)} {'ahead of' if now > date else 'behind'} the CA's"
    if off < _MUCH:
        return [warning("clock", text, SET_CLOCK)]
    return [bad("clock", f"{text}: new certificates may seem not to have begun, or over", SET_CLOCK)]


async def check_budget(survey: Survey) -> list[Finding]:
    """Tell what is left of the CA's limits, and which names wait for one."""
    if survey.memories is None:
        return []
    now, ledger = survey.now, Ledger(survey.settings.limits, survey.memories.account)
    findings = [_limit(limit) for limit in limit_statistics(ledger, now)]
    if survey.settings.ca_limits == "none":
        findings.append(good("budget", "no limits of the CA are kept (--ca-limits none)"))
    return [*findings, *_waiting(survey, ledger)]


def _limit(limit: LimitStatistics) -> Finding:
    if limit.is_exceeded:
        until = "" if limit.until is None else f"; the next order is made at {moment(limit.until)}"
        text = f"the CA says that there were too many {limit.name} ({limit.scope}){until}"
        return warning("budget", text, RateLimitedError.remedy)
    left = f"{limit.capacity - limit.used} of {limit.capacity} {limit.name} are left now"
    return good("budget", f"{left}, as far as this machine knows ({limit.scope})")


def _waiting(survey: Survey, ledger: Ledger) -> Iterator[Finding]:
    assert survey.memories is not None
    wanted = {name.domain for name in wanted_names(survey)}
    for record in survey.memories.records.values():
        if record.domain not in wanted or not record.is_due(survey.now) or is_missing(record.domain, survey):
            continue
        at, reason = ledger.ready_at(record, survey.now)
        if reason is not None:
            text = f"a new certificate waits for {reason}, until {moment(at)}"
            yield warning(f"name {record.domain}", text, RateLimitedError.remedy)
