"""Due times: read once a second, and notified at once."""

import threading
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from db.commands import due_times
from db.session import transaction
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.waiting import wait_until
from worker.app.due_times import TRAILING_SECONDS, DueTimes

FAR = 30.0
"""Seconds that no test waits: each wait ends long before."""


@pytest.fixture
def coming(pipeline: Pipeline) -> Generator[DueTimes]:
    """Due times whose thread listens already."""
    made = DueTimes(pipeline.engine)
    made.start()
    wait_until(lambda: listeners(pipeline) == 1, "the thread to listen")
    yield made
    made.stop()


LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND (query ~ '^LISTEN' OR query ~ 'due_at <= now\\(\\) \\+')"
)


def listeners(pipeline: Pipeline) -> int:
    return len(pipeline.rows(LISTENERS))


MOVE = """
UPDATE publisher.publish_command SET due_at = clock_timestamp() + %s * interval '1 ms'
WHERE id = %s RETURNING due_at
"""


MOVE_TO_NOW = """
UPDATE publisher.publish_command
SET due_at = due_at + (now() - (SELECT min(due_at) FROM publisher.publish_command))
"""


def count_open(pipeline: Pipeline) -> int:
    return pipeline.value(
        "SELECT count(*) FROM publisher.publish_command WHERE finished_at IS NULL"
    )


