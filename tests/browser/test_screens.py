"""The pictures in the docs: a night on which things went wrong, always the same."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from status_scene import NOW, detail, night, night_events

from tscert_trio.status.guard import SECURITY_HEADERS
from tscert_trio.status.making import make_report
from tscert_trio.status.page import render_domain, render_page, static_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

PICTURES = Path(__file__).parents[2] / "docs" / "_static"
URL = "http://localhost:9410/"


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def answer(route: Route) -> None:
    """Answer as the service does."""
    path = urlsplit(route.request.url).path
    headers = dict(SECURITY_HEADERS)
    if path == "/events":
        route.fulfill(status=204)
        return
    if path.startswith("/static/"):
        found = static_file(path.removeprefix("/static/"))
        assert found is not None
        body, headers["Content-Type"] = found
    else:
        headers["Content-Type"] = "text/html; charset=utf-8"
        is_whole = path == "/"
        body = (
            render_page(make_report(night(), NOW), night_events(), {})
            if is_whole
            else render_domain(detail())
        )
    route.fulfill(body=body, headers=headers)


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
    page.context.route(f"{URL}**", answer)
    page.goto(URL + path)
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    image = page.screenshot(path=PICTURES / f"{picture}.png", animations="disabled")
    assert image.startswith(b"\x89PNG")
