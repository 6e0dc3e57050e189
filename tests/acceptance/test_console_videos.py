"""The console's pages of videos and failures in a real browser: find, publish, schedule, retry."""

import re
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, expect

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, PHONE, Visit, visit
from tests.support.pipeline import Pipeline
from tests.support.served import Served
from worker.operations.api_keys import create_key

pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def editor(browser: Browser, api: Served, pipeline: Pipeline) -> Generator[Visit]:
    """A person who may publish."""
    key = create_key(pipeline.engine, name="editor", scope=Scope.PUBLISH, workspace_id=1)
    with visit(browser, api.url) as opened:
        opened.sign_in(key)
        yield opened
        assert opened.faults == []


def test_videos_are_found_by_title_and_state_and_the_address_keeps_the_filter(
    pipeline: Pipeline, editor: Visit
) -> None:
    pipeline.publish(pipeline.video(title="Attention, explained"))
    pipeline.video(title="Attention, in progress", status="in_progress")
    pipeline.video(title="Something else")
    page = editor.page
    editor.open("/console/videos/")
    page.get_by_label("Title").fill("attention")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody")).to_contain_text("would wait")
    page.get_by_label("State").select_option("published")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "state=published" in page.url
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert editor.violations() == []


def test_a_video_is_published_from_its_page_which_tells_the_story(
    pipeline: Pipeline, editor: Visit
) -> None:
    video = pipeline.video(title="Ready")
    page = editor.page
    editor.open(f"/console/videos/{video}")
    expect(page.locator("#facts")).to_contain_text("A publish now would succeed.")
    page.get_by_role("button", name="Send the command").click()
    expect(page.locator("#timeline")).to_contain_text("The publish command was accepted.")
    pipeline.run()
    expect(page.locator("#timeline")).to_contain_text("ended as published")
    expect(page.locator("#facts")).to_contain_text("published; generation completed")
    assert editor.violations() == []
    [(name, action)] = pipeline.rows(
        "SELECT k.name, a.action FROM publisher.audit_entry a"
        " JOIN publisher.api_key k ON k.id = a.key_id WHERE action = 'command.create'"
    )
    assert (name, action) == ("editor", "command.create")


def test_a_window_is_scheduled_in_a_time_zone_and_cancelled_after_a_question(
    pipeline: Pipeline, editor: Visit
) -> None:
    video = pipeline.video()
    page = editor.page
    editor.open(f"/console/videos/{video}")
    expect(page.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    page.get_by_label(re.compile("^At")).fill("2030-07-01T09:00")
    page.get_by_label(re.compile("^Public until")).fill("2030-07-08T09:00")
    page.get_by_role("button", name="Send the command").click()
    expect(page.get_by_role("button", name="Cancel publish", exact=True)).to_be_visible()
    asked = pipeline.rows(
        "SELECT action, asked_for::text FROM publisher.publish_command ORDER BY 1"
    )
    assert asked == [
        ("publish", "2030-07-01 07:00:00+00"),
        ("unpublish", "2030-07-08 07:00:00+00"),
    ]
    cancel = page.get_by_role("button", name="Cancel publish", exact=True)
    cancel.click()
    page.get_by_role("dialog").get_by_role("button", name="No").click()
    cancel.click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.locator("#timeline")).to_contain_text("The publish command ended as cancelled.")


def test_a_local_time_that_the_clocks_skip_is_refused_in_words(
    pipeline: Pipeline, editor: Visit
) -> None:
    editor.open(f"/console/videos/{pipeline.video()}")
    editor.page.get_by_label(re.compile("^At")).fill("2030-03-31T02:30")
    editor.page.get_by_role("button", name="Send the command").click()
    expect(editor.page.get_by_role("alert")).to_contain_text("Nothing was done.")


def test_a_key_that_may_only_read_sees_no_buttons_and_is_refused(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    video = pipeline.video()
    key = create_key(pipeline.engine, name="reader", scope=Scope.READ, workspace_id=1)
    with visit(browser, api.url, viewport=PHONE) as reader:
        reader.sign_in(key)
        reader.open(f"/console/videos/{video}")
        expect(reader.page.get_by_role("heading", name="What happened")).to_be_visible()
        expect(reader.page.get_by_role("button", name="Send the command")).to_have_count(0)
        token = reader.page.locator("input[name=csrf]").first.input_value()
        answer = reader.page.request.post(
            f"{api.url}/console/videos/{video}/commands", form={"csrf": token}
        )
        assert answer.status == 403
        reader.open(f"/console/videos/{pipeline.video(workspace_id=2)}")
        expect(reader.page.get_by_role("alert")).to_contain_text("There is no video")
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 0


def test_failed_commands_are_grouped_and_all_that_match_are_retried(
    pipeline: Pipeline, editor: Visit
) -> None:
    failed = pipeline.publish(*(pipeline.video() for _ in range(3)))
    pipeline.execute(
        "UPDATE publisher.publish_command SET state = 'failed', reason = 'error', detail ="
        " CASE WHEN id = %s THEN 'DiskFull: no space' ELSE 'UniqueViolation: key ' || video_id END",
        failed[0].id,
    )
    page = editor.page
    editor.open("/console/failures/")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("2")
    page.get_by_role("link", name=re.compile("^UniqueViolation")).click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert editor.violations() == []
    page.get_by_role("button", name="Retry all 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_text("2 commands were given new attempts.")).to_be_visible()
    assert sorted(pipeline.states(*failed)) == ["failed", "scheduled", "scheduled"]
