"""Fixtures of the tests in a browser: Debian's Chromium, a sandbox, and the service on it."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from ..real.stack.install import find_program
from .programs import open_service, open_tailscaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from .programs import Service, Tailscaled

A, B, C = (f"{letter}.tail1234.ts.net" for letter in "abc")

_WATCH = "addEventListener('securitypolicyviolation', (e) => console.error(`CSP: ${e.violatedDirective}`))"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    options = ["--disable-partial-raster", "--disable-skia-runtime-opts", "--force-color-profile=srgb"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # root has none
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_program("chromium"), args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page in a profile of its own. At the end nothing may have been complained of in its console.

    ``passes_over`` is a part of complaints that are expected.
    """
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(*, passes_over: str | None = None, **options: object) -> Page:
            context = chromium.new_context(**{"reduced_motion": "reduce", **options})
            stack.callback(context.close)
            context.add_init_script(_WATCH)
            page = context.new_page()

            def complain(text: str) -> None:
                if passes_over is None or passes_over not in text:
                    complaints.append(text)

            page.on(
                "console", lambda message: message.type in {"error", "warning"} and complain(message.text)
            )
            page.on("pageerror", lambda error: complain(str(error)))
            return page

        yield open_page
    assert complaints == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="tsb-") as path:
        yield Path(path)


@pytest.fixture
def tailscaled(folder: Path) -> Iterator[Tailscaled]:
    """A sandbox on which A and B may be had, and B fails."""
    with open_tailscaled(folder, A, B) as tailscaled:
        tailscaled.fail(B, make="control", text="the <b>DNS</b> provider is away")
        yield tailscaled


@pytest.fixture
def service(folder: Path, tailscaled: Tailscaled) -> Iterator[Service]:
    """The service: A is well, B fails, and C is no CertDomain."""
    with open_service(folder, tailscaled, A, B, C) as service:
        service.wait_until(A, "issued")
        service.wait_until(B, "failed")
        service.wait_until(C, "waiting")
        yield service
