"""Ids on the command line: whole, by their beginning, or by both ends."""

import json
from uuid import UUID

import pytest

from schemas.values.caller import Scope
from tests.support.command_line import Run
from tests.support.pipeline import Pipeline
from worker.operations.api_keys import create_key
from worker.operations.console_sessions import create_session

FIRST = "0192f3a1-b2c3-7abc-8def-00000000000a"
SECOND = "0192f3a1-b2c3-7abc-8def-00000000000b"
FAR = "0192ffff-b2c3-7abc-8def-00000000000a"


def make_commands(here: Pipeline, *ids: str) -> None:
    """Open commands with these ids."""
    for each in ids:
        made = here.accept(here.video()).commands[0].id
        here.execute("UPDATE publisher.publish_command SET id = %s WHERE id = %s", each, made)


@pytest.mark.parametrize(
    "given",
    [
        "0192ff",
        "0192FFFF",
        "0192ffff-b2c3",
        "0192ffffb2c37abc",
        "0192ffff..0000000a",
        "0192ffff…0a",
        "0192ffffb2c37abc8def00000000000a",
    ],
)
def test_a_command_is_found_by_a_part_of_its_id(run: Run, here: Pipeline, given: str) -> None:
    make_commands(here, FIRST, FAR)
    assert json.loads(run("commands", "show", given, "--json").out)["id"] == FAR


def test_both_ends_tell_commands_of_one_moment_apart(run: Run, here: Pipeline) -> None:
    make_commands(here, FIRST, SECOND)
    shown = run("commands", "show", "0192f3a1..0000000b", "--json")
    assert json.loads(shown.out)["id"] == SECOND


def test_an_ambiguous_id_lists_the_candidates_and_changes_nothing(run: Run, here: Pipeline) -> None:
    make_commands(here, FIRST, SECOND)
    done = run("commands", "cancel", "0192f3")
    assert done.code == 1
    assert "is the beginning of several ids (command):" in done.err
    assert done.err.split()[-2:] == [FIRST, SECOND]
    assert here.states(*here.accept(here.video()).commands) == ["scheduled"]
    assert (
        here.value("SELECT count(*) FROM publisher.publish_command WHERE state = 'cancelled'") == 0
    )


@pytest.mark.usefixtures("here")
def test_an_unknown_beginning_is_refused(run: Run) -> None:
    done = run("commands", "show", "0192f3")
    assert done.code == 1
    assert "There is no command whose id is 0192f3, or begins so." in done.complaint


@pytest.mark.parametrize("given", ["019", "xyz", "0192f3..", "0192..0a", "%", ""])
def test_what_is_not_a_part_of_an_id_is_a_usage_error(run: Run, given: str) -> None:
    done = run("commands", "show", given)
    assert done.code == 2
    assert "is not an id" in done.err


def test_a_beginning_is_looked_up_in_an_index(here: Pipeline) -> None:
    here.execute("SET enable_seqscan = off")
    plan = here.rows(
        "EXPLAIN SELECT id FROM (SELECT id FROM publisher.publish_command"
        " WHERE trigger <> 'canary') AS known (id)"
        " WHERE id BETWEEN %s AND %s AND right(id::text, 0) = '' ORDER BY id LIMIT 6",
        UUID("0192f3a1" + "0" * 24),
        UUID("0192f3a1" + "f" * 24),
    )
    assert any("Index Cond" in line for (line,) in plan)


def test_endpoints_keys_and_sessions_are_found_by_a_beginning(run: Run, here: Pipeline) -> None:
    secret = create_key(here.engine, name="ci", scope=Scope.READ, workspace_id=1)
    create_session(here.engine, secret, user_agent=None, client=None, correlation_id="c-1")
    assert run("webhooks", "create", "--workspace", "1", "--url", "https://1.1.1.1/").code == 0
    for table, words in (
        ("webhook_endpoint", ("webhooks", "show")),
        ("console_session", ("sessions", "end")),
        ("api_key", ("keys", "revoke")),
    ):
        found = here.value(f"SELECT id::text FROM publisher.{table}")
        assert run(*words, found[:13]).code == 0, words
