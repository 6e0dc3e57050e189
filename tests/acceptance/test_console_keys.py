"""API keys and the audit log at the console, in a real browser."""

import httpx
import pytest
from playwright.sync_api import Browser, expect

from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.console import check_pages, send, signed_in
from tests.support.pipeline import Pipeline
from tests.support.receiver import endpoint
from tests.support.served import Served, served
from tests.support.waiting import PATIENCE
from worker.operations.api_keys import create_key, identify, list_keys, revoke_key

pytestmark = NEEDS_CHROMIUM

ATTACK = "<script>document.title = 'taken over'</script>"


def test_a_key_is_created_and_its_secret_is_shown_once(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/keys/")
        page.get_by_role("link", name="Create a key").click()
        page.get_by_label("Name").fill(ATTACK)
        page.get_by_label("publish also").check()
        page.get_by_role("button", name="Create the key").click()
        secret = page.get_by_label("API key").input_value()
        caller = identify(pipeline.engine, secret)
        assert caller is not None
        assert (caller.scope, caller.workspace_id) == (Scope.PUBLISH, 1)
        page.get_by_role("button", name="Copy").click()
        expect(page.locator("#messages")).to_have_text("Copied.")
        page.reload()
        expect(page.locator("tbody")).to_contain_text(ATTACK)
        assert secret not in page.content()
    assert len(list_keys(pipeline.engine)) == 2, "the reload created nothing"


def test_a_key_is_revoked_after_a_question_that_names_it(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    secret = create_key(pipeline.engine, name="old importer", scope=Scope.READ, workspace_id=1)
    pipeline.execute("UPDATE publisher.api_key SET last_used_at = '2026-05-04 03:02+00'")
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/keys/")
        page.get_by_role("button", name="Revoke old importer").click()
        question = page.get_by_role("dialog")
        expect(question).to_contain_text("“old importer” of scope read, workspace 1")
        expect(question).to_contain_text("last used at 2026-05-04 03:02 UTC")
        page.get_by_role("button", name="No").click()
        assert identify(pipeline.engine, secret) is not None
        page.get_by_role("button", name="Revoke old importer").click()
        page.get_by_role("button", name="Yes").click()
        expect(page.get_by_text("The key was revoked.")).to_be_visible()
        assert identify(pipeline.engine, secret) is None
        expect(page.locator("tbody")).not_to_contain_text("old importer")
        page.get_by_role("link", name="Also revoked keys").click()
        expect(page.locator("tbody tr", has_text="old importer")).to_contain_text("revoked")


def test_a_session_is_a_use_of_its_key(
    browser: Browser, pipeline: Pipeline, redis_url: str
) -> None:
    with (
        served(pipeline.engine, redis_url) as started,  # writes down at its end what it has noted
        signed_in(browser, started, pipeline) as opened,
    ):
        opened.open("/console/keys/")
    [own] = list_keys(pipeline.engine)
    assert own.last_used_at is not None


def test_a_key_that_revokes_itself_is_signed_out(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        opened.open("/console/keys/")
        opened.page.get_by_role("button", name="Revoke operator").click()
        expect(opened.page.get_by_role("dialog")).to_contain_text("you will be signed out")
        opened.page.get_by_role("button", name="Yes").click()
        expect(opened.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_key_of_a_workspace_sees_creates_and_revokes_only_keys_of_it(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    create_key(pipeline.engine, name="of another", scope=Scope.READ, workspace_id=2)
    create_key(pipeline.engine, name="of all", scope=Scope.READ, workspace_id=None)
    others = [each.id for each in list_keys(pipeline.engine)]
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/keys/")
        expect(page.locator("tbody tr")).to_have_count(1)
        for workspace_id in ("2", ""):
            asked = {"name": "more", "scope": "admin", "workspace_id": workspace_id}
            sent = send(opened, "/console/keys/new", **asked)
            assert sent.status == 422
            assert "can create keys of workspace 1 only" in sent.text()
        for key_id in others:
            assert send(opened, f"/console/keys/{key_id}/revoke").status == 404
    assert [each.revoked_at for each in list_keys(pipeline.engine)] == [None] * 3


def test_a_key_below_admin_sees_neither_page(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline, Scope.PUBLISH) as opened:
        page = opened.page
        expect(page.get_by_role("link", name="Keys")).to_have_count(0)
        [own] = list_keys(pipeline.engine)
        for path in ("keys/", "keys/new", "audit/"):
            assert page.request.get(f"{api.url}/console/{path}").status == 403
        for path in ("keys/new", f"keys/{own.id}/revoke"):
            assert send(opened, f"/console/{path}", name="more", scope="admin").status == 403
    [own] = list_keys(pipeline.engine)
    assert own.revoked_at is None


def test_a_role_that_may_not_create_keys_is_explained(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/keys/new")
        page.get_by_label("Name").fill("importer")
        page.get_by_label("read also").check()
        take_right_to_create_keys(pipeline)
        page.get_by_role("button", name="Create the key").click()
        expect(page.get_by_role("alert")).to_contain_text("GRANT INSERT")
        assert page.get_by_label("Name").input_value() == "importer"


@pytest.mark.slow
def test_the_audit_log_is_filtered_in_the_address(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    made = endpoint(pipeline, "https://hooks.example/")
    other = create_key(pipeline.engine, name="other", scope=Scope.ADMIN, workspace_id=1)
    headers = {"Authorization": f"Bearer {other}"}
    changed = f"{api.url}/api/v1/webhook-endpoints/{made}"
    with httpx.Client(headers=headers, timeout=PATIENCE) as client:
        client.patch(changed, json={"state": "disabled"}).raise_for_status()
        assert client.post(f"{changed}/replay", json={"failed": True}).is_error
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        rows = page.locator("tbody tr")
        opened.open("/console/audit/")
        expect(rows.first).to_contain_text("session.sign_in")
        page.get_by_label("Who").select_option("other")
        page.get_by_role("button", name="Filter").click()
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("endpoint-disabled")
        expect(rows.nth(1)).to_contain_text("webhook_endpoint.update")
        expect(rows.nth(1)).to_contain_text("fields: state")
        page.get_by_label("Outcome").select_option("refused")
        page.get_by_role("button", name="Filter").click()
        expect(rows).to_have_count(1)
        page.go_back()
        expect(rows).to_have_count(2)
        page.get_by_label("From (UTC)").fill("2099-01-01T00:00:00")
        page.get_by_role("button", name="Filter").click()
        expect(page.get_by_text("No entry matches.")).to_be_visible()
        assert page.get_by_label("From (UTC)").input_value().startswith("2099-01-01T00:00")
        opened.open("/console/audit/?action=webhook_endpoint.update&action=&limit=1&since=nonsense")
        expect(page.get_by_role("alert")).to_contain_text("since is not valid")


def test_the_audit_log_has_pages_and_shows_only_entries_of_the_keys_workspace(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    for name, workspace_id in (("first", 1), ("of another", 2), ("second", 1)):
        create_key(pipeline.engine, name=name, scope=Scope.READ, workspace_id=workspace_id)
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/audit/?action=api_key.create&limit=2")
        expect(page.locator("tbody")).to_contain_text("second")
        page.get_by_role("link", name="Older").click()
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody")).to_contain_text("first")


@pytest.mark.slow
def test_assistive_technology_and_phones_can_use_each_page(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    create_key(pipeline.engine, name="long " * 50, scope=Scope.READ, workspace_id=None)
    key = list_keys(pipeline.engine)[0]
    revoke_key(pipeline.engine, key.id)
    with signed_in(browser, api, pipeline, workspace_id=None) as opened:
        pages = ("keys/?revoked=1", "keys/new", "audit/")
        check_pages(opened, *(f"/console/{path}" for path in pages))


def take_right_to_create_keys(pipeline: Pipeline) -> None:
    """Let inserting a key fail as it does for a role without the right."""
    pipeline.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
        " 'permission denied for table api_key' USING ERRCODE = 'insufficient_privilege'; END $$"
    )
    pipeline.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON publisher.api_key"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
