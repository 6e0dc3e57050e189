"""The console's pages over HTTP: addresses, sign-in, and what a page tells to whom."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import Engine

from db.session import connect
from schemas.values.caller import Scope
from tests.support.api import Api, serving
from tests.support.console_client import Console
from tests.support.pipeline import Pipeline
from tests.support.served import Served, served
from tests.support.statements import counted
from tests.support.waiting import PATIENCE, wait_until
from worker.api.console.recent import Recents
from worker.api.streaming import tail
from worker.operations.api_keys import create_key
from worker.operations.checks import Check
from worker.operations.health import Health

REFUSED = Check(
    name="database",
    ok=False,
    detail="The role app may not read the table video.",
    remedy="GRANT SELECT ON video TO app;",
    public="Permissions are missing.",
)
FAIL = """
UPDATE publisher.publish_command
SET state = 'failed', detail = %s, finished_at = now(), attempts = 5
"""
NO_ID = "01a228ca-2c65-77b1-b4c4-6299dd5ee223"
EXPIRE = "UPDATE publisher.console_session SET expires_at = now()"


@pytest.fixture
def server(platform: Engine, redis_url: str) -> Generator[Served]:
    """The API on a socket: for streams."""
    with served(platform, redis_url) as started:
        yield started


LETTERS = "/console/failures/dead-letters/"


@contextmanager
def showing(api: Api, *checks: Check) -> Generator[None]:
    """Let the pages show these checks while the block runs."""
    assert api.client
    app: Any = api.client.app
    before, app.state.recents = app.state.recents, Recents()
    app.state.recents.find("health", lambda: Health(checks=list(checks), processes=None), 60).look()
    try:
        yield
    finally:
        app.state.recents.close()
        app.state.recents = before


def send(api: Api, path: str, headers: dict[str, str] | None = None, **form: str) -> Any:
    """Send a form without following its answer."""
    assert api.client
    return api.client.post(path, data=form, headers=headers, follow_redirects=False)


def test_names_of_hosts_and_roles_are_shown_to_keys_of_every_workspace_only(api: Api) -> None:
    with showing(api, REFUSED):
        page = Console.sign_in(api, "everywhere").get("/console/").text
        assert page.count("The role app may not read the table video.") == 2
        page = Console.sign_in(api, "read").get("/console/").text
    assert page.count("Permissions are missing.") == 2
    assert "role app" not in page
    assert "GRANT" not in page


def test_the_other_form_of_an_address_leads_to_the_page_and_keeps_its_filters(api: Api) -> None:
    console = Console.sign_in(api)
    for path, declared in {
        "/console": "/console/",
        "/console/keys?revoked=1": "/console/keys/?revoked=1",
        "/console/videos/7/": "/console/videos/7",
    }.items():
        answer = console.get(path)
        assert (answer.status_code, answer.headers["location"]) == (308, declared)


def test_a_form_of_an_ended_session_leads_back_to_the_page_that_has_it(api: Api) -> None:
    page = f"https://testserver/console/videos/{api.video()}"
    answer = send(api, f"{page}/commands", {"Referer": page}, action="publish")
    assert answer.headers["location"].endswith(f"?after=%2Fconsole%2Fvideos%2F{page[-1]}")


def test_a_form_of_another_site_does_not_sign_in_even_without_fetch_metadata(api: Api) -> None:
    key = api.secret("read")
    for origin, status in {
        "https://elsewhere.example": 403,
        "null": 403,
        "http://testserver": 303,
    }.items():
        sent = send(api, "http://testserver/console/sign-in", {"Origin": origin}, key=key)
        assert sent.status_code == status, origin


def test_a_number_with_thousands_of_digits_is_refused_as_the_field_that_it_is(api: Api) -> None:
    console = Console.sign_in(api, "everywhere")
    answer = console.post("/console/webhooks/new", url="https://a.example", workspace_id="9" * 5000)
    assert answer.status_code == 422
    assert "workspace_id" in answer.text


def test_a_cause_that_ends_with_a_space_is_found_by_its_own_link(api: Api) -> None:
    api.accept(api.video())
    api.execute(FAIL, "x" * 254 + " and more")
    console = Console.sign_in(api)
    assert (
        "1 failed commands match" in console.get("/console/failures/", cause="x" * 254 + " ").text
    )
    retried = console.post("/console/failures/retry", cause="x" * 254 + " ", per_second="1")
    assert "1 command was given new attempts." in retried.text


def test_an_address_cannot_put_words_into_a_page(api: Api) -> None:
    page = Console.sign_in(api).get("/console/failures/", retried="Call 0123 to unlock. 5")
    assert "Call 0123" not in page.text


def test_a_statement_that_takes_too_long_is_not_tried_twice_and_called_slow(
    api: Api, database_url: str, redis_url: str
) -> None:
    slow = connect(database_url, statement_seconds=1)
    console = Console.sign_in(api)
    with serving(slow, api.redis, redis_url) as limited:
        assert api.client
        assert limited.client
        limited.client.base_url, limited.client.cookies = api.client.base_url, api.client.cookies
        console.api = limited
        with api.holding("LOCK TABLE video IN ACCESS EXCLUSIVE MODE"):
            with counted() as statements:
                page = console.get("/console/videos/")
            assert sum("%(floor)s" in each for each in statements) == 1, statements
    assert page.status_code == 503
    assert "took too long to answer" in page.text
    slow.dispose()


@pytest.mark.parametrize("end", ["log out", "expire"])
def test_the_stream_of_changes_ends_with_the_session(
    pipeline: Pipeline, server: Served, end: str
) -> None:
    key = create_key(pipeline.engine, name="editor", scope=Scope.READ, workspace_id=1)
    with (
        patch.object(tail, "KEY_CHECK_SECONDS", 0),
        httpx.Client(base_url=server.url, timeout=PATIENCE) as client,
    ):
        begun = client.post("/console/sign-in", data={"key": key})
        client.headers["Cookie"] = begun.headers["set-cookie"].partition(";")[0]
        csrf = client.get("/console/videos/").text.partition('name="csrf" value="')[2][:64]
        with client.stream("GET", "/console/changes") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry:")
            if end == "log out":
                client.post("/console/sign-out", data={"csrf": csrf})
            else:
                pipeline.execute(EXPIRE)
            assert "event: changed" not in list(lines)
        refused = client.get("/console/changes", headers={"Accept": "text/event-stream"})
        assert refused.status_code == 401
    wait_until(lambda: server.live_readers == 0, "the reader to be removed")


def test_each_change_needs_the_sessions_token_and_a_scope_above_read(api: Api) -> None:
    assert api.client
    paths = sorted(_list_changes(api.client.app))
    assert len(paths) > 20
    admin = Console.sign_in(api, "admin")
    admin.csrf = "0" * 64
    refused = {path: admin.post(path).status_code for path in paths}
    reader = Console.sign_in(api, "read")
    too_low = {path: reader.post(path).status_code for path in paths}
    assert {*refused.values(), *too_low.values()} == {403}, (refused, too_low)


def _list_changes(app: Any) -> set[str]:
    """The console's routes that change something, with ids of nothing."""
    routes = [each for each in iter_route_contexts(app.routes) if "POST" in (each.methods or ())]
    paths = {each.path or "" for each in routes}
    signing = ("/console/sign-in", "/console/sign-out")
    return {
        re.sub(r"\{\w+\}", NO_ID, re.sub(r"\{(message|video)_id\}", "7", each))
        for each in paths
        if each.startswith("/console/") and not each.startswith(signing)
    }


