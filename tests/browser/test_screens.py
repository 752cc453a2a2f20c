"""The pictures in the docs: a night on which things went wrong, always the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from status_scene import NOW, detail, night, night_events, zone

from tscert_trio.status.making import make_report
from tscert_trio.status.page import render_domain, render_page

from .scenery import URL, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

PICTURES = Path(__file__).parents[2] / "docs" / "_static"


@pytest.fixture(autouse=True)
def _zone() -> Iterator[None]:
    with zone("UTC"):
        yield


def render(path: str) -> bytes:
    """Return the page of all names, or of one."""
    if path == "/":
        return render_page(make_report(night(), NOW), night_events(), {})
    return render_domain(detail())


@pytest.mark.parametrize(
    ("picture", "path", "width", "height", "scheme"),
    [
        ("page", "", 1280, 1560, "light"),
        ("page-dark", "", 1280, 1560, "dark"),
        ("phone", "", 320, 900, "light"),
        ("domain", "domains/shop.tail1234.ts.net", 1100, 1300, "light"),
    ],
)
def test_a_picture_for_the_docs(
    open_page: Callable[..., Page], picture: str, path: str, width: int, height: int, scheme: str
) -> None:
    page = open_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    serve(page, render)
    page.goto(URL + path)
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    image = page.screenshot(path=PICTURES / f"{picture}.png", animations="disabled")
    assert image.startswith(b"\x89PNG")
