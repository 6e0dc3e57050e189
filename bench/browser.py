"""Debian's Chromium, driven by Playwright: how long a page takes for the person who opens it."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
]
WINDOW: Any = {"width": 1280, "height": 800}
# The times of the page that is open, once it has been painted and is loaded.
TIMES = """() => new Promise(resolve => {
    const look = () => {
        const [page] = performance.getEntriesByType('navigation');
        const [paint] = performance.getEntriesByName('first-contentful-paint');
        if (page.loadEventEnd && paint)
            resolve([page.responseEnd - page.requestStart, paint.startTime, page.loadEventEnd]);
        else setTimeout(look, 10);
    };
    look();
})"""


class BrowserMissing(Exception):
    """The console cannot be measured without Playwright and Chromium."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """The milliseconds of each load of one page."""

    response: list[float] = field(default_factory=list[float])
    """From the request to the last byte of the page, as the browser sees it."""
    shown: list[float] = field(default_factory=list[float])
    """From the beginning of the navigation to the first contentful paint."""
    loaded: list[float] = field(default_factory=list[float])
    """… to the end of the load event: styles and scripts included."""


@contextmanager
def chromium() -> Generator["Browser"]:
    """Start the browser. Raises BrowserMissing."""
    text = "needs Playwright (make bench installs it) and Chromium (apt-get install chromium)"
    executable = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    if executable is None:
        raise BrowserMissing(text)
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of this part alone
    except ImportError as error:
        raise BrowserMissing(text) from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def open_window(browser: "Browser", address: str, cookie: str, token: str) -> "Page":
    """Open a window of its own with a session."""
    context = browser.new_context(viewport=WINDOW)
    context.set_default_timeout(60_000)
    context.add_cookies([{"name": cookie, "value": token, "url": address}])
    return context.new_page()


def load(page: "Page", address: str, times: Times) -> None:
    """Open an address and add its times. Raises RuntimeError unless it is answered with 200."""
    answer = page.goto(address, wait_until="load")
    if answer is None or answer.status != 200:
        raise RuntimeError(f"{address} was answered with {answer and answer.status}")
    for series, milliseconds in zip(
        (times.response, times.shown, times.loaded), page.evaluate(TIMES), strict=True
    ):
        series.append(milliseconds)
