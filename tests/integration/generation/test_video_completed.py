"""The trigger on videos: the end of generation, in any transaction, makes waiting commands due."""

import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from db.commands import claim, due_times
from db.commands.inbox import StoredCommand
from db.session import transaction
from db.videos import facts_and_release
from schemas.command import PublishRequest
from tests.support.pipeline import BASE_URLS, Pipeline
from tests.support.platform import column
from tests.support.requests import request
from worker.publish.run import decide_all

COMPLETED = "UPDATE video SET status = 'completed', internal_status = 'completed' WHERE id = %s"


def waiting(pipeline: Pipeline, **columns: Any) -> StoredCommand:
    """A command that waits for its video, and is to be asked again in an hour only."""
    columns = columns or {"status": "in_progress", "internal_status": "rendering"}
    [command] = pipeline.publish(pipeline.video(**columns))
    assert command.state == "waiting"
    pipeline.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    return pipeline.command(command.id)


def test_completion_makes_the_waiting_command_due(pipeline: Pipeline) -> None:
    command = waiting(pipeline)
    pipeline.execute(COMPLETED, command.video_id)
    assert pipeline.run() == 1
    [event] = pipeline.events()
    assert (event["type"], event["data"]["trigger"]) == ("video.published", "pipeline")


def test_completion_makes_every_command_on_the_video_due(pipeline: Pipeline) -> None:
    first = waiting(pipeline)
    [second] = pipeline.publish(first.video_id)
    pipeline.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    pipeline.execute(COMPLETED, first.video_id)
    pipeline.run()
    assert sorted(pipeline.states(first, second)) == ["published", "unchanged"]


def test_commands_that_waited_together_are_carried_out_in_the_order_they_came(
    pipeline: Pipeline,
) -> None:
    video = pipeline.video(status="in_progress")
    pipeline.publish(*(request(video, title=f"Title {nth}") for nth in range(20)))
    pipeline.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    pipeline.execute(COMPLETED, video)
    pipeline.run()
    titles = [event["data"]["title"] for event in pipeline.events()]
    assert titles == [f"Title {nth}" for nth in range(20)]


def test_commands_on_other_videos_stay_waiting(pipeline: Pipeline) -> None:
    mine, other = waiting(pipeline), waiting(pipeline)
    pipeline.execute(COMPLETED, mine.video_id)
    pipeline.run()
    assert pipeline.states(mine, other) == ["published", "waiting"]


def test_a_timed_command_is_not_carried_out_before_its_time(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    [command] = pipeline.accept(PublishRequest(video_id=video, publish_at=in_an_hour())).commands
    pipeline.execute(COMPLETED, video)
    assert pipeline.run() == 0
    assert pipeline.command(command.id).due_at == command.due_at


def test_schedulers_are_notified_once_the_completion_is_committed(pipeline: Pipeline) -> None:
    command = waiting(pipeline)
    with due_times.open_listener(pipeline.engine) as connection:
        with pipeline.holding(COMPLETED, command.video_id):
            assert due_times.wait_for_notification(connection, 0) == []
        assert due_times.wait_for_notification(connection, 10) == [None]


def test_one_transaction_at_a_time_notifies(pipeline: Pipeline) -> None:
    """A transaction that notifies holds a lock of the whole database until it is on disk."""
    commands = [waiting(pipeline) for _ in range(3)]
    with due_times.open_listener(pipeline.engine) as connection:
        with transaction(pipeline.engine) as tx:
            tx.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as at the commit
            tx.execute(COMPLETED, (commands[0].video_id,))
            for other in commands[1:]:
                pipeline.execute(COMPLETED, other.video_id)
        assert due_times.wait_for_notification(connection, 10) == [None]
        assert due_times.wait_for_notification(connection, 0) == []
    assert pipeline.run() == 3


def test_a_long_transaction_of_the_pipeline_does_not_keep_others_from_notifying(
    pipeline: Pipeline,
) -> None:
    long, short = waiting(pipeline), waiting(pipeline)
    with (
        due_times.open_listener(pipeline.engine) as connection,
        pipeline.holding(COMPLETED, long.video_id),
    ):
        pipeline.execute(COMPLETED, short.video_id)
        assert due_times.wait_for_notification(connection, 10) == [None]


def test_nothing_is_published_while_the_pipelines_transaction_is_open(pipeline: Pipeline) -> None:
    command = waiting(pipeline)
    with pipeline.holding(COMPLETED, command.video_id):
        assert pipeline.run() == 0
        assert pipeline.command(command.id).state == "waiting"
        assert column(pipeline.engine, command.video_id, "is_draft") is True
    assert pipeline.run() == 1
    assert pipeline.command(command.id).state == "published"


def test_a_due_command_does_not_wait_for_the_pipelines_transaction(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    [command] = pipeline.accept(video).commands
    with pipeline.holding(COMPLETED, video):
        assert pipeline.run() == 0
        assert pipeline.command(command.id).reason == "video_held"
    pipeline.make_due()
    assert pipeline.run() == 1
    assert pipeline.command(command.id).state == "published"


def test_a_completion_that_is_rolled_back_changes_nothing(pipeline: Pipeline) -> None:
    command = waiting(pipeline)
    with due_times.open_listener(pipeline.engine) as connection:
        with transaction(pipeline.engine) as tx:
            tx.execute(COMPLETED, (command.video_id,))
            tx.rollback()
        assert due_times.wait_for_notification(connection, 0) == []
    assert pipeline.command(command.id) == command
    assert pipeline.run() == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("status = 'failed'", "generation_failed"),
        ("internal_status = 'failed'", "generation_failed"),
        ("deleted_at = now()", "video_deleted"),
        ("is_active = false", "video_inactive"),
    ],
)
def test_a_video_that_can_never_be_published_rejects_the_command_with_an_event(
    pipeline: Pipeline, change: str, reason: str
) -> None:
    command = waiting(pipeline)
    pipeline.execute(f"UPDATE video SET {change} WHERE id = %s", command.video_id)
    assert pipeline.run() == 1
    [event] = pipeline.events()
    assert (event["type"], event["data"]["reason"]) == ("video.publish_rejected", reason)
    assert event["data"]["trigger"] == "pipeline"
    assert pipeline.command(command.id).state == "rejected"


