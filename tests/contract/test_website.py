"""The documentation site: complete, without broken links, and it needs no other host."""

import re
import threading
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from publish_worker_client.events.names import EventType
from schemas.command import CommandState
from tests.support.browser import NEEDS_CHROMIUM, PHONE, Visit, chromium, visit
from tests.support.waiting import wait_until
from website.build import build
from website.event_reference import describe_events
from website.http_reference import describe_objects, describe_routes, read_document
from website.pages import DOCS, OUTSIDE, ROOT, for_site
from website.state_diagram import PICTURE, PLACES, draw

NAV = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
NOT_OF_DOCS = {"changelog.md", "configuration.md"}
SECONDS = 60
DESKTOP = 1280
LOOKED_AT = ("index", "concepts", "quick-start-consumer", "http", "events", "alerts", "console")


def pages_of(nav: Any) -> set[str]:
    """Every page below an entry of the navigation."""
    match nav:
        case str():
            return {nav}
        case dict():
            return set[str]().union(*(pages_of(each) for each in nav.values()))  # pyright: ignore[reportUnknownVariableType]
        case _:
            return set[str]().union(*(pages_of(each) for each in nav))


def test_the_navigation_leads_to_every_page() -> None:
    pages = {page.name for page in DOCS.glob("*.md")} | set(OUTSIDE.values())
    assert pages_of(NAV) - NOT_OF_DOCS == pages - NOT_OF_DOCS


def test_the_picture_of_the_states_is_drawn_from_the_states_of_the_code() -> None:
    assert set(PLACES) == set(CommandState)
    assert PICTURE.read_text() == draw(), "python -m website.state_diagram writes it"


def test_the_reference_has_every_route_object_and_event() -> None:
    routes, document = describe_routes(), read_document()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"{method.upper()} {path}\n" in routes
    objects = re.findall(r"^## (\w+)$", describe_objects(), re.MULTILINE)
    assert objects == sorted(document["components"]["schemas"])
    assert re.findall(r"^### (\S+)$", describe_events(), re.MULTILINE) == list(EventType)


def test_a_link_to_a_file_that_only_the_repository_has_is_text() -> None:
    page = DOCS / "events.md"
    assert for_site("[a](../schemas/events.py) `b`", page) == "a `b`"
    assert (
        for_site("[a](../README.md), [b](console.md#x)", page) == "[a](index.md), [b](console.md#x)"
    )


def test_sections_between_the_marks_are_tabs() -> None:
    text = "<!-- tabs -->\n\n### One\n\n```sh\nls\n```\n\n<!-- end of tabs -->"
    assert for_site(text, DOCS / "events.md") == '=== "One"\n\n    ```sh\n    ls\n    ```\n\n'


class Quiet(SimpleHTTPRequestHandler):
    """A server of files without a log."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@contextmanager
def served(site: Path) -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.processes
def test_a_broken_link_or_anchor_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "index.md").write_text("# A\n\n[a](#nowhere)\n")

    monkeypatch.setattr("website.build.write_pages", write)
    done = build(tmp_path)
    assert done.returncode != 0
    assert "anchor does not exist" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.processes
@NEEDS_CHROMIUM
def test_the_site_asks_no_other_host_fits_a_phone_and_can_be_searched(site: Path) -> None:
    with served(site) as url, chromium() as browser, visit(browser, url) as seen:
        seen.page.set_default_timeout(SECONDS * 1_000)
        asked: list[str] = []
        seen.page.on("request", lambda request: asked.append(request.url))
        for page in sorted(site.glob("*.html")):
            seen.open(f"/{page.name}")
        find(seen, "dead letter", at_least=4)
        for name, width in product(LOOKED_AT, (DESKTOP, PHONE["width"])):
            seen.page.set_viewport_size({"width": width, "height": PHONE["height"]})
            seen.open(f"/{name}.html")
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert serious(seen) == [], (name, width)
    assert [each for each in asked if not each.startswith((url, "data:", "blob:"))] == []
    assert seen.faults == []


def find(seen: Visit, words: str, at_least: int) -> None:
    """Search, and wait for this number of results."""
    wait_until(lambda: has_opened(seen), "the search", SECONDS, every=1)
    seen.page.keyboard.type(words)
    expect(seen.page.locator("a[href*='?h=']").nth(at_least - 1)).to_be_attached()


def has_opened(seen: Visit) -> bool:
    """Whether the search has the focus; asks for it by its key, which the page may not know yet."""
    if seen.page.evaluate("document.activeElement !== document.body"):
        return True
    seen.page.keyboard.press("Control+k")
    return False


def serious(seen: Visit) -> list[str]:
    """What axe-core finds that keeps people from using a page."""
    return seen.violations("wcag2a", "wcag2aa")
