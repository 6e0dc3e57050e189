"""The sessions of the console, in a real browser."""

from playwright.sync_api import Browser, expect

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, visit
from tests.support.console import check_pages, signed_in
from tests.support.pipeline import Pipeline
from tests.support.served import Served
from worker.operations.api_keys import create_key

pytestmark = NEEDS_CHROMIUM


def test_an_operator_signs_out_someone_else_after_a_question(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    editor = create_key(pipeline.engine, name="editor", scope=Scope.PUBLISH, workspace_id=1)
    with (
        visit(browser, api.url) as lost,
        signed_in(browser, api, pipeline, workspace_id=None) as opened,
    ):
        lost.sign_in(editor)
        page = opened.page
        opened.open("/console/keys/")
        page.get_by_role("link", name="Sessions").click()
        page.get_by_role("button", name="End the session of editor").click()
        expect(page.get_by_role("dialog")).to_contain_text("End this session of “editor”?")
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("1 session was ended.")).to_be_visible()
        check_pages(opened, "/console/sessions/")
        lost.open("/console/videos/")
        expect(lost.page.get_by_label("API key")).to_be_visible()
