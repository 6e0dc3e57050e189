"""The trigger on videos: the end of generation, whoever writes it, makes waiting commands due."""

import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from db.commands import claim, due_times
from db.commands.inbox import CommandRow
from db.session import transaction
from db.videos import facts_and_release
from schemas.command import PublishRequest
from tests.integration.publish.test_publish import request
from tests.support.pipeline import BASE_URL, Desk
from tests.support.platform import column
from worker.publish.run import decide_all

COMPLETED = "UPDATE video SET status = 'completed', internal_status = 'completed' WHERE id = %s"


def waiting(desk: Desk, **columns: Any) -> CommandRow:
    """A command that waits for its video, and is to be asked again in an hour only."""
    columns = columns or {"status": "in_progress", "internal_status": "rendering"}
    [command] = desk.publish(desk.video(**columns))
    assert command.state == "waiting"
    desk.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    return desk.command(command.id)


def test_completion_makes_the_waiting_command_due(desk: Desk) -> None:
    command = waiting(desk)
    desk.execute(COMPLETED, command.video_id)
    assert desk.run() == 1
    [event] = desk.events()
    assert (event["type"], event["data"]["trigger"]) == ("video.published", "pipeline")


def test_completion_makes_every_command_on_the_video_due(desk: Desk) -> None:
    first = waiting(desk)
    [second] = desk.publish(first.video_id)
    desk.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    desk.execute(COMPLETED, first.video_id)
    desk.run()
    assert sorted(desk.states(first, second)) == ["published", "unchanged"]


def test_commands_that_waited_together_are_carried_out_in_the_order_they_came(desk: Desk) -> None:
    video = desk.video(status="in_progress")
    desk.publish(*(request(video, title=f"Title {nth}") for nth in range(20)))
    desk.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    desk.execute(COMPLETED, video)
    desk.run()
    titles = [event["data"]["title"] for event in desk.events()]
    assert titles == [f"Title {nth}" for nth in range(20)]


def test_commands_on_other_videos_stay_waiting(desk: Desk) -> None:
    mine, other = waiting(desk), waiting(desk)
    desk.execute(COMPLETED, mine.video_id)
    desk.run()
    assert desk.states(mine, other) == ["published", "waiting"]


def test_a_timed_command_is_not_carried_out_before_its_time(desk: Desk) -> None:
    video = desk.video(status="in_progress")
    [command] = desk.accept(PublishRequest(video_id=video, publish_at=in_an_hour())).commands
    desk.execute(COMPLETED, video)
    assert desk.run() == 0
    assert desk.command(command.id).due_at == command.due_at


def test_schedulers_are_notified_once_the_completion_is_committed(desk: Desk) -> None:
    command = waiting(desk)
    with due_times.listening(desk.engine) as connection:
        with desk.holding(COMPLETED, command.video_id):
            assert due_times.heard(connection, 0) == []
        assert due_times.heard(connection, 10) == [None]


def test_nothing_is_published_while_the_pipelines_transaction_is_open(desk: Desk) -> None:
    command = waiting(desk)
    with desk.holding(COMPLETED, command.video_id):
        assert desk.run() == 0
        assert desk.command(command.id).state == "waiting"
        assert column(desk.engine, command.video_id, "is_draft") is True
    assert desk.run() == 1
    assert desk.command(command.id).state == "published"


def test_a_due_command_does_not_wait_for_the_pipelines_transaction(desk: Desk) -> None:
    video = desk.video(status="in_progress")
    [command] = desk.accept(video).commands
    with desk.holding(COMPLETED, video):
        assert desk.run() == 0
        assert desk.command(command.id).reason == "video_held"
    desk.make_due()
    assert desk.run() == 1
    assert desk.command(command.id).state == "published"


def test_a_completion_that_is_rolled_back_changes_nothing(desk: Desk) -> None:
    command = waiting(desk)
    with due_times.listening(desk.engine) as connection:
        with transaction(desk.engine) as tx:
            tx.execute(COMPLETED, (command.video_id,))
            tx.rollback()
        assert due_times.heard(connection, 0) == []
    assert desk.command(command.id) == command
    assert desk.run() == 0


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
    desk: Desk, change: str, reason: str
) -> None:
    command = waiting(desk)
    desk.execute(f"UPDATE video SET {change} WHERE id = %s", command.video_id)
    assert desk.run() == 1
    [event] = desk.events()
    assert (event["type"], event["data"]["reason"]) == ("video.publish_rejected", reason)
    assert event["data"]["trigger"] == "pipeline"
    assert desk.command(command.id).state == "rejected"


