"""The CA's limits as meters, and tailscaled's release in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .markup import escape, safe, when

if TYPE_CHECKING:
    from datetime import datetime

    from markupsafe import Markup

    from ..report import LimitReport

__all__ = ["MeterView", "meter_view", "release"]

_RELEASES = ((148, "v1.104 or later"), (142, "v1.102"), (138, "v1.98 or v1.100"), (123, "v1.86 to v1.96"))
"""From which ``Tailscale-Cap`` on."""


@attrs.frozen(kw_only=True)
class MeterView:
    """One limit as it is shown."""

    name: str
    scope: str
    words: Markup
    picture: Markup


def meter_view(limit: LimitReport, now: datetime) -> MeterView:
    """Return a limit as it is shown.

    Args:
        limit: the limit.
        now: the present time.
    """
    words = escape(_left(limit))
    if limit.is_exceeded:
        words = safe(f"the CA says it is reached, the next one may be had {_until(limit, now)}")
    return MeterView(name=limit.name, scope=limit.scope, words=words, picture=_picture(limit))


def _left(limit: LimitReport) -> str:
    """Return what may be spent now; what is spent comes back bit by bit, so it is no count of the past."""
    return f"{max(limit.capacity - limit.used, 0)} of {limit.capacity} left"


def _until(limit: LimitReport, now: datetime) -> Markup:
    return safe(f"at {when(limit.until, now)}") if limit.until is not None else escape("later")


def _picture(limit: LimitReport) -> Markup:
    share = min(100 * limit.used / max(limit.capacity, 1), 100)
    level = "full" if limit.is_exceeded else "much" if share >= 80 else "some"
    words = "reached, says the CA" if limit.is_exceeded else _left(limit)
    label = escape(f"{limit.name}, {limit.scope}: {words}")
    ticks = "".join(f'<rect class="tick" x="{10 * n}%" width="1" height="10"/>' for n in range(1, 10))
    return safe(
        f'<svg class="meter {level}" role="img" aria-label="{label}" width="100%" height="10">'
        f'<rect class="all" width="100%" height="10"/><rect class="used" width="{share:.1f}%" height="10"/>'
        f"{ticks}</svg>"
    )


def release(capability: int | None) -> str:
    """Return tailscaled's release in words, as far as its capability tells."""
    if capability is None:
        return "not known yet"
    for least, words in _RELEASES:
        if capability >= least:
            return f"{words} (capability {capability})"
    return f"older than v1.86 (capability {capability})"
