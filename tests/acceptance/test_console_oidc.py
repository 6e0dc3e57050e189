"""Sign in with an identity provider, in a real browser, at a real provider on another site."""

from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, expect

from schemas.audit import ActorKind, AuditAction, AuditFilter
from schemas.values.access import AccessRule
from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, PHONE, Visit, visit
from tests.support.console import check_pages
from tests.support.free_port import free_port
from tests.support.identity_provider import ADA, honest_provider, settings_for
from tests.support.pipeline import Pipeline
from tests.support.served import Served, served
from worker.operations.audit import list_page

pytestmark = NEEDS_CHROMIUM

GRACE = {"sub": "u-2", "name": "Grace", "email": "grace@example.com", "groups": ["guests"]}
RULES = (AccessRule(group="editors", scope=Scope.ADMIN, workspace_id=1),)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with honest_provider(tmp_path_factory.mktemp("provider"), ADA, GRACE) as started:
        yield started


@pytest.fixture
def api(pipeline: Pipeline, redis_url: str, issuer: str) -> Generator[Served]:
    """The API at 127.0.0.1, and its provider at localhost: for a browser, two sites."""
    port = free_port()
    settings = settings_for(issuer, RULES) | {"public_base_url": f"http://127.0.0.1:{port}"}
    with served(pipeline.engine, redis_url, port, **settings) as started:
        yield started


def sign_in(opened: Visit, subject: str) -> None:
    """Sign in as a person does: by the link, and a click at the provider."""
    opened.page.get_by_role("link", name="Sign in with localhost").click()
    opened.page.get_by_role("button", name=subject, exact=True).click()


def test_a_person_signs_in_changes_something_and_logs_out(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    video = pipeline.video(title="Mine")
    with visit(browser, api.url) as opened:
        page = opened.page
        opened.open(f"/console/videos/{video}?from=link")
        sign_in(opened, "u-1")
        page.wait_for_url(f"**/console/videos/{video}?from=link")
        expect(page.locator(".who")).to_contain_text("Ada Lovelace <ada@example.com>, workspace 1")
        page.reload()
        expect(page.get_by_role("heading", name="Mine")).to_be_visible()
        page.get_by_role("button", name="Send the command").click()
        expect(page.locator(".timeline")).to_contain_text("The publish command was accepted.")
        opened.open("/console/audit/?who=person")
        expect(page.locator("table")).to_contain_text("command.create")
        page.get_by_role("link", name="Ada Lovelace").first.click()
        expect(page.locator("table")).to_contain_text("session.sign_in")
        check_pages(opened, "/console/", "/console/audit/?who=person")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("link", name="Log out there too")).to_be_visible()
        opened.open("/console/")
        expect(page.get_by_role("link", name="Sign in with localhost")).to_be_visible()
        assert opened.faults == []
    [entry] = list_page(pipeline.engine, AuditFilter(action=AuditAction.COMMAND_CREATE), None).items
    assert (entry.actor, entry.actor_name) == (ActorKind.PERSON, "Ada Lovelace <ada@example.com>")


def test_a_person_without_access_is_told_so_and_may_try_another_way(
    browser: Browser, api: Served
) -> None:
    with visit(browser, api.url, viewport=PHONE) as opened:
        opened.open("/console/")
        assert opened.violations() == []
        sign_in(opened, "u-2")
        expect(opened.page.get_by_role("alert")).to_contain_text("none of your groups")
        assert opened.violations() == []
        assert opened.faults == []
        opened.open("/console/")
        expect(opened.page.get_by_label("API key")).to_be_visible()
