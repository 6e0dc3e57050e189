"""One video's commands are carried out in the order in which they fell due, whatever comes between.

Else an older publication would undo a newer withdrawal, and an older title a newer one.
"""

from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from db.session import transaction
from schemas.command import PublishRequest
from tests.support.pipeline import Desk
from tests.support.platform import column, make_ready_videos
from worker.publish import run


def withdrawal(video: int) -> PublishRequest:
    return PublishRequest.model_validate({"video_id": video, "action": "unpublish"})


def test_a_backlog_does_not_let_a_newer_withdrawal_overtake(desk: Desk) -> None:
    with transaction(desk.engine) as tx:
        crowd = make_ready_videos(tx, 900)
    desk.accept(*crowd)
    video = desk.video()
    desk.accept(video)
    desk.let_pass(minutes=30)
    desk.accept(withdrawal(video))
    desk.run()
    desk.run()
    assert column(desk.engine, video, "is_draft") is True
    types = [e["type"] for e in desk.events() if e["subject"] == str(video)]
    assert types == ["video.published", "video.unpublished"]


def test_what_stands_aside_is_not_overtaken(desk: Desk) -> None:
    video = desk.video()
    [older] = desk.accept(video).commands
    with desk.holding("UPDATE video SET title = title WHERE id = %s", video):
        desk.run()
    [newer] = desk.accept(withdrawal(video)).commands
    desk.run()
    assert desk.states(older, newer) == ["scheduled", "scheduled"]
    desk.make_due()
    desk.run()
    assert desk.states(older, newer) == ["published", "unpublished"]


def test_what_backs_off_is_not_overtaken_and_holds_up_no_other_video(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, other = desk.video(), desk.video()

    def refuse(*arguments: Any) -> Any:
        if arguments[0].id == first.id:
            raise ValueError("odd")
        return decide(*arguments)

    decide = run.decide
    [first] = desk.accept(video).commands
    monkeypatch.setattr(run, "decide", refuse)
    desk.run()
    [second] = desk.accept(withdrawal(video)).commands
    [third] = desk.accept(other).commands
    desk.run()
    assert desk.states(first, second, third) == ["scheduled", "scheduled", "published"]


def test_a_batch_that_fails_is_halved_without_overtaking(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = desk.video()

    def refuse(*arguments: Any) -> Any:
        if arguments[0].id == older.id:
            raise ValueError("odd")
        return decide(*arguments)

    decide = run.decide
    older, newer = desk.accept(video, withdrawal(video)).commands
    monkeypatch.setattr(run, "decide", refuse)
    desk.run()
    assert desk.states(older, newer) == ["scheduled", "scheduled"]


def test_what_waits_for_generation_holds_up_nothing(desk: Desk) -> None:
    video = desk.video(status="in_progress")
    [waiting] = desk.publish(video)
    [later] = desk.publish(withdrawal(video))
    assert desk.states(waiting, later) == ["waiting", "unchanged"]


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_a_stricter_transaction_of_the_platform_does_not_fail_for_us(
    desk: Desk, level: IsolationLevel
) -> None:
    video = desk.video(status="in_progress")
    [waiting] = desk.publish(video)
    url = desk.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as platform:
        platform.isolation_level = level
        platform.execute("SELECT 1 FROM video LIMIT 1")  # its snapshot
        desk.make_due()
        desk.run()  # asks again, which that snapshot does not show
        platform.execute("UPDATE video SET status = 'completed' WHERE id = %s", (video,))
    desk.make_due()
    desk.run()
    assert desk.states(waiting) == ["published"]


def test_waiting_and_standing_aside_is_not_lateness(desk: Desk) -> None:
    video = desk.video(status="in_progress")
    [waiting] = desk.publish(video)
    desk.make_due()
    with desk.holding("UPDATE video SET title = title WHERE id = %s", video):
        desk.run()
    desk.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    completed = desk.value("SELECT due_at FROM publisher.publish_command")
    desk.run()
    assert desk.command(waiting.id).fell_due_at == completed


def test_a_retry_keeps_the_latest_moment(desk: Desk) -> None:
    [command] = desk.accept(desk.video()).commands
    desk.execute(
        "UPDATE publisher.publish_command SET state = 'failed', finished_at = now(), "
        "publish_before = now() - interval '1 hour'"
    )
    assert desk.command_line("commands", "retry", str(command.id)).exit_code == 0
    desk.run()
    assert desk.states(command) == ["expired"]


def test_the_first_publication_is_told_right_within_a_batch(desk: Desk) -> None:
    video = desk.video()
    wrong = PublishRequest(video_id=video, expected_revision=0)
    desk.publish(video, wrong)
    published, rejected = desk.events()
    assert published["data"]["first_publication"] is True
    assert rejected["data"]["first_publication"] is False