@pytest.mark.parametrize(
    ("missing", "arrived"),
    [
        ({"video": None}, "video = 'https://cdn.example.com/late.mp4'"),
        ({"is_regenerating": True}, "is_regenerating = false"),
        ({"internal_status": "merging"}, "internal_status = 'completed'"),
    ],
)
def test_the_last_missing_condition_makes_the_command_due(
    pipeline: Pipeline, missing: dict[str, Any], arrived: str
) -> None:
    command = waiting(pipeline, **missing)
    pipeline.execute(f"UPDATE video SET {arrived} WHERE id = %s", command.video_id)
    pipeline.run()
    assert pipeline.command(command.id).state == "published"


def test_a_regeneration_that_began_after_the_command_delays_it(pipeline: Pipeline) -> None:
    video = pipeline.video()
    [command] = pipeline.accept(video).commands
    pipeline.execute("UPDATE video SET is_regenerating = true WHERE id = %s", video)
    pipeline.run()
    assert pipeline.command(command.id).reason == "regenerating"
    pipeline.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    pipeline.execute("UPDATE video SET is_regenerating = false WHERE id = %s", video)
    pipeline.run()
    assert pipeline.command(command.id).state == "published"


def test_the_pipeline_does_not_wait_for_a_locked_command(pipeline: Pipeline) -> None:
    command = waiting(pipeline)
    held = "SELECT FROM publisher.publish_command WHERE id = %s FOR UPDATE"
    with pipeline.holding(held, command.id), transaction(pipeline.engine) as tx:
        tx.execute("SET LOCAL lock_timeout = '1ms'")
        tx.execute(COMPLETED, (command.video_id,))
    assert column(pipeline.engine, command.video_id, "status") == "completed"


def test_a_completion_that_comes_while_a_batch_decides_is_not_missed(pipeline: Pipeline) -> None:
    """The batch holds the video and has seen it unfinished; the pipeline waits for it, and then
    finds the command waiting.
    """
    video = pipeline.video(status="in_progress")
    [command] = pipeline.accept(video).commands
    reporter = threading.Thread(target=pipeline.execute, args=(COMPLETED, video))
    with transaction(pipeline.engine) as tx:
        claimed = claim.claim_due(tx, 10)
        reporter.start()
        facts_and_release.write(tx, decide_all(tx, claimed, BASE_URLS))
    reporter.join()
    assert pipeline.run() == 1
    assert pipeline.command(command.id).state == "published"


def test_a_change_of_other_columns_leaves_the_command_alone(pipeline: Pipeline) -> None:
    command = waiting(pipeline)
    for change in (
        "title = 'Other', generation_progress = 80, updated_at = now()",
        "status = status, internal_status = internal_status, is_active = is_active, video = video",
        "internal_status = 'merging'",
        "is_regenerating = true",
    ):
        pipeline.execute(f"UPDATE video SET {change} WHERE id = %s", command.video_id)
    assert pipeline.command(command.id) == command


@pytest.fixture
def pipeline_role(pipeline: Pipeline) -> Generator[sql.Identifier]:
    """A role that may update videos, and knows nothing of our schema."""
    role = sql.Identifier(f"pipeline_{uuid4().hex}")
    with transaction(pipeline.engine) as tx:
        tx.execute(sql.SQL("CREATE ROLE {}").format(role))
        tx.execute(sql.SQL("GRANT SELECT, UPDATE ON video TO {}").format(role))
    yield role
    with transaction(pipeline.engine) as tx:
        tx.execute(sql.SQL("DROP OWNED BY {}").format(role))
        tx.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_pipeline_needs_no_rights_on_our_tables(
    pipeline: Pipeline, pipeline_role: sql.Identifier
) -> None:
    command = waiting(pipeline)
    with transaction(pipeline.engine) as tx:
        tx.execute(sql.SQL("SET LOCAL ROLE {}").format(pipeline_role))
        tx.execute(COMPLETED, (command.video_id,))
    assert pipeline.run() == 1
    assert pipeline.command(command.id).state == "published"


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)
