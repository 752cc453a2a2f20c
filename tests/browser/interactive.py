"""How soon a page can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["seconds_to_interactive"]

_SECONDS_WHEN_IDLE = """
() => new Promise((done) => {
  const look = () => document.documentElement.dataset.ready === undefined
    ? setTimeout(look, 5)
    : requestAnimationFrame(() => setTimeout(() => done(performance.now() / 1000)));
  look();
})
"""


def seconds_to_interactive(page: Page, url: str) -> float:
    """Load a page; return how long it took until it was painted and would answer to a key, server included.

    Args:
        page: an empty one.
        url: of the page.
    """
    page.goto(url, wait_until="commit")
    return float(page.evaluate(_SECONDS_WHEN_IDLE))
