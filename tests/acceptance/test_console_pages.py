"""Pages of the console in a real browser, as people misuse them: twice, again, with long words."""

from contextlib import ExitStack

from playwright.sync_api import Browser, Route, expect

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, PHONE, visit
from tests.support.console import signed_in
from tests.support.free_port import free_port
from tests.support.pipeline import Pipeline
from tests.support.served import Served, served
from tests.support.waiting import wait_until
from worker.operations.api_keys import create_key

pytestmark = NEEDS_CHROMIUM

SEND_TWICE = """
() => {
  const form = document.querySelector("form[action$='/commands']");
  form.requestSubmit();
  setTimeout(() => { form.requestSubmit(); console.log("sent twice"); }, 200);
}
"""
COMMANDS = "SELECT count(*) FROM publisher.publish_command"


def test_a_form_that_is_sent_twice_makes_its_change_once(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    video = pipeline.video()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    with signed_in(browser, api, pipeline) as opened:
        opened.open(f"/console/videos/{video}")
        opened.page.route("**/commands", hold)
        with opened.page.expect_console_message(lambda message: message.text == "sent twice"):
            opened.page.evaluate(SEND_TWICE)
        wait_until(lambda: opened.page.title() and held, "the form to be sent")
        assert len(held) == 1
        held[0].continue_()
        expect(opened.page.locator("#timeline")).to_contain_text("command was accepted")
        assert pipeline.value(COMMANDS) == 1


def test_a_page_that_was_not_connected_shows_what_has_happened_meanwhile(
    browser: Browser, pipeline: Pipeline, redis_url: str
) -> None:
    video, port = pipeline.video(title="Meanwhile"), free_port()
    with ExitStack() as stack:
        with served(pipeline.engine, redis_url, port) as api:
            opened = stack.enter_context(signed_in(browser, api, pipeline))
            opened.open("/console/videos/")
            expect(opened.page.locator("tbody")).to_contain_text("draft")
        pipeline.publish(video)
        with served(pipeline.engine, redis_url, port):
            expect(opened.page.locator("tbody")).to_contain_text("published")


def test_to_load_the_page_of_a_new_feed_again_creates_no_other_one(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        opened.open("/console/calendar/feeds")
        opened.page.get_by_role("button", name="Create a feed").click()
        expect(opened.page.locator("#address")).to_be_visible()
        opened.page.reload()
        expect(opened.page.locator("#address")).to_have_count(0)
        assert pipeline.value("SELECT count(*) FROM publisher.calendar_feed") == 1


def test_long_words_fit_a_phone(browser: Browser, api: Served, pipeline: Pipeline) -> None:
    video = pipeline.video(title="W" * 255)
    key = create_key(pipeline.engine, name="k" * 255, scope=Scope.READ, workspace_id=1)
    with visit(browser, api.url, viewport=PHONE) as opened:
        opened.sign_in(key)
        for path in ("/console/", "/console/videos/", f"/console/videos/{video}"):
            opened.open(path)
            width = opened.page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], path
