"""Dead letters of subscribers at the console: read, redrive and delete them in a real browser."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from redis import Redis

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.console import check_pages, send, signed_in
from tests.support.failing_consumer import failing_consumer
from tests.support.pipeline import Pipeline
from tests.support.receiver import endpoint
from tests.support.served import Served, served
from tests.support.subscribing import document, publish_videos
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.operations import dead_letters
from worker.webhooks.fan_out import fan_out

pytestmark = NEEDS_CHROMIUM

PAGE = "/console/failures/dead-letters/"
DEAD = "video.events:dead:"


def test_an_event_whose_handler_failed_is_redriven_and_delivered_once(
    browser: Browser, api: Served, pipeline: Pipeline, redis_url: str
) -> None:
    [video, _] = publish_videos(pipeline, 2)
    with failing_consumer(redis_url, "search") as consumer:
        wait_until(lambda: pipeline.redis.xlen(f"{DEAD}search") == 2, "two dead letters")
        with signed_in(browser, api, pipeline, workspace_id=None) as opened:
            page = opened.page
            opened.open("/console/failures/")
            expect(page.locator("#dead-letters tbody tr")).to_have_text(re.compile(r"search\s*2"))
            page.get_by_role("link", name="search").click()
            expect(page.get_by_role("heading", level=2)).to_have_text(
                [re.compile("Event 2"), re.compile("Event 1")]
            )
            expect(page.locator("section").last).to_contain_text(f"video {video}")
            expect(page.locator("section").last).to_contain_text("<b>does not</b> answer")
            consumer.is_broken = False
            page.get_by_role("button", name="Redrive event 1").click()
            expect(page.get_by_text("1 event will be delivered")).to_be_visible()
            wait_until(lambda: consumer.handled == [1], "the event to be delivered again")
            expect(page.get_by_role("heading", level=2)).to_have_text(re.compile("Event 2"))
        publish_videos(pipeline, 1)
        wait_until(lambda: consumer.handled == [1, 3], "the next event, and no second 1")
    assert pipeline.redis.xlen("video.events:again:search") == 0
    assert pipeline.rows(
        "SELECT door, outcome, subject_id, details FROM publisher.audit_entry"
        " WHERE action = 'dead_letter.retry'"
    ) == [("console", "ok", "search", {"position": 1, "events": 1})]


def test_all_are_redriven_but_not_what_arrives_after_the_question(
    browser: Browser, api: Served, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "STEP", 200)  # three steps, which the page asks for
    add_letters(pipeline.redis, *range(1, 451))
    foreign: Any = {"entry": "7-7", "event": "foreign", "error": "not ours"}
    pipeline.redis.xadd(f"{DEAD}search", foreign, id="450-2")
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        page = opened.page
        opened.open(f"{PAGE}?group=search")
        page.get_by_role("button", name="Redrive all 451").click()
        expect(page.get_by_role("dialog")).to_contain_text("all 451 dead letters of search")
        add_letters(pipeline.redis, 451)
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("450 events will be delivered")).to_be_visible()
        expect(page.get_by_role("heading", level=2)).to_have_text(
            [re.compile("Event 451"), re.compile("Entry")]
        )
        expect(page.get_by_text("it cannot be redriven")).to_be_visible()
        expect(page.get_by_role("button", name="Redrive entry")).to_have_count(0)
    assert pipeline.redis.xlen("video.events:again:search") == 450


def test_an_entry_of_another_program_is_read_and_deleted(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    name = "a/b?c & <d>"
    content: Any = {
        "event": b"<script>" * 1_000 + b"\xff",
        "error": "not ours",
        "failed_at": "soon",
    }
    pipeline.redis.xadd(f"{DEAD}{name}", content, id="7-7")
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        page = opened.page
        opened.open("/console/failures/")
        page.get_by_role("link", name=name).click()
        with page.context.expect_page() as whole:
            page.get_by_role("link", name="Show all").click()
        whole.value.wait_for_load_state()
        assert len(whole.value.inner_text("body")) == 8_004
        assert send(opened, f"{PAGE}7-7/redrive", group=name).status == 409
        page.get_by_role("button", name="Delete entry 7-7").click()
        expect(page.get_by_role("dialog")).to_contain_text("for good")
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("The dead letter was deleted.")).to_be_visible()
        assert send(opened, f"{PAGE}7-7/delete", group=name, confirmed="yes").status == 404
    assert not pipeline.redis.exists(f"{DEAD}{name}") or not pipeline.redis.xlen(f"{DEAD}{name}")
    assert pipeline.rows(
        "SELECT action, outcome, problem FROM publisher.audit_entry"
        " WHERE action LIKE 'dead_letter%%' ORDER BY id"
    ) == [
        ("dead_letter.retry", "refused", "letter-foreign"),
        ("dead_letter.delete", "ok", None),
        ("dead_letter.delete", "refused", "no-such-letter"),
    ]


@pytest.mark.parametrize(("scope", "workspace_id"), [(Scope.PUBLISH, None), (Scope.ADMIN, 1)])
def test_only_an_admin_key_of_every_workspace_changes_dead_letters(
    browser: Browser, api: Served, pipeline: Pipeline, scope: Scope, workspace_id: int | None
) -> None:
    add_letters(pipeline.redis, 1)
    with signed_in(browser, api, pipeline, scope, workspace_id) as opened:
        for action in ("redrive", "1-1/redrive", "1-1/delete"):
            assert send(opened, f"{PAGE}{action}", group="search").status == 403, action
        seen = opened.page.request.get(f"{api.url}{PAGE}?group=search").status
        assert seen == (403 if workspace_id else 200)
        opened.open("/console/failures/")
        note = opened.page.get_by_text("only a key of every workspace sees them")
        expect(note).to_have_count(1 if workspace_id else 0)
    assert pipeline.redis.xlen(f"{DEAD}search") == 1


def test_without_redis_the_page_says_so_and_shows_the_rest(
    browser: Browser, pipeline: Pipeline, valkey: Valkey
) -> None:
    there = endpoint(pipeline, "https://hooks.example.com/<b>")
    pipeline.publish(pipeline.video())
    fan_out(pipeline.engine)
    pipeline.execute("UPDATE publisher.webhook_delivery SET state = 'failed', finished_at = now()")
    with (
        served(pipeline.engine, valkey.url) as api,
        signed_in(browser, api, pipeline, workspace_id=None) as opened,
    ):
        valkey.kill()
        page = opened.page
        opened.open("/console/failures/")
        expect(page.locator("#dead-letters")).to_contain_text("correct host and port in REDIS_URL")
        expect(page.locator("#failures")).to_contain_text("No command has failed")
        page.locator("#failed-deliveries").get_by_role("link").click()
        page.wait_for_url(f"**/console/webhooks/{there}?state=failed")
        expect(page.locator("#deliveries tbody tr")).to_have_count(1)
        opened.open(f"{PAGE}?group=search")
        expect(page.get_by_role("alert")).to_contain_text("Redis cannot be used")


@pytest.mark.slow
def test_assistive_technology_and_phones_can_use_the_pages(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    add_letters(pipeline.redis, 1)
    pipeline.redis.xadd(f"{DEAD}search", {"entry": "7-7", "event": "x" * 3_000, "error": "x" * 600})
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        check_pages(opened, "/console/failures/", f"{PAGE}?group=search")


def add_letters(redis: Redis, *positions: int) -> None:
    """Dead letters of the group `search`, as a subscriber writes them."""
    with redis.pipeline() as pipe:
        for position in positions:
            fields: Any = {"position": position, "event": document(position, "7"), "error": "no"}
            pipe.xadd(f"{DEAD}search", fields, id=f"{position}-1")
        pipe.execute()
