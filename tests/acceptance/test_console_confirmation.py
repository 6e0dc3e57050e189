"""Changes that cannot be undone are asked about first, also in a browser without scripts."""

from uuid import uuid4

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from playwright.sync_api import Browser, expect

from schemas.command import PublishRequest
from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, PHONE
from tests.support.console import send, signed_in
from tests.support.pipeline import Pipeline
from tests.support.receiver import endpoint
from tests.support.served import Served
from worker.api.application import create_app
from worker.api.console.confirmation import require_confirmation
from worker.operations.api_keys import create_key
from worker.runtime.quarantine import quarantine

pytestmark = NEEDS_CHROMIUM

NOT_ASKED = {
    "sign-in",
    "sign-in/oidc/back-channel-logout",
    "sign-out",
    "calendar/commands/{command_id}/reschedule",
    "calendar/feeds",
    "calendar/new",
    "commands/{command_id}/retry",
    "videos/{video_id}/commands",
    "failures/quarantine/{message_id}/retry",
    "failures/dead-letters/{letter_id}/redrive",
    "keys/new",
    "webhooks/new",
    "webhooks/{endpoint_id}/edit",
    "webhooks/{endpoint_id}/test",
    "webhooks/{endpoint_id}/deliveries/{delivery_id}/replay",
}
"""Changes that create something, can be taken back, concern one thing only, or are a provider's."""


def test_every_change_of_the_console_asks_first_or_is_known_to_need_no_question() -> None:
    """So that a new route cannot be forgotten."""
    found = {
        route.path.removeprefix("/console/").rstrip("/")
        for context in iter_route_contexts(create_app().routes)
        for route in [context.original_route]
        if isinstance(route, APIRoute)
        and route.path.startswith("/console/")
        and "POST" in (route.methods or ())
        and not asks(route.dependant)
    }
    assert found == NOT_ASKED


def asks(dependant: Dependant) -> bool:
    return any(each.call is require_confirmation for each in dependant.dependencies)


def test_without_scripts_a_page_asks_and_names_what_will_be_done(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    made = endpoint(pipeline, "https://hooks.example.com/<b>")
    with signed_in(browser, api, pipeline, java_script_enabled=False) as opened:
        page = opened.page
        opened.open(f"/console/webhooks/{made}")
        page.get_by_role("button", name="Delete").click()
        expect(
            page.get_by_text("Delete https://hooks.example.com/<b> of workspace 1?")
        ).to_be_visible()
        assert pipeline.value("SELECT count(*) FROM publisher.webhook_endpoint") == 1
        page.get_by_role("link", name="No", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("hooks.example.com")
        page.get_by_role("button", name="Disable").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("The endpoint is disabled.")).to_be_visible()
        page.get_by_role("button", name="Enable").click()
        expect(page.get_by_text("The endpoint is enabled.")).to_be_visible()
        page.get_by_label("From position").fill("7")
        page.get_by_role("button", name="Replay all events").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("0 deliveries will be sent again.")).to_be_visible()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("The endpoint was deleted.")).to_be_visible()
    assert pipeline.value("SELECT count(*) FROM publisher.webhook_endpoint") == 0
    assert pipeline.rows(
        "SELECT outcome, count(*) FROM publisher.audit_entry"
        " WHERE subject = 'webhook_endpoint' GROUP BY outcome"
    ) == [("ok", 4)]


@pytest.mark.slow
def test_without_scripts_keys_commands_and_messages_are_asked_about(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    create_key(pipeline.engine, name="old", scope=Scope.READ, workspace_id=1)
    quarantine(pipeline.engine, "nonsense", ValueError("not a message"))
    video = pipeline.video()
    pipeline.accept(PublishRequest(video_id=video, publish_at="2100-01-01T00:00:00Z"))  # pyright: ignore[reportArgumentType]
    with signed_in(browser, api, pipeline, workspace_id=None, java_script_enabled=False) as opened:
        page = opened.page
        for path, button, question in (
            ("keys/", "Revoke old", "Revoke the key “old” of scope read"),
            ("failures/quarantine/", "Delete", "for good?"),
            (f"videos/{video}", "Cancel publish", "Cancel the publish command"),
        ):
            opened.open(f"/console/{path}")
            page.get_by_role("button", name=button).click()
            expect(page.locator("#question")).to_contain_text(question)
            page.get_by_role("button", name="Yes").click()
            expect(page.locator("#confirmation")).to_have_count(0)
    assert pipeline.rows("SELECT action FROM publisher.audit_entry ORDER BY id DESC LIMIT 3") == [
        ("command.cancel",),
        ("quarantine.delete",),
        ("api_key.revoke",),
    ]


def test_a_key_that_may_not_do_it_is_not_asked_and_a_question_stays_text(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    path = f"/console/webhooks/{uuid4()}/delete"
    with signed_in(browser, api, pipeline, Scope.READ) as opened:
        assert send(opened, path, confirmed="").status == 403
    with signed_in(browser, api, pipeline) as opened:
        fields = {"confirmed": "", "question": "<script>x</script>?", '"><b>': '"><i>'}
        asked = send(opened, path, **fields, back="https://elsewhere.example/")
        assert asked.status == 422
        assert "&lt;script&gt;x" in asked.text()
        assert "<b>" not in asked.text()
        assert "elsewhere.example" not in asked.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_assistive_technology_and_phones_can_use_the_question(
    browser: Browser, api: Served, pipeline: Pipeline, scheme: str
) -> None:
    made = endpoint(pipeline, f"https://hooks.example.com/{'x' * 300}")
    with signed_in(browser, api, pipeline, viewport=PHONE, color_scheme=scheme) as opened:
        page = opened.page
        opened.open(f"/console/webhooks/{made}")
        page.evaluate("document.querySelector('form[action$=delete]').submit()")
        expect(page.locator("#confirmation")).to_be_visible()
        assert opened.violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
