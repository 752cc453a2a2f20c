"""Whether this process's user may ask tailscaled for certificates."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from ..errors import AccessDeniedError, LocalAPIError
from ..localapi import LocalClient
from ..schedule import may_look
from .finding import bad, good, warning
from .state import name_of

if TYPE_CHECKING:
    from ..survey import Survey
    from .finding import Finding

__all__ = ["check_permission"]

_A_SECOND = timedelta(seconds=1)
_PATIENCE = timedelta(seconds=5)


async def check_permission(survey: Survey) -> list[Finding]:
    """See whether this user may ask. Where nothing tells, it is left open: to ask would be to order."""
    if survey.status is None:
        return []
    check, me = "permission", os.geteuid()
    name = name_of(me)
    if (why := _why_allowed(survey, me, name)) is not None:
        return [good(check, f"this user, {name}, {why} and may ask for certificates")]
    denied = await _is_denied(survey)
    if denied is False:
        return [good(check, f"this user, {name}, may ask for certificates")]
    remedy = (
        f"sudo tailscale set --operator={name}; or TS_PERMIT_CERT_UID={name} in /etc/default/tailscaled and "
        "systemctl restart tailscaled"
    )
    if denied:
        return [bad(check, f"this user, {name}, may not ask for certificates", remedy)]
    text = (
        f"this user, {name}, is neither root nor operator; whether TS_PERMIT_CERT_UID names it cannot be "
        "told without an order"
    )
    return [warning(check, text, remedy)]


def _why_allowed(survey: Survey, me: int, name: str) -> str | None:
    if me == 0:
        return "may do everything"
    if _owner_of_socket(survey) == me:
        return "runs tailscaled"
    if survey.prefs is not None and survey.prefs.operator and survey.prefs.operator in {name, str(me)}:
        return "is tailscaled's operator"
    return None


async def _is_denied(survey: Survey) -> bool | None:
    """Look at a certificate that tailscaled has, which orders nothing (rule 9); ``None``: there is none."""
    memories, listed = survey.memories, survey.cert_domains or ()
    for record in () if memories is None else memories.records.values():
        seen = attrs.evolve(record, looked_at=survey.now)
        if record.domain not in listed or not may_look(seen, survey.now):
            continue
        async with LocalClient(survey.settings.socket) as client:
            try:
                await client.cert(record.domain, min_validity=_A_SECOND, patience=_PATIENCE)
            except AccessDeniedError:
                return True
            except LocalAPIError:
                return None
            return False
    return None


def _owner_of_socket(survey: Survey) -> int | None:
    try:
        return survey.settings.socket.stat().st_uid
    except OSError:
        return None