@pytest.mark.parametrize(
    ("missing", "arrived"),
    [
        ({"video": None}, "video = 'https://cdn.example.com/late.mp4'"),
        ({"is_regenerating": True}, "is_regenerating = false"),
        ({"internal_status": "merging"}, "internal_status = 'completed'"),
    ],
)
def test_the_last_missing_condition_makes_the_command_due(
    desk: Desk, missing: dict[str, Any], arrived: str
) -> None:
    command = waiting(desk, **missing)
    desk.execute(f"UPDATE video SET {arrived} WHERE id = %s", command.video_id)
    desk.run()
    assert desk.command(command.id).state == "published"


def test_a_regeneration_that_began_after_the_command_delays_it(desk: Desk) -> None:
    video = desk.video()
    [command] = desk.accept(video).commands
    desk.execute("UPDATE video SET is_regenerating = true WHERE id = %s", video)
    desk.run()
    assert desk.command(command.id).reason == "regenerating"
    desk.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 hour'")
    desk.execute("UPDATE video SET is_regenerating = false WHERE id = %s", video)
    desk.run()
    assert desk.command(command.id).state == "published"


def test_the_pipeline_does_not_wait_for_a_locked_command(desk: Desk) -> None:
    command = waiting(desk)
    held = "SELECT FROM publisher.publish_command WHERE id = %s FOR UPDATE"
    with desk.holding(held, command.id), transaction(desk.engine) as tx:
        tx.execute("SET LOCAL lock_timeout = '1ms'")
        tx.execute(COMPLETED, (command.video_id,))
    assert column(desk.engine, command.video_id, "status") == "completed"


def test_a_completion_that_comes_while_a_batch_decides_is_not_missed(desk: Desk) -> None:
    """The batch holds the video and has seen it unfinished; the pipeline waits for it, and then
    finds the command waiting.
    """
    video = desk.video(status="in_progress")
    [command] = desk.accept(video).commands
    pipeline = threading.Thread(target=desk.execute, args=(COMPLETED, video))
    with transaction(desk.engine) as tx:
        claimed = claim.claim_due(tx, 10)
        pipeline.start()
        facts_and_release.write(tx, decide_all(tx, claimed, BASE_URL))
    pipeline.join()
    assert desk.run() == 1
    assert desk.command(command.id).state == "published"


def test_a_change_of_other_columns_leaves_the_command_alone(desk: Desk) -> None:
    command = waiting(desk)
    for change in (
        "title = 'Other', generation_progress = 80, updated_at = now()",
        "status = status, internal_status = internal_status, is_active = is_active, video = video",
        "internal_status = 'merging'",
        "is_regenerating = true",
    ):
        desk.execute(f"UPDATE video SET {change} WHERE id = %s", command.video_id)
    assert desk.command(command.id) == command


@pytest.fixture
def pipeline_role(desk: Desk) -> Generator[sql.Identifier]:
    """A role that may update videos, and knows nothing of our schema."""
    role = sql.Identifier(f"pipeline_{uuid4().hex}")
    with transaction(desk.engine) as tx:
        tx.execute(sql.SQL("CREATE ROLE {}").format(role))
        tx.execute(sql.SQL("GRANT SELECT, UPDATE ON video TO {}").format(role))
    yield role
    with transaction(desk.engine) as tx:
        tx.execute(sql.SQL("DROP OWNED BY {}").format(role))
        tx.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_pipeline_needs_no_rights_on_our_tables(
    desk: Desk, pipeline_role: sql.Identifier
) -> None:
    command = waiting(desk)
    with transaction(desk.engine) as tx:
        tx.execute(sql.SQL("SET LOCAL ROLE {}").format(pipeline_role))
        tx.execute(COMPLETED, (command.video_id,))
    assert desk.run() == 1
    assert desk.command(command.id).state == "published"


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)