def count_due(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM publisher.publish_command WHERE due_at <= now()")


def soon(milliseconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(milliseconds=milliseconds)


def accept_ahead(pipeline: Pipeline, *milliseconds: float) -> list[datetime]:
    """Accept a command for each of these times from now, in one call; return the times.

    If they begin to pass before that is done, the commands are carried out, and accepted again.
    """
    while True:
        videos, times = [pipeline.video() for _ in milliseconds], [*map(soon, milliseconds)]
        pipeline.accept(
            *(
                PublishRequest(video_id=video, publish_at=at)
                for video, at in zip(videos, times, strict=True)
            )
        )
        if pipeline.value("SELECT clock_timestamp()") < min(times):
            return times
        wait_until(lambda: pipeline.run() or not count_open(pipeline), "late ones to be done")


def fall_due(pipeline: Pipeline, milliseconds: int) -> datetime:
    """Let a command fall due so soon, however long its acceptance takes; return when."""
    request = PublishRequest(video_id=pipeline.video(), publish_at=soon(60_000))
    [command] = pipeline.accept(request).commands
    with transaction(pipeline.engine) as tx:
        row = tx.execute(MOVE, (milliseconds, command.id)).fetchone()
        assert row
        due_times.notify_due(tx, row)
    return row[0]


def carry_out(pipeline: Pipeline, coming: DueTimes, commands: int) -> None:
    """Carry out what is due after each wait, until this number of commands has ended."""
    while commands > 0:
        assert coming.wait(FAR)
        commands -= pipeline.run()


def wait_for_trailing(coming: DueTimes, since: float) -> None:
    """Wait until a wait ends so long after a notification that the one which trails it did it."""
    while time.monotonic() < since + TRAILING_SECONDS:
        assert coming.wait(FAR)


def test_a_wait_ends_when_a_command_falls_due_and_not_before(
    pipeline: Pipeline, coming: DueTimes
) -> None:
    due_at = fall_due(pipeline, 400)
    assert coming.wait(FAR)
    assert pipeline.value("SELECT clock_timestamp()") >= due_at
    assert pipeline.run() == 1


def test_an_earlier_time_ends_a_wait_that_has_begun(pipeline: Pipeline, coming: DueTimes) -> None:
    pipeline.accept(PublishRequest(video_id=pipeline.video(), publish_at=soon(60_000)))
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(coming.wait(FAR)))
    waiting.start()
    fall_due(pipeline, 300)
    waiting.join()
    assert woken == [True]
    assert pipeline.run() == 1


def test_each_time_of_a_call_ends_a_wait(pipeline: Pipeline, coming: DueTimes) -> None:
    """The call notifies of the earliest."""
    accept_ahead(pipeline, *(300 + 100 * number for number in range(5)))
    carry_out(pipeline, coming, 5)


def test_a_time_that_passes_between_two_readings_ends_a_wait(
    pipeline: Pipeline, coming: DueTimes
) -> None:
    """A call notifies only of its earliest time; of this one nothing was notified."""
    pipeline.accept(PublishRequest(video_id=pipeline.video(), publish_at=soon(60_000)))
    pipeline.execute("UPDATE publisher.publish_command SET due_at = now() + interval '10 ms'")
    assert coming.wait(FAR)
    assert pipeline.run() == 1


def test_the_sweeps_have_their_turn_though_commands_fall_due_all_the_time(
    pipeline: Pipeline, coming: DueTimes
) -> None:
    accept_ahead(pipeline, *(1500 + 100 * number for number in range(6)))
    woken: list[float] = []

    def wake_until_others_are_due() -> None:
        woken.append(time.monotonic())
        wait_until(lambda: count_due(pipeline) >= min(3 + len(woken), 6), "the next due times")

    wait_until(lambda: count_due(pipeline) >= 2, "the first due time to be a while ago")
    coming.wake_until(time.monotonic(), wake_until_others_are_due)
    assert len(woken) == 1


def test_the_end_of_generation_ends_a_wait(pipeline: Pipeline, coming: DueTimes) -> None:
    video = pipeline.video(status="in_progress")
    pipeline.publish(video)
    pipeline.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    assert coming.wait(FAR)
    assert pipeline.run() == 1


def test_the_end_of_generation_ends_another_wait_a_moment_later(
    pipeline: Pipeline, coming: DueTimes
) -> None:
    """It is for transactions that committed at the same time, and did not notify."""
    since = time.monotonic()
    pipeline.execute("SELECT pg_notify('publisher_due', '')")
    wait_for_trailing(coming, since)


def test_the_end_of_generation_ends_a_wait_while_another_transaction_notifies(
    pipeline: Pipeline, coming: DueTimes
) -> None:
    first, second = pipeline.video(status="in_progress"), pipeline.video(status="in_progress")
    pipeline.publish(first, second)
    complete = "UPDATE video SET status = 'completed' WHERE id = %s"
    with transaction(pipeline.engine) as tx:
        tx.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as at the commit
        tx.execute(complete, (first,))
        pipeline.execute(complete, second)
    carry_out(pipeline, coming, 2)


def test_only_what_falls_due_later_is_notified(pipeline: Pipeline) -> None:
    with due_times.open_listener(pipeline.engine) as listener:
        pipeline.publish(pipeline.video())
        assert due_times.wait_for_notification(listener, 0) == []
        [due_at] = accept_ahead(pipeline, 400)
        notified = due_times.wait_for_notification(listener, FAR)
        while notified != [pytest.approx(due_at.timestamp())]:
            assert notified, "its time was not notified"
            notified = due_times.wait_for_notification(listener, FAR)


def test_a_cancelled_command_ends_no_wait(pipeline: Pipeline, coming: DueTimes) -> None:
    def ends_no_wait() -> bool:
        accept_ahead(pipeline, 1_500)
        pipeline.execute("DELETE FROM publisher.publish_command")
        return not coming.wait(2)

    wait_until(ends_no_wait, "the times to be read again in time")


def wait_for_another_listener(pipeline: Pipeline, before: object) -> None:
    wait_until(lambda: len(now := pipeline.rows(LISTENERS)) == 1 and now != before, "another one")


def test_the_thread_reconnects_to_the_database(pipeline: Pipeline, coming: DueTimes) -> None:
    before = pipeline.rows(LISTENERS)
    pipeline.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    wait_for_another_listener(pipeline, before)
    fall_due(pipeline, 400)
    carry_out(pipeline, coming, 1)


@pytest.mark.parametrize("nonsense", ["soon", "nan", "-inf", "{}"])
def test_an_unreadable_notification_does_not_end_the_thread(
    pipeline: Pipeline, coming: DueTimes, nonsense: str
) -> None:
    since = time.monotonic()
    pipeline.execute("SELECT pg_notify('publisher_due', %s)", nonsense)
    wait_for_trailing(coming, since)  # no time means now, and once more
    fall_due(pipeline, 400)
    carry_out(pipeline, coming, 1)


def test_a_silent_connection_is_replaced(
    pipeline: Pipeline, coming: DueTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pipeline.rows(LISTENERS)
    monkeypatch.setattr("worker.app.due_times.SILENT_SECONDS", -1.0)
    coming.wait(0)
    monkeypatch.undo()
    wait_for_another_listener(pipeline, before)


def test_many_commands_due_at_the_same_time_are_read_as_one(pipeline: Pipeline) -> None:
    crowd = [PublishRequest(video_id=pipeline.video(), publish_at=soon(900)) for _ in range(3)]
    pipeline.accept(*crowd)
    pipeline.execute(
        "INSERT INTO publisher.publish_command (id, video_id, workspace_id, trigger, due_at, "
        "correlation_id) SELECT gen_random_uuid(), video_id, 1, 'api', due_at, 'c' "
        "FROM publisher.publish_command, generate_series(1, 1000)"
    )
    with transaction(pipeline.engine) as tx:
        tx.execute(MOVE_TO_NOW)
        times = due_times.read_upcoming(tx).due
    assert 1 <= len(times) <= 6


def test_far_times_are_not_notified(pipeline: Pipeline) -> None:
    url = pipeline.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(due_times.CHANNEL)))
        pipeline.accept(PublishRequest(video_id=pipeline.video(), publish_at=soon(3_600_000)))
        near = fall_due(pipeline, 1_000)
        [notified] = listener.notifies(timeout=FAR, stop_after=1)
    assert float(notified.payload) == near.timestamp()


def test_the_next_due_time_is_the_soonest(pipeline: Pipeline) -> None:
    far, near = soon(90_000), soon(60_000)
    for at in (far, near):
        pipeline.accept(PublishRequest(video_id=pipeline.video(), publish_at=at))
    with transaction(pipeline.engine) as tx:
        assert due_times.read_next_due(tx) == near
        assert due_times.has_generation_trigger(tx)
