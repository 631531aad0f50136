"""Chromium, for tests and pictures of web pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The program, if there is one here."""
_FLAGS = [
    "--no-sandbox",  # root has no sandbox, as in CI
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def browser_page(width: int, height: int = 900, *, scale: float = 1) -> Iterator[Page]:
    """A page of this size in CSS pixels, each of `scale` pixels."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
        browser.close()
