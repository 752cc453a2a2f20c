"""The service as a scene: it answers what a test wants, at a fixed time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tscert_trio.status.guard import SECURITY_HEADERS
from tscert_trio.status.page import static_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

__all__ = ["URL", "serve"]

URL = "http://localhost:9410/"


def serve(page: Page, render: Callable[[str], bytes]) -> None:
    """Answer a browser as the service does, but for events, of which there are none.

    Args:
        page: its page.
        render: from the path of a page to the page, in HTML; asked anew for each load.
    """

    def answer(route: Route) -> None:
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
            body = render(path)
        route.fulfill(body=body, headers=headers)

    page.context.route(f"{URL}**", answer)
