"""One video's commands are carried out in the order in which they fell due, whatever comes between.

Else an older publication would undo a newer withdrawal, and an older title a newer one.
"""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from db.session import transaction
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.platform import column, make_ready_videos
from worker.publish import run
from worker.rules import decision


def withdrawal(video: int) -> PublishRequest:
    return PublishRequest.model_validate({"video_id": video, "action": "unpublish"})


def test_a_backlog_does_not_let_a_newer_withdrawal_overtake(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as tx:
        crowd = make_ready_videos(tx, 900)
    pipeline.accept(*crowd)
    video = pipeline.video()
    pipeline.accept(video)
    pipeline.let_pass(minutes=30)
    pipeline.accept(withdrawal(video))
    pipeline.run()
    pipeline.run()
    assert column(pipeline.engine, video, "is_draft") is True
    types = [e["type"] for e in pipeline.events() if e["subject"] == str(video)]
    assert types == ["video.published", "video.unpublished"]


def test_a_postponed_command_is_not_overtaken(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "LOCKED_PAUSE", timedelta(hours=1))
    video = pipeline.video()
    [older] = pipeline.accept(video).commands
    with pipeline.holding("UPDATE video SET title = title WHERE id = %s", video):
        pipeline.run()
    [newer] = pipeline.accept(withdrawal(video)).commands
    pipeline.run()
    assert pipeline.states(older, newer) == ["scheduled", "scheduled"]
    pipeline.make_due()
    pipeline.run()
    assert pipeline.states(older, newer) == ["published", "unpublished"]


def test_a_command_that_backs_off_is_not_overtaken_and_delays_no_other_video(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, other = pipeline.video(), pipeline.video()

    def refuse(*arguments: Any) -> Any:
        if arguments[0].id == first.id:
            raise ValueError("odd")
        return decide(*arguments)

    decide = run.decide
    [first] = pipeline.accept(video).commands
    monkeypatch.setattr(run, "decide", refuse)
    pipeline.run()
    [second] = pipeline.accept(withdrawal(video)).commands
    [third] = pipeline.accept(other).commands
    pipeline.run()
    assert pipeline.states(first, second, third) == ["scheduled", "scheduled", "published"]


def test_a_batch_that_fails_is_halved_without_overtaking(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = pipeline.video()

    def refuse(*arguments: Any) -> Any:
        if arguments[0].id == older.id:
            raise ValueError("odd")
        return decide(*arguments)

    decide = run.decide
    older, newer = pipeline.accept(video, withdrawal(video)).commands
    monkeypatch.setattr(run, "decide", refuse)
    pipeline.run()
    assert pipeline.states(older, newer) == ["scheduled", "scheduled"]


def test_a_command_that_waits_for_generation_delays_no_other(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    [waiting] = pipeline.publish(video)
    [later] = pipeline.publish(withdrawal(video))
    assert pipeline.states(waiting, later) == ["waiting", "unchanged"]


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_a_repeatable_read_transaction_of_the_platform_does_not_fail(
    pipeline: Pipeline, level: IsolationLevel
) -> None:
    video = pipeline.video(status="in_progress")
    [waiting] = pipeline.publish(video)
    url = pipeline.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as platform:
        platform.isolation_level = level
        platform.execute("SELECT 1 FROM video LIMIT 1")  # its snapshot
        pipeline.make_due()
        pipeline.run()  # asks again, which that snapshot does not show
        platform.execute("UPDATE video SET status = 'completed' WHERE id = %s", (video,))
    pipeline.make_due()
    pipeline.run()
    assert pipeline.states(waiting) == ["published"]


def test_waiting_and_postponing_are_not_lateness(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    [waiting] = pipeline.publish(video)
    pipeline.make_due()
    with pipeline.holding("UPDATE video SET title = title WHERE id = %s", video):
        pipeline.run()
    pipeline.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    completed = pipeline.value("SELECT due_at FROM publisher.publish_command")
    pipeline.run()
    assert pipeline.command(waiting.id).fell_due_at == completed


def test_a_retry_keeps_the_deadline(pipeline: Pipeline) -> None:
    [command] = pipeline.accept(pipeline.video()).commands
    pipeline.execute(
        "UPDATE publisher.publish_command SET state = 'failed', finished_at = now(), "
        "publish_before = now() - interval '1 hour'"
    )
    assert pipeline.command_line("commands", "retry", str(command.id)).exit_code == 0
    pipeline.run()
    assert pipeline.states(command) == ["expired"]


def test_first_publication_is_right_for_two_commands_in_one_batch(pipeline: Pipeline) -> None:
    video = pipeline.video()
    wrong = PublishRequest(video_id=video, expected_revision=0)
    pipeline.publish(video, wrong)
    published, rejected = pipeline.events()
    assert published["data"]["first_publication"] is True
    assert rejected["data"]["first_publication"] is False
