"""Failed commands: grouped by cause, counted by a filter, and retried step by step at a rate."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from bench.setup import vacuum
from db.commands import failures
from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Action, Trigger
from schemas.failures import FailureFilter, FailureGroups, FailureRetry
from tests.support.pipeline import Pipeline
from tests.support.plans import executed, record_plans
from tests.support.waiting import wait_until
from worker.operations.failures import read_failures, retry_failures
from worker.operations.overview import read_overview

FAIL = """
UPDATE publisher.publish_command SET state = 'failed', reason = 'error', detail = %s,
    attempts = 5, finished_at = now() + %s
WHERE id = %s
"""

# Commands of two workspaces, every fourth of which failed.
MANY = """
INSERT INTO publisher.publish_command (id, video_id, workspace_id, trigger, state, reason, detail,
                                       cause, finished_at, correlation_id)
SELECT gen_random_uuid(), 1000000 + n, n % 2 + 1, 'api',
       CASE WHEN n / 2 % 4 = 0 THEN 'failed' ELSE 'published' END, 'error', 'Disk ' || n || ' full',
       'Disk … full', now(), 'c-1'
FROM generate_series(1, 8000) n
"""


def fail(
    pipeline: Pipeline, *details: str, ago: timedelta = timedelta(0), **columns: Any
) -> list[StoredCommand]:
    """Commands that failed, each with its error."""
    trigger = columns.pop("trigger", Trigger.API)
    videos = [pipeline.video(**columns) for _ in details]
    commands = pipeline.accept(*videos, trigger=trigger).commands
    for command, detail in zip(commands, details, strict=True):
        pipeline.execute(FAIL, detail, -ago, command.id)
    return list(commands)


def read(pipeline: Pipeline, within: int | None = None, **wanted: Any) -> FailureGroups:
    return read_failures(pipeline.engine, FailureFilter(**wanted), within)


def causes(found: FailureGroups) -> list[tuple[str, int]]:
    return [(group.cause, group.commands) for group in found.groups]


def retry_to_the_end(pipeline: Pipeline, asked: FailureRetry) -> list[int]:
    """Take step after step; return how many commands each one retried."""
    counts: list[int] = []
    step: FailureRetry | None = asked
    while step:
        result = retry_failures(pipeline.engine, pipeline.waker, step, None)
        counts.append(result.commands)
        step = result.next
    return counts


def test_errors_that_differ_in_numbers_ids_and_quoted_texts_have_one_cause(
    pipeline: Pipeline,
) -> None:
    fail(pipeline, "DiskFull: no space")
    alike = fail(
        pipeline,
        'UniqueViolation: key "uq_a" exists: 7',
        'UniqueViolation: key "uq_b" exists: 8123',
        "Timeout: 019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c11 at 'x'",
        "Timeout: 019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c12 at 'y'",
        "Timeout: 019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c13 at ''",
    )
    found = read(pipeline)
    assert causes(found) == [
        ("Timeout: … at …", 3),
        ("UniqueViolation: key … exists: …", 2),
        ("DiskFull: no space", 1),
    ]
    assert (found.commands, found.is_partial) == (6, False)
    assert found.groups[0].reason == "error"
    assert found.groups[0].examples == [command.id for command in alike[:1:-1]]


def test_a_group_has_its_first_and_its_last_failure(pipeline: Pipeline) -> None:
    fail(pipeline, "A", ago=timedelta(hours=2))
    fail(pipeline, "A", ago=timedelta(hours=1))
    [group] = read(pipeline).groups
    assert group.last_failed_at - group.first_failed_at >= timedelta(minutes=59)


def test_failures_are_filtered(pipeline: Pipeline) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    fail(pipeline, "Old", ago=timedelta(hours=2))
    fail(pipeline, "New 1", "New 2")
    fail(pipeline, "There", workspace_id=2)
    fail(pipeline, "Canary", trigger=Trigger.CANARY)
    assert causes(read(pipeline, failed_from=hour_ago)) == [("New …", 2), ("There", 1)]
    assert causes(read(pipeline, failed_until=hour_ago)) == [("Old", 1)]
    assert causes(read(pipeline, cause="New …")) == [("New …", 2)]
    assert read(pipeline, cause="New …").commands == 2
    assert causes(read(pipeline, workspace_id=2)) == [("There", 1)]
    assert causes(read(pipeline, action=Action.UNPUBLISH)) == []
    assert read(pipeline, reason="other").commands == 0


def test_a_caller_sees_the_failures_of_its_workspace_only(pipeline: Pipeline) -> None:
    fail(pipeline, "Here")
    there = fail(pipeline, "There", workspace_id=2)
    assert causes(read(pipeline, within=2)) == [("There", 1)]
    assert causes(read(pipeline, within=2, workspace_id=1)) == []
    for asked in (FailureRetry(), FailureRetry(workspace_id=2)):
        retry_failures(pipeline.engine, pipeline.waker, asked, 1)
    assert pipeline.states(*there) == ["failed"]


@pytest.mark.parametrize("within", [None, 1])
def test_more_failures_than_are_looked_at_are_named_partial(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, within: int | None
) -> None:
    monkeypatch.setattr(failures, "LOOKED_AT", 2)
    fail(pipeline, "Old", "New", "New")
    found = read(pipeline, within=within)
    assert (causes(found), found.commands, found.is_partial) == ([("New", 2)], 2, True)


def test_all_that_match_are_retried_at_one_rate_over_all_steps(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "STEP", 2)
    others = fail(pipeline, "Other")
    wanted = fail(pipeline, *["Disk 1 full"] * 5)
    asked = FailureRetry(cause="Disk … full", per_second=2)
    assert sum(retry_to_the_end(pipeline, asked)) == 5
    due = [pipeline.command(command.id).due_at for command in wanted]
    assert [each - due[0] for each in due] == [timedelta(seconds=n / 2) for n in range(5)]
    assert pipeline.states(*others, *wanted) == ["failed"] + ["scheduled"] * 5
    assert pipeline.command(wanted[0].id).attempts == 0


def test_a_step_that_is_repeated_retries_nothing_twice(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash of the caller."""
    monkeypatch.setattr(failures, "STEP", 2)
    fail(pipeline, "A", "B", "C")
    first = FailureRetry()
    assert retry_failures(pipeline.engine, pipeline.waker, first, None).commands == 2
    assert sum(retry_to_the_end(pipeline, first)) == 1