def test_what_postgres_cannot_store_is_deleted_and_audited_all_the_same(api: Api) -> None:
    console = Console.sign_in(api, "everywhere")
    dead = "video.events:dead:search"
    letter: dict[Any, Any] = {
        "position": 1,
        "event": '{"type": "\\ud800"}',
        "error": "a \x00 b \\u0000",
    }
    api.redis.xadd(dead, letter, id="5-5")
    assert "Delete" in console.get(LETTERS, group="search").text
    for group in ("search\x00", "s" * 256, ""):
        assert console.post(f"{LETTERS}5-5/delete", group=group).status_code == 404
    assert api.redis.xlen(dead) == 1
    assert console.post(f"{LETTERS}5-5/delete", group="search").status_code == 200
    [(outcome, error)] = api.rows(
        "SELECT outcome, details ->> 'error' FROM publisher.audit_entry"
        " WHERE action = 'dead_letter.delete' AND subject_id = 'search'"
    )
    assert (outcome, error) == ("ok", "a \ufffd b \\u0000")


def test_the_state_is_read_once_for_all_pages_and_again_while_they_are_open(api: Api) -> None:
    pages = [Console.sign_in(api, "everywhere") for _ in range(2)]

    def read_times() -> list[str]:
        return [
            re.findall('as of <time datetime="(.+?)"', page.get("/console/").text)[0]
            for page in pages
        ]

    wait_until(lambda: len({*read_times()}) == 1, "both pages to show one reading")
    first = max(read_times())
    wait_until(lambda: min(read_times()) > first, "the next read")
