"""Debian's Chromium, driven by Playwright: the console as a person sees and uses it.

Without a window of its own, `chromium-headless-shell`, it uses a quarter of the CPU: `chromium
--headless` also runs the toolbars, which no test needs.
"""

import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.support.waiting import PATIENCE

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None,
    reason="Chromium is not installed (Debian: apt-get install chromium-headless-shell)",
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
]
AXE = files("axe_playwright_python") / "axe.min.js"
PHONE = {"width": 390, "height": 800}


@dataclass
class Visit:
    """One person's browser window on the console, and what went wrong in it."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list[str])
    """Errors of scripts, and violations of the Content-Security-Policy."""

    def open(self, path: str) -> None:
        """Go to a page."""
        self.page.goto(f"{self.url}{path}")

    def sign_in(self, key: str) -> None:
        """Sign in with an API key."""
        self.open("/console/")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(re.compile(r"/console/$"))

    def violations(self, *rules: str) -> list[str]:
        """What axe-core finds that assistive technology cannot use, by these rules or all."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found = self.page.evaluate(
            "only => axe.run(only)", {"runOnly": list(rules)} if rules else {}
        )
        return [
            f"{each['id']}: {node['html'][:200]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def note(self, message: ConsoleMessage) -> None:
        """Keep what the browser complains of."""
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)


@contextmanager
def chromium() -> Generator[Browser]:
    """The browser, for several windows."""
    expect.set_options(timeout=PATIENCE * 1_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Browser, url: str, **options: Any) -> Generator[Visit]:
    """A window of its own, without anyone's cookies; `options` are Playwright's."""
    context: BrowserContext = browser.new_context(timezone_id="Europe/Berlin", **options)
    context.set_default_timeout(PATIENCE * 1_000)
    page = context.new_page()
    opened = Visit(page, url)
    page.on("console", opened.note)
    page.on("pageerror", lambda error: opened.faults.append(str(error)))
    try:
        yield opened
    finally:
        context.close()
