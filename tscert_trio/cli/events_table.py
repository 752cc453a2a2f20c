"""What has happened, a line an event. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import MARKS, STYLES, Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..status.history import Event

__all__ = ["event_lines"]


def event_lines(events: Sequence[Event], *, with_name: bool, name_width: int = 0) -> list[Line]:
    """Return a line for each event: time, name, what, outcome, and the text where there is one.

    Args:
        events: the newest last.
        with_name: whether to say of which name each is.
        name_width: how wide names are at least, in columns, so that later lines fit under earlier ones.
    """
    wide = max([name_width, *(len(each.domain) for each in events)])
    what_width = max((len(each.what) for each in events), default=0)
    lines = []
    for each in events:
        name = f"{each.domain:<{wide}}  " if with_name else ""
        took = f", {each.seconds:.1f} s" if each.seconds is not None and each.seconds >= 0.05 else ""
        text = f"  {each.text}" if each.text else ""
        line = (
            f"{each.at.astimezone():%Y-%m-%d %H:%M:%S}  {name}{each.what:<{what_width}}  {each.outcome}{took}"
        )
        style = STYLES[each.level]
        lines.append(Line(f"{line}{text}", "", f"{MARKS[each.level]} ", style))
    return lines
