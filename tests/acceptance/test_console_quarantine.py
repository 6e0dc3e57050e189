"""Quarantined messages at the console: read, retry and delete them in a real browser."""

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.console import check_pages, send, signed_in
from tests.support.pipeline import Pipeline
from tests.support.served import Served
from worker.enqueue.refusals import NoSuchVideo
from worker.runtime.quarantine import quarantine

pytestmark = NEEDS_CHROMIUM

PAGE = "/console/failures/quarantine/"


def test_a_message_is_retried_once_its_video_exists(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    body: dict[str, Any] = {"args": [], "kwargs": {"commands": [{"video_id": 4711}]}}
    quarantine(pipeline.engine, body, NoSuchVideo([0], [4711]))
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        page = opened.page
        opened.open("/console/failures/")
        page.get_by_role("link", name="Quarantined messages").click()
        expect(page.locator("pre")).to_contain_text("4711")
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("alert")).to_contain_text("stays in quarantine")
        assert pipeline.value("SELECT count(*) FROM publisher.quarantined_message") == 1
        pipeline.video(id=4711)
        page.get_by_role("link", name="Try again").click()
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_text("The message was accepted")).to_be_visible()
        expect(page.get_by_text("No message is in quarantine.")).to_be_visible()
    assert pipeline.rows("SELECT video_id, trigger FROM publisher.publish_command") == [
        (4711, "queue")
    ]
    assert pipeline.rows(
        "SELECT outcome, problem, subject FROM publisher.audit_entry"
        " WHERE action = 'quarantine.retry' ORDER BY id"
    ) == [
        ("refused", "message-refused", "quarantined_message"),
        ("ok", None, "quarantined_message"),
    ]


def test_a_message_that_is_not_a_request_can_be_read_and_deleted(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    quarantine(pipeline.engine, "<script>" * 1_000, ValueError("not a Kombu message"))
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        page = opened.page
        opened.open(PAGE)
        with page.context.expect_page() as whole:
            page.get_by_role("link", name="Show all").click()
        assert len(whole.value.inner_text("body")) == 8_002
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("alert")).to_contain_text("not a message of publish.enqueue")
        page.get_by_role("link", name="Try again").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog")).to_contain_text("for good")
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("The message was deleted.")).to_be_visible()
    assert pipeline.value("SELECT count(*) FROM publisher.quarantined_message") == 0


@pytest.mark.parametrize(("scope", "workspace_id"), [(Scope.PUBLISH, None), (Scope.ADMIN, 1)])
def test_only_an_admin_key_of_every_workspace_changes_the_quarantine(
    browser: Browser, api: Served, pipeline: Pipeline, scope: Scope, workspace_id: int | None
) -> None:
    quarantine(pipeline.engine, "nonsense", ValueError("not a Kombu message"))
    with signed_in(browser, api, pipeline, scope, workspace_id) as opened:
        message = pipeline.value("SELECT id FROM publisher.quarantined_message")
        for action in ("retry", "delete"):
            assert send(opened, f"{PAGE}{message}/{action}").status == 403
        seen = opened.page.request.get(f"{api.url}{PAGE}").status
        assert seen == (403 if workspace_id else 200)
    assert pipeline.value("SELECT count(*) FROM publisher.quarantined_message") == 1


def test_assistive_technology_and_phones_can_use_the_page(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    quarantine(pipeline.engine, "x" * 3_000, ValueError("x" * 600))
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        check_pages(opened, PAGE)
