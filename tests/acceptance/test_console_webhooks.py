"""Webhooks at the console: each action in a real browser, with a real receiver."""

from collections.abc import Generator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.console import check_pages, send, signed_in
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.receiver import Receiver, endpoint, receiver, says
from tests.support.served import Served, served
from tests.support.waiting import PATIENCE
from worker.operations.api_keys import create_key
from worker.webhooks.courier import Courier, CourierOptions
from worker.webhooks.fan_out import fan_out
from worker.webhooks.retry_policy import PAUSES

pytestmark = NEEDS_CHROMIUM

ATTACK = "<script>document.title = 'taken over'</script>"
EACH_ACTION = ("edit", "state", "delete", "rotate", "test", "replay")


@pytest.fixture
def there() -> Generator[Receiver]:
    with receiver() as started:
        yield started


@pytest.fixture
def api(pipeline: Pipeline, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Served]:
    monkeypatch.setenv("WEBHOOKS_ALLOW_PRIVATE", "true")
    with served(pipeline.engine, redis_url) as started:
        yield started


def test_an_endpoint_is_added_and_its_secret_is_shown_once(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/webhooks/")
        page.get_by_role("link", name="Add an endpoint").click()
        page.get_by_label("URL").fill("ftp://files.example/")
        page.get_by_label("Description").fill("search index")
        page.get_by_label("video.published").check()
        page.get_by_role("button", name="Add the endpoint").click()
        expect(page.get_by_role("alert")).to_contain_text("url")
        assert page.get_by_label("Description").input_value() == "search index"
        page.get_by_label("URL").fill(there.url("/index"))
        page.get_by_role("button", name="Add the endpoint").click()
        secret = page.get_by_label("Secret").input_value()
        assert secret.startswith("whsec_")
        page.get_by_role("button", name="Copy").click()
        expect(page.locator("#messages")).to_have_text("Copied.")
        page.reload()
        expect(page.locator("#endpoint")).to_contain_text("video.published")
        assert secret not in page.content()
        assert pipeline.rows("SELECT secret FROM publisher.webhook_endpoint") == [(secret,)]


@pytest.mark.slow
def test_an_endpoint_is_edited_disabled_enabled_and_deleted(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    made = endpoint(pipeline, there.url("/old"))
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open(f"/console/webhooks/{made}")
        page.get_by_role("link", name="Edit").click()
        page.get_by_label("URL").fill(there.url("/new"))
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("/new")
        page.get_by_role("button", name="Disable").click()
        expect(page.get_by_role("dialog")).to_contain_text("are cancelled")
        page.get_by_role("button", name="Yes").click()
        expect(page.locator("#endpoint")).to_contain_text("disabled on request")
        page.get_by_role("button", name="Enable").click()
        expect(page.get_by_text("The endpoint is enabled.")).to_be_visible()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="No").click()
        assert pipeline.rows("SELECT count(*) FROM publisher.webhook_endpoint") == [(1,)]
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("The endpoint was deleted.")).to_be_visible()
    assert pipeline.rows("SELECT count(*) FROM publisher.webhook_endpoint") == [(0,)]
    assert pipeline.rows(
        "SELECT action, door, details ->> 'fields' FROM publisher.audit_entry"
        " WHERE subject = 'webhook_endpoint' ORDER BY id"
    ) == [
        ("webhook_endpoint.update", "console", '["url"]'),
        ("webhook_endpoint.update", "console", '["state"]'),
        ("webhook_endpoint.update", "console", '["state"]'),
        ("webhook_endpoint.delete", "console", None),
    ]


