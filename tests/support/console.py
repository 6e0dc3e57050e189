"""A person at the console, signed in, in a browser that finds no fault."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import APIResponse, Browser

from schemas.values.caller import Scope
from tests.support.browser import PHONE, Visit, visit
from tests.support.pipeline import Pipeline
from tests.support.served import Served
from worker.operations.api_keys import create_key


@contextmanager
def signed_in(
    browser: Browser,
    api: Served,
    pipeline: Pipeline,
    scope: Scope = Scope.ADMIN,
    workspace_id: int | None = 1,
    **options: Any,
) -> Generator[Visit]:
    """A person who has signed in; at the end, nothing may have gone wrong in the window."""
    key = create_key(pipeline.engine, name="operator", scope=scope, workspace_id=workspace_id)
    with visit(browser, api.url, **options) as opened:
        opened.sign_in(key)
        yield opened
        assert opened.faults == []


def check_pages(opened: Visit, *paths: str) -> None:
    """Check pages in light and dark for assistive technology, and that they fit a phone."""
    opened.page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    for path in paths:
        opened.open(path)
        opened.page.emulate_media(color_scheme="light")
        assert opened.violations() == [], path
        opened.page.emulate_media(color_scheme="dark")
        assert opened.violations("color-contrast") == [], f"{path} in the dark"
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{path} scrolls sideways"


def send(opened: Visit, path: str, **fields: str) -> APIResponse:
    """Send a form of this session that no page offers, as one that has been confirmed."""
    form: dict[str, str | float | bool] = {
        "csrf": token_of(opened),
        "confirmed": "yes",
        **fields,
    }
    return opened.page.request.post(f"{opened.url}{path}", form=form)


def token_of(opened: Visit) -> str:
    """The token that a change of this session must repeat."""
    return opened.page.locator("input[name=csrf]").first.input_value()
