"""The audit log: append-only, pruned by age alone, and each change in its own transaction."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.errors import RestrictViolation
from sqlalchemy import Engine

from db import audit_log
from db.session import transaction
from schemas.audit import (
    ActorKind,
    AuditAction,
    AuditEntry,
    AuditFilter,
    AuditOutcome,
    AuditSubject,
    Door,
)
from schemas.values.actor import Actor, AuditRecord
from schemas.values.caller import Scope
from tests.support.pipeline import Pipeline
from worker.operations import audit, retention
from worker.operations.api_keys import KeyRefused, create_key, identify, revoke_key
from worker.operations.audit import list_page, record, refusals_recorded, to_problem_name
from worker.runtime.settings import Settings

ADA = Actor(kind=ActorKind.OPERATOR, door=Door.CLI, name="ada@studio", correlation_id="c-1")
REVOKE = AuditRecord(
    actor=ADA, action=AuditAction.API_KEY_REVOKE, subject=AuditSubject.API_KEY, workspace_id=1
)


def read(engine: Engine, **wanted: Any) -> list[AuditEntry]:
    """All entries that a caller without a workspace sees, the oldest first."""
    return list(list_page(engine, AuditFilter(**wanted), None).items)[::-1]


def shift(engine: Engine, days: int) -> None:
    """Let the entries be older, as no role of production can."""
    with transaction(engine) as tx:
        tx.execute("SET LOCAL session_replication_role = replica")
        tx.execute("UPDATE publisher.audit_entry SET at = at - make_interval(days => %s)", [days])


def test_a_change_is_recorded_with_who_made_it(platform: Engine) -> None:
    secret = create_key(platform, name="ci", scope=Scope.READ, workspace_id=1, by=ADA)
    caller = identify(platform, secret)
    assert caller is not None
    revoke_key(platform, caller.id, ADA)
    created, revoked = read(platform)
    assert (created.action, revoked.action) == ("api_key.create", "api_key.revoke")
    for entry in (created, revoked):
        assert entry.subject_id == str(caller.id)
        assert (entry.actor_name, entry.door, entry.outcome) == ("ada@studio", "cli", "ok")
        assert entry.workspace_id == 1
        assert secret not in entry.model_dump_json()


def test_the_name_of_a_key_stays_in_the_log(platform: Engine) -> None:
    caller = identify(platform, create_key(platform, name="ci", scope=Scope.ADMIN, workspace_id=1))
    assert caller is not None
    by = audit.to_actor(caller, Door.CONSOLE, client="203.0.113.7", correlation_id="c-2")
    revoke_key(platform, caller.id, by)
    entry = read(platform, key_id=caller.id)[0]
    assert (entry.actor_name, entry.client, entry.correlation_id) == ("ci", "203.0.113.7", "c-2")


def test_a_change_that_is_rolled_back_has_no_entry(platform: Engine) -> None:
    def fail() -> None:
        with transaction(platform) as tx:
            audit_log.append(tx, [REVOKE])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read(platform) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE publisher.audit_entry SET actor_name = 'another'",
        "DELETE FROM publisher.audit_entry",
        "TRUNCATE publisher.audit_entry",
    ],
)
def test_entries_cannot_be_changed_even_by_a_superuser(pipeline: Pipeline, statement: str) -> None:
    record(pipeline.engine, REVOKE)
    with pytest.raises(RestrictViolation, match="append-only"):
        pipeline.execute(statement)
    assert len(read(pipeline.engine)) == 1


def test_retention_deletes_entries_by_age(pipeline: Pipeline) -> None:
    engine, redis = pipeline.engine, pipeline.redis
    record(engine, REVOKE)
    shift(engine, 40)
    record(engine, REVOKE)
    assert retention.prune(engine, redis, Settings(audit_keep_days=50)).audit_entries == 0
    assert retention.prune(engine, redis, Settings(audit_keep_days=30)).audit_entries == 1
    with transaction(engine) as tx:
        assert audit_log.prune(tx, age=timedelta(0), limit=10) == 0  # younger than 30 days
    assert len(read(engine)) == 1


def test_a_refusal_and_a_failure_are_recorded_and_raised_on(platform: Engine) -> None:
    for error in (KeyRefused("no"), ZeroDivisionError("bug")):
        with pytest.raises(type(error)), refusals_recorded(platform, REVOKE):
            raise error
    refused, failed = read(platform)
    assert (refused.outcome, refused.problem) == (AuditOutcome.REFUSED, "key-refused")
    assert (failed.outcome, failed.problem) == (AuditOutcome.FAILED, "zero-division-error")


def test_a_page_is_filtered_and_continued(platform: Engine) -> None:
    for workspace_id in (1, 2, 1, None):
        with transaction(platform) as tx:
            audit_log.append(
                tx,
                [AuditRecord(actor=ADA, action=REVOKE.action, workspace_id=workspace_id)],
            )
    newest = list_page(platform, AuditFilter(limit=1), 1)
    assert newest.next_after is not None
    older = list_page(platform, AuditFilter(limit=1, before=newest.next_after.id), 1)
    assert [entry.workspace_id for entry in (*newest.items, *older.items)] == [1, 1]
    assert older.next_after is None
    assert list_page(platform, AuditFilter(workspace_id=2), 1).items == ()
    hour = datetime.now(UTC) + timedelta(hours=1)
    counts = {
        len(read(platform, **wanted))
        for wanted in ({"until": hour}, {"actor": "operator"}, {"action": "api_key.revoke"})
    }
    assert counts == {4}
    assert read(platform, since=hour) == read(platform, outcome="failed") == []


@pytest.mark.parametrize(
    ("error", "name"), [(KeyError(), "key-error"), (KeyRefused(), "key-refused")]
)
def test_a_problem_is_named_as_the_api_names_them(error: Exception, name: str) -> None:
    assert to_problem_name(error) == name
