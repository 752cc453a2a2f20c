"""Which name is meant. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from ..errors import StatusServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["find_name"]


def find_name(text: str, names: Sequence[str]) -> str:
    """Return the name that a person means.

    Args:
        text: a name, or its first part where that begins one name only.
        names: those that there are.

    Raises:
        StatusServiceError: it is none of them, with the nearest; or may mean several.
    """
    wanted = text.lower().rstrip(".")
    if wanted in names:
        return wanted
    found = [name for name in names if "." not in wanted and name.split(".")[0] == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        remedy = f"Say which: {', '.join(sorted(found))}."
        raise StatusServiceError(f"{text} may mean {len(found)} names", remedy=remedy, status=404)
    short = {name.split(".")[0]: name for name in names}
    near = difflib.get_close_matches(wanted, [*names, *short], n=1)
    nearest = short.get(near[0], near[0]) if near else None
    remedy = f"Is it {nearest}?" if nearest else "See all names with tscert-trio status."
    raise StatusServiceError(f"no certificate is kept for {text}", remedy=remedy, status=404)
