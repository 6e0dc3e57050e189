"""The console in a real browser: sign in, look, and use it, without a fault of its own."""

from contextlib import ExitStack

import httpx
import pytest
from playwright.sync_api import Browser, expect

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, PHONE, visit
from tests.support.console import signed_in
from tests.support.free_port import free_port
from tests.support.pipeline import Pipeline
from tests.support.served import Served, served
from tests.support.waiting import PATIENCE
from worker.events.summary import summarise
from worker.operations.api_keys import create_key
from worker.operations.console_sessions import create_sign_in_code

pytestmark = NEEDS_CHROMIUM

TITLES = (
    "<script>document.title = 'taken over'</script>",
    "javascript:alert(1)",
    "right-to-left \u202e override",
    "\U0001f30d" * 255,
)


def test_a_wrong_key_is_refused_and_the_right_one_opens_the_page_that_was_asked_for(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    key = create_key(pipeline.engine, name="editor", scope=Scope.READ, workspace_id=1)
    with visit(browser, api.url) as opened:
        opened.open("/console/?from=link")
        opened.page.get_by_label("API key").fill("pw_wrong")
        opened.page.get_by_role("button", name="Sign in").click()
        expect(opened.page.get_by_role("alert")).to_contain_text("unknown")
        opened.page.get_by_label("API key").fill(key)
        opened.page.get_by_role("button", name="Sign in").click()
        opened.page.wait_for_url("**/console/?from=link")
        assert key not in str(opened.page.context.storage_state())
        opened.page.get_by_role("button", name="Log out").click()
        opened.page.wait_for_url("**/console/sign-in")
        opened.open("/console/")
        expect(opened.page.get_by_label("API key")).to_be_visible()


def test_a_link_signs_in_once_and_its_code_is_in_no_request(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    key = create_key(pipeline.engine, name="editor", scope=Scope.READ, workspace_id=1)
    code = create_sign_in_code(pipeline.engine, key)
    addresses: list[str] = []
    with visit(browser, api.url) as opened:
        opened.page.on("request", lambda request: addresses.append(request.url))
        opened.open(f"/console/sign-in#{code}")
        opened.page.wait_for_url("**/console/")
        expect(opened.page.get_by_role("heading", name="Events")).to_be_visible()
    with visit(browser, api.url) as again:
        again.open(f"/console/sign-in#{code}")
        expect(again.page.get_by_role("alert")).to_contain_text("used already")
    assert not any(code in address.partition("#")[0] for address in addresses)


def test_a_change_without_the_sessions_token_is_refused(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        [cookie] = opened.page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")  # pyright: ignore[reportTypedDictNotRequiredAccess]
        sent = httpx.post(
            f"{api.url}/console/sign-out",
            cookies={cookie["name"]: cookie["value"]},  # pyright: ignore[reportTypedDictNotRequiredAccess]
            timeout=PATIENCE,
        )
        assert sent.status_code == 403
        opened.open("/console/")
        expect(opened.page.get_by_role("heading", name="Events")).to_be_visible()


def test_the_first_page_follows_what_happens_and_can_be_paused(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        expect(page.locator("#stream")).to_have_text("live")
        pipeline.publish(pipeline.video(title="First"))
        summarise(pipeline.engine)
        expect(page.locator("#events")).to_contain_text("First")
        expect(page.locator(".tile", has_text="published in the last minute")).to_contain_text("1")
        page.get_by_role("button", name="Pause").click()
        pipeline.publish(pipeline.video(title="Second"))
        expect(page.locator("#stream")).to_have_text("paused")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("#events")).to_contain_text("Second")


def test_the_page_goes_on_by_itself_after_the_api_was_restarted(
    browser: Browser, pipeline: Pipeline, redis_url: str
) -> None:
    port = free_port()
    with ExitStack() as stack:
        with served(pipeline.engine, redis_url, port) as api:
            opened = stack.enter_context(signed_in(browser, api, pipeline))
            expect(opened.page.locator("#stream")).to_have_text("live")
        expect(opened.page.locator("#stream")).to_have_text("reconnecting …")
        with served(pipeline.engine, redis_url, port):
            expect(opened.page.locator("#stream")).to_have_text("live")
            pipeline.publish(pipeline.video(title="After the restart"))
            expect(opened.page.locator("#events")).to_contain_text("After the restart")


def test_a_session_that_has_ended_leads_to_the_form_and_back(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        pipeline.execute("DELETE FROM publisher.console_session")
        pipeline.publish(pipeline.video())
        opened.page.wait_for_url("**/console/sign-in?after=%2Fconsole%2F")


def test_titles_of_other_people_stay_text(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    pipeline.publish(*(pipeline.video(title=title[:255]) for title in TITLES))
    with signed_in(browser, api, pipeline, viewport=PHONE) as opened:
        for title in TITLES[:3]:
            expect(opened.page.locator("#events")).to_contain_text(title)
        assert opened.page.title() == "Now · publish-worker"
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], "the page does not scroll sideways"


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_assistive_technology_can_use_each_page(
    browser: Browser, api: Served, pipeline: Pipeline, scheme: str
) -> None:
    pipeline.publish(pipeline.video(), pipeline.video(status="in_progress"))
    with visit(browser, api.url, color_scheme=scheme) as stranger:
        stranger.open("/console/sign-in")
        assert stranger.violations() == []
    with signed_in(browser, api, pipeline, color_scheme=scheme) as opened:
        for path in ("/console/",):
            opened.open(path)
            assert opened.violations() == [], path
