"""The life of a certificate as a bar: what is spent, when it is due, the CA's window, and the end. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ..words import span

if TYPE_CHECKING:
    from datetime import datetime

    from ..report import CertificateReport, WindowReport

__all__ = ["life_bar"]


def life_bar(certificate: CertificateReport, now: datetime) -> str:
    """Return the bar as SVG (HTML), as wide as its place, with its meaning as a text alternative.

    Args:
        certificate: whose life it is.
        now: the present time.
    """
    begin, end, window = certificate.not_before, certificate.not_after, certificate.window
    left, left_words = end - now, span(end - now)
    if now > end:
        whole = (now - begin).total_seconds()
        stop = 100 * (1 + left.total_seconds() / whole) if whole > 0 else 100
        stop = min(stop, 98)  # to be seen at all
        over = f'<rect class="over" x="{stop:.1f}%" y="6" width="{100 - stop:.1f}%" height="6"/>'
        marks = over + _fixed(begin, now, certificate.due_at, window)
        return _picture(f"over for {left_words}", stop, 100, marks, kind="life ended")
    today = _share(now, begin, end)
    due = certificate.due_at
    due_words = f"due in {span(due - now)}" if due > now else f"due for {span(now - due)}"
    words = f"{today:.0f} percent spent, {due_words}, {left_words} left"
    return _picture(words, today, today, _fixed(begin, end, due, window))


def _share(at: datetime, begin: datetime, end: datetime) -> float:
    whole = max((end - begin).total_seconds(), 1)
    return min(max(100 * (at - begin).total_seconds() / whole, 0), 100)


@lru_cache(maxsize=20_000)  # comes again with each page
def _fixed(begin: datetime, end: datetime, due_at: datetime, window: WindowReport | None) -> str:
    """Return the marks that do not move."""
    due = min(_share(due_at, begin, end), 99)
    marks = '<rect class="end" x="99.2%" y="3" width="2" height="12"/>'
    marks += f'<rect class="due" x="{due:.1f}%" y="3" width="2" height="12"/>'
    if window is None:
        return marks
    start, stop = _share(window.start, begin, end), _share(window.end, begin, end)
    width = max(stop - start, 0.6)
    return f'<rect class="window" x="{start:.1f}%" y="4" width="{width:.1f}%" height="10"/>{marks}'


def _picture(words: str, spent: float, today: float, marks: str, *, kind: str = "life") -> str:
    return (
        f'<svg class="{kind}" role="img" aria-label="Life of the certificate: {words}" width="100%" '
        'height="18">'
        '<rect class="left" y="6" width="100%" height="6"/>'
        f'<rect class="spent" y="6" width="{spent:.1f}%" height="6"/>{marks}'
        f'<rect class="today" x="{min(today, 98.9):.1f}%" width="3" height="18"/></svg>'
    )