def test_a_command_that_fails_again_is_not_retried_by_a_later_step(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "STEP", 1)
    first, second = fail(pipeline, "A", "B")
    result = retry_failures(pipeline.engine, pipeline.waker, FailureRetry(), None)
    pipeline.execute(FAIL, "B", timedelta(seconds=1), second.id)
    assert result.next is not None
    assert retry_to_the_end(pipeline, result.next) == [0, 0]
    assert pipeline.states(first, second) == ["scheduled", "failed"]


ALL_VISIBLE = """
SELECT relallvisible = relpages FROM pg_class WHERE oid = 'publisher.publish_command'::regclass
"""


@pytest.mark.parametrize("within", [None, 1])
def test_pages_of_many_failures_read_an_index_and_no_command(
    pipeline: Pipeline, admin: psycopg.Connection, within: int | None
) -> None:
    pipeline.execute(MANY)
    # A transaction elsewhere can keep VACUUM from noting that every row is visible.
    wait_until(lambda: vacuum(pipeline.engine) or pipeline.value(ALL_VISIBLE), "a whole VACUUM")
    record_plans(pipeline.engine, admin)
    with executed(pipeline.engine) as plans:
        found = read(pipeline, within=within)
        overview = read_overview(pipeline.engine, within)
    assert causes(found) == [("Disk … full", found.commands)]
    assert found.commands == overview.counts.failed == (2000 if within is None else 1000)
    looking = [plan for plan in plans if "= 'failed'" in plan.text]
    assert len(looking) == 2
    for plan in looking:
        assert plan.count_fetched("publish_command") == 0