def test_a_test_event_shows_what_the_receiver_answered(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    there.answers["/"] = says(500, ATTACK.encode())
    made = endpoint(pipeline, there.url())
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open(f"/console/webhooks/{made}")
        page.get_by_role("button", name="Send a test event").click()
        expect(page.locator("#test")).to_contain_text("answered with status 500")
        expect(page.locator("#test pre")).to_have_text(ATTACK)
        assert [each.event["type"] for each in there.received] == ["webhook.test"]
        del there.answers["/"]
        page.get_by_role("button", name="Send a test event").click()
        expect(page.locator("#test")).to_contain_text("Delivered")
        assert page.url.endswith(str(made)), "a reload sends nothing"


@pytest.mark.slow
def test_the_quota_of_tests_holds_at_the_console_and_the_api_together(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    made = endpoint(pipeline, there.url())
    key = create_key(pipeline.engine, name="client", scope=Scope.ADMIN, workspace_id=1)
    for _ in range(20):
        url = f"{api.url}/api/v1/webhook-endpoints/{made}/test"
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.post(url, headers=headers, timeout=PATIENCE).status_code == 200
    with signed_in(browser, api, pipeline) as opened:
        opened.open(f"/console/webhooks/{made}")
        opened.page.get_by_role("button", name="Send a test event").click()
        expect(opened.page.get_by_role("alert")).to_contain_text("within a minute")
    assert len(there.received) == 20


def test_a_rotated_secret_is_shown_once_and_signs_with_the_previous_one(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    made = endpoint(pipeline, there.url())
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open(f"/console/webhooks/{made}")
        page.get_by_role("button", name="Rotate the secret").click()
        page.get_by_role("button", name="Yes").click()
        secret = page.get_by_label("Secret").input_value()
        assert pipeline.rows("SELECT secret FROM publisher.webhook_endpoint") == [(secret,)]
        page.get_by_role("link", name="To the endpoint").click()
        expect(page.locator("#endpoint")).to_contain_text("signs too until")
        page.get_by_role("button", name="Send a test event").click()
        expect(page.locator("#test")).to_contain_text("Delivered")
    assert len(there.received[0].headers["webhook-signature"].split()) == 2


@pytest.mark.slow
def test_deliveries_are_filtered_in_the_address_shown_with_attempts_and_replayed(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    there.answers["/"] = says(503, ATTACK.encode())
    made = endpoint(pipeline, there.url())
    fail_deliveries(pipeline, there, 3)
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/webhooks/")
        expect(page.locator("#endpoints")).to_contain_text("failing since")
        page.get_by_role("link", name=there.url()).click()
        page.get_by_role("combobox", name="State").select_option("failed")
        page.get_by_role("button", name="Filter").click()
        page.wait_for_url(f"**{made}?state=failed")
        expect(page.locator("#deliveries tbody tr")).to_have_count(3)
        opened.open(f"/console/webhooks/{made}?state=failed&limit=2")
        page.get_by_role("link", name="Older").click()
        expect(page.locator("#deliveries tbody tr")).to_have_count(1)
        page.locator("#deliveries tbody a").first.click()
        expect(page.locator(".timeline li")).to_contain_text("Status 503")
        expect(page.locator(".timeline pre")).to_have_text(ATTACK)
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_text("The event will be sent again")).to_be_visible()
        opened.open(f"/console/webhooks/{made}")
        page.get_by_role("button", name="Replay failed deliveries (2)").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("2 deliveries will be sent again.")).to_be_visible()
        page.get_by_label("From position").fill("1")
        page.get_by_role("button", name="Replay all events from there").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("3 deliveries will be sent again.")).to_be_visible()
        expect(page.locator("#endpoint")).to_contain_text("3 deliveries, the oldest for")


def test_a_read_key_looks_and_changes_nothing(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    made = endpoint(pipeline, there.url())
    with signed_in(browser, api, pipeline, Scope.READ) as opened:
        page = opened.page
        opened.open("/console/webhooks/")
        expect(page.get_by_role("link", name="Add an endpoint")).to_have_count(0)
        opened.open(f"/console/webhooks/{made}")
        expect(page.locator("main").get_by_role("button")).to_have_text(["Filter"])
        for action in ("new", *(f"{made}/{each}" for each in EACH_ACTION)):
            assert send(opened, f"/console/webhooks/{action}").status == 403, action
    assert there.received == []


def test_an_endpoint_of_another_workspace_does_not_exist(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    made = endpoint(pipeline, there.url(), workspace_id=2)
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/webhooks/")
        expect(page.locator("#endpoints")).to_contain_text("No endpoint")
        shown = f"/console/webhooks/{made}"
        assert page.request.get(f"{api.url}{shown}").status == 404
        for action in EACH_ACTION:
            sent = send(opened, f"{shown}/{action}", state="disabled", failed="on")
            assert sent.status == 404, action
    assert pipeline.rows("SELECT state FROM publisher.webhook_endpoint") == [("enabled",)]


@pytest.mark.slow
def test_assistive_technology_and_phones_can_use_each_page(
    browser: Browser, api: Served, pipeline: Pipeline, there: Receiver
) -> None:
    there.answers["/"] = says(503, b"x" * 600)
    made = endpoint(pipeline, there.url(), description="long " * 50)
    fail_deliveries(pipeline, there, 1)
    delivery = pipeline.value("SELECT id FROM publisher.webhook_delivery")
    paths = ("", "new", f"{made}", f"{made}/edit", f"{made}/deliveries/{delivery}")
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        check_pages(opened, *(f"/console/webhooks/{path}" for path in paths))


def fail_deliveries(pipeline: Pipeline, there: Receiver, count: int) -> None:
    """Publish `count` videos, and send each event once, as the last attempt."""
    pipeline.publish(*(pipeline.video() for _ in range(count)))
    fan_out(pipeline.engine)
    pipeline.execute("UPDATE publisher.webhook_delivery SET attempts = %s", len(PAUSES))
    courier = Courier(pipeline.engine, CourierOptions(base_url=BASE_URL, allow_private=True))
    try:
        courier.send_due()
    finally:
        courier.close()
    assert len(there.received) == count
