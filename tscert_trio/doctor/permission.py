"""Whether this process's user may ask tailscaled for certificates."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import AccessDeniedError
from ..planning import is_cert_domain
from .finding import bad, good, warning
from .state import name_of, user_of

if TYPE_CHECKING:
    from ..survey import Survey
    from .finding import Finding

__all__ = ["check_permission"]


async def check_permission(survey: Survey) -> list[Finding]:
    """See whether this user may ask. Where nothing tells, it is left open: to ask would be to order."""
    if survey.status is None:
        return []
    check, me = "permission", os.geteuid()
    name = name_of(me)
    if (why := _why_allowed(survey, me, name)) is not None:
        return [good(check, f"this user, {name}, {why} and may ask for certificates")]
    may = _does_the_service(survey, me)
    if may:
        return [good(check, f"this user, {name}, may ask for certificates, as the running service does")]
    remedy = (
        f"sudo tailscale set --operator={name}; or TS_PERMIT_CERT_UID={name} in /etc/default/tailscaled and "
        "systemctl restart tailscaled"
    )
    if may is False:
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


def _does_the_service(survey: Survey, me: int) -> bool | None:
    """Return whether a service of this user was let ask this tailscaled; ``None``: there is none that tells.

    A look of our own would tell, too, and be an order where tailscaled has lost what the journal knows.
    """
    running, listed = survey.running, survey.cert_domains or frozenset()
    if running is None or running.process is None or user_of(running.process) != me:
        return None
    asked = [each for each in running.report.domains if each.attempts and is_cert_domain(each.name, listed)]
    if any(each.trouble is None and each.is_ready for each in asked):
        return True
    denied = any(
        each.trouble is not None and each.trouble.kind == AccessDeniedError.__name__ for each in asked
    )
    return False if denied else None


def _owner_of_socket(survey: Survey) -> int | None:
    try:
        return survey.settings.socket.stat().st_uid
    except OSError:
        return None
