"""The page of sessions: operators see who is signed in, and end sessions of others."""

import pytest

from schemas.audit import AuditAction, AuditFilter, AuditOutcome
from tests.support.api import Api
from tests.support.console_client import Console
from worker.operations.audit import list_page
from worker.operations.console_sessions import create_session
from worker.operations.open_sessions import list_sessions

SESSIONS = "/console/sessions/"


@pytest.fixture
def other(api: Api) -> str:
    """The id of a session of an editor."""
    secret = api.secret("publish")
    create_session(
        api.engine, secret, user_agent="Phone/1.0 <b>", client=None, correlation_id="c-1"
    )
    [session] = list_sessions(api.engine)
    return str(session.id)


def test_an_operator_sees_who_is_signed_in_and_ends_a_session(api: Api, other: str) -> None:
    console = Console.sign_in(api, "everywhere")
    page = console.get(SESSIONS).text
    assert "Phone/1.0 &lt;b&gt;" in page
    assert "this session" in page
    assert "1 session was ended" in console.post(f"{SESSIONS}{other}/end").text
    assert other not in console.get(SESSIONS).text
    [entry] = list_page(api.engine, AuditFilter(action=AuditAction.SESSION_END), None).items
    assert (entry.subject_id, entry.workspace_id) == (other, 1)
    assert entry.details.keys() == {"key_id"}


def test_all_sessions_of_a_key_end_at_once(api: Api, other: str) -> None:
    console = Console.sign_in(api, "everywhere")
    create_session(
        api.engine, api.secret("publish"), user_agent=None, client=None, correlation_id="c-2"
    )
    [key_id] = {each.key_id for each in list_sessions(api.engine) if each.name == "publish"}
    assert "2 sessions were ended" in console.post(f"{SESSIONS}{key_id}/end").text
    assert other not in console.get(SESSIONS).text


def test_a_session_that_has_ended_is_not_found(api: Api, other: str) -> None:
    console = Console.sign_in(api, "everywhere")
    console.post(f"{SESSIONS}{other}/end")
    assert console.post(f"{SESSIONS}{other}/end").status_code == 404


def test_an_operator_who_ends_its_own_session_is_signed_out(api: Api) -> None:
    console = Console.sign_in(api, "everywhere")
    [own] = list_sessions(api.engine)
    assert "API key" in console.post(f"{SESSIONS}{own.id}/end").text
    assert console.get(SESSIONS).status_code == 303


def test_an_administrator_of_one_workspace_neither_sees_nor_ends_sessions(
    api: Api, other: str
) -> None:
    console = Console.sign_in(api, "admin")
    assert console.get(SESSIONS).status_code == 403
    assert SESSIONS not in console.get("/console/keys/").text
    assert console.post(f"{SESSIONS}{other}/end").status_code == 403
    assert other in {str(each.id) for each in list_sessions(api.engine)}
    [entry] = list_page(api.engine, AuditFilter(action=AuditAction.SESSION_END), None).items
    assert entry.outcome == AuditOutcome.REFUSED


def test_ending_a_session_asks_first(api: Api, other: str) -> None:
    console = Console.sign_in(api, "everywhere")
    asked = console.post(f"{SESSIONS}{other}/end", confirmed="")
    assert asked.status_code != 200
    assert other in console.get(SESSIONS).text
