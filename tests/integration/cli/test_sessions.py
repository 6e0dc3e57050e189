"""`publish-worker sessions`: list and end the sessions of the console."""

import json
from uuid import uuid4

import pytest

from db.session import transaction
from schemas.audit import ActorKind, AuditAction, AuditFilter
from schemas.values.caller import Scope
from tests.support.command_line import Run
from tests.support.pipeline import Pipeline
from worker.operations.api_keys import create_key
from worker.operations.audit import list_page
from worker.operations.console_sessions import create_session, find_session


def begin(pipeline: Pipeline, secret: str) -> str:
    begun = create_session(
        pipeline.engine, secret, user_agent=None, client=None, correlation_id="c-1"
    )
    return begun.token


def is_valid(pipeline: Pipeline, token: str) -> bool:
    with transaction(pipeline.engine) as tx:
        return find_session(tx, token) is not None


def test_a_session_is_listed_and_ended(run: Run, here: Pipeline) -> None:
    secret = create_key(here.engine, name="ci", scope=Scope.READ, workspace_id=1)
    token = begin(here, secret)
    done = run("sessions", "list", "--json")
    [session] = map(json.loads, done.out.splitlines())
    assert session["name"] == "ci"
    assert "digest" not in session
    assert "ci" in run("sessions", "list").out
    assert run("sessions", "end", session["id"]).code == 0
    assert not is_valid(here, token)
    [entry] = list_page(here.engine, AuditFilter(action=AuditAction.SESSION_END), None).items
    assert (entry.actor, entry.subject_id) == (ActorKind.OPERATOR, session["id"])


def test_all_sessions_of_a_key_are_ended(run: Run, here: Pipeline) -> None:
    secret = create_key(here.engine, name="ci", scope=Scope.READ, workspace_id=1)
    tokens = [begin(here, secret) for _ in range(3)]
    listed = [json.loads(line) for line in run("sessions", "list", "--json").out.splitlines()]
    done = run("sessions", "end", listed[0]["key_id"])
    assert (done.code, done.err.strip()) == (0, "Ended: 3.")
    assert not any(is_valid(here, each) for each in tokens)


@pytest.mark.usefixtures("here")
def test_an_unknown_session_is_an_error(run: Run) -> None:
    done = run("sessions", "end", str(uuid4()))
    assert done.code == 1
    assert "No session has this id" in done.err
