"""A person at `/docs`, without the internet: reads, enters a key, sends a request."""

import pytest
from playwright.sync_api import Browser, Request, Route

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, PHONE, visit
from tests.support.pipeline import Pipeline
from tests.support.served import Served
from worker.operations.api_keys import create_key

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_request_is_sent_with_the_key_and_no_other_host_is_asked(
    browser: Browser, api: Served, pipeline: Pipeline, colours: str
) -> None:
    key = create_key(pipeline.engine, name="reader", scope=Scope.READ, workspace_id=1)
    video, asked = pipeline.video(), list[str]()

    def note(request: Request) -> None:
        asked.append(request.url)

    def refuse(route: Route) -> None:
        route.abort()

    with visit(browser, api.url, color_scheme=colours, viewport=PHONE) as opened:
        opened.page.on("request", note)
        opened.page.route(lambda url: not url.startswith(api.url), refuse)
        opened.page.set_default_timeout(180_000)
        opened.open("/docs")
        opened.page.get_by_role("button", name="Authorize").first.click()
        opened.page.locator(".auth-container input").fill(key)
        opened.page.locator(".auth-container button[type=submit]").click()
        opened.page.get_by_role("button", name="Close").first.click()
        plan = opened.page.locator(".opblock-get").first
        plan.locator(".opblock-summary-control").click()
        plan.get_by_role("button", name="Try it out").click()
        plan.get_by_placeholder("video_id").fill(str(video))
        plan.get_by_role("button", name="Execute").click()
        answer = plan.locator(".live-responses-table")
        answer.get_by_text('"published"').first.wait_for()
        assert "200" in answer.inner_text()
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"]
        is_dark = opened.page.evaluate("document.documentElement.classList.contains('dark-mode')")
        assert is_dark == (colours == "dark")
        assert opened.faults == []
    ours = (f"{api.url}/", "data:")
    assert [url for url in asked if not url.startswith(ours)] == []
