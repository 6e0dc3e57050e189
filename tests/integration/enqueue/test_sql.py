"""Enqueue in SQL: the command exists if and only if the caller's own transaction commits."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors, sql

from db.commands import due_times, limits
from db.session import transaction
from tests.support.pipeline import Pipeline
from tests.support.platform import make_ready_videos
from tests.support.sql_door import PUBLISH, UNPUBLISH, call, enqueue, find_refusal
from tests.support.waiting import wait_until

COUNT = "SELECT count(*) FROM publisher.publish_command"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


# --- the transaction -----------------------------------------------------------------------------


def test_a_committed_command_is_carried_out_once(pipeline: Pipeline) -> None:
    video = pipeline.video()
    command = pipeline.command(enqueue(pipeline, video))
    assert (command.state, command.trigger, command.is_due) == ("scheduled", "pipeline", True)
    assert command.correlation_id == str(command.id)
    assert pipeline.run() == 1
    [event] = pipeline.events()
    assert (event["type"], event["subject"]) == ("video.published", str(video))
    assert (event["data"]["trigger"], event["causationid"]) == ("pipeline", str(command.id))


def test_after_a_rollback_there_is_nothing(pipeline: Pipeline) -> None:
    with due_times.open_listener(pipeline.engine) as listener:
        with transaction(pipeline.engine) as tx:
            call(tx, pipeline.video(), idempotency_key="k", publish_at=in_an_hour())
            tx.rollback()
        assert due_times.wait_for_notification(listener, 0) == []
    assert pipeline.value(COUNT) == 0
    assert pipeline.value("SELECT count(*) FROM publisher.idempotency_key") == 0


def test_what_is_rolled_back_to_a_savepoint_does_not_exist(pipeline: Pipeline) -> None:
    kept, undone = pipeline.video(), pipeline.video()
    with transaction(pipeline.engine) as tx:
        call(tx, kept)
        tx.execute("SAVEPOINT before")
        call(tx, undone)
        tx.execute("ROLLBACK TO before")
    assert pipeline.rows("SELECT video_id FROM publisher.publish_command") == [(kept,)]


def test_until_the_commit_no_other_transaction_sees_it(pipeline: Pipeline) -> None:
    video = pipeline.video()
    with transaction(pipeline.engine) as tx:
        call(tx, video)
        assert pipeline.value(COUNT) == 0
        assert pipeline.run() == 0
    assert pipeline.run() == 1


def test_the_video_may_be_of_the_same_transaction(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as tx:
        [video] = make_ready_videos(tx, 1)
        call(tx, video)
    assert pipeline.run() == 1


def test_a_trigger_on_videos_may_call_it(pipeline: Pipeline) -> None:
    pipeline.execute("""
    CREATE FUNCTION publish_when_completed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM publisher.enqueue_publish(NEW.id, idempotency_key => 'completed-' || NEW.uid);
        RETURN NULL;
    END $$;
    CREATE TRIGGER publish_when_completed AFTER UPDATE OF status ON video FOR EACH ROW
    WHEN (NEW.status = 'completed' AND OLD.status <> 'completed')
    EXECUTE FUNCTION publish_when_completed()
    """)
    video = pipeline.video(status="in_progress")
    for status in ("completed", "in_progress", "completed"):
        pipeline.execute("UPDATE video SET status = %s WHERE id = %s", status, video)
    assert pipeline.run() == 1
    assert [event["type"] for event in pipeline.events()] == ["video.published"]


def test_it_does_not_wait_for_the_position_counter(pipeline: Pipeline) -> None:
    video = pipeline.video()
    with (
        pipeline.holding("UPDATE publisher.event_position SET position = position"),
        transaction(pipeline.engine) as tx,
    ):
        tx.execute("SET LOCAL lock_timeout = '1ms'")
        call(tx, video, publish_at=in_an_hour())
    assert pipeline.value(COUNT) == 1


def test_no_publication_waits_for_a_callers_transaction(pipeline: Pipeline) -> None:
    video, other = pipeline.video(), pipeline.video()
    with pipeline.holding("SELECT publisher.enqueue_publish(%s)", video):
        [command] = pipeline.publish(other, video)[:1]
        assert command.state == "published"
        assert enqueue(pipeline, other)


def test_a_command_of_a_long_transaction_is_not_late(pipeline: Pipeline) -> None:
    """It exists from the commit on, and those of a video keep their order."""
    video = pipeline.video()
    with transaction(pipeline.engine) as tx:
        first = call(tx, video)
        tx.execute("SELECT pg_sleep(0.15)")
        second = call(tx, video, UNPUBLISH)
        row = tx.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    one, two = pipeline.command(first), pipeline.command(second)
    assert row[0] <= one.due_at < two.due_at
    assert (one.accepted_at, two.accepted_at) == (one.due_at, two.due_at)
    pipeline.run()
    assert pipeline.states(one, two) == ["published", "unpublished"]


@pytest.mark.parametrize("level", [sql.SQL("REPEATABLE READ"), sql.SQL("SERIALIZABLE")], ids=repr)
def test_callers_of_stricter_isolation_do_not_make_each_other_fail(
    pipeline: Pipeline, level: sql.SQL
) -> None:
    with transaction(pipeline.engine) as tx:
        videos = make_ready_videos(tx, 40)
    failed: list[int] = []

    def enqueue_some(mine: list[int]) -> None:
        for video in mine:
            try:
                with transaction(pipeline.engine) as tx:
                    tx.execute(sql.SQL("SET TRANSACTION ISOLATION LEVEL {}").format(level))
                    call(tx, video)
            except errors.SerializationFailure:
                failed.append(video)

    run_together(*(lambda n=n: enqueue_some(videos[n::4]) for n in range(4)))
    assert failed == []
    assert pipeline.run() == len(videos)


# --- beat ----------------------------------------------------------------------------------------


def test_schedulers_are_notified_at_the_commit(pipeline: Pipeline) -> None:
    with due_times.open_listener(pipeline.engine) as listener:
        with transaction(pipeline.engine) as tx:
            call(tx, pipeline.video())
            call(tx, pipeline.video(), publish_at=in_an_hour())
            assert due_times.wait_for_notification(listener, 0) == []
        found: list[object] = []
        while len(found) < 2:
            found += due_times.wait_for_notification(listener, 10)
        assert found == [None, due_times.ANNOUNCE]


def test_one_transaction_at_a_time_notifies(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(3)]
    with due_times.open_listener(pipeline.engine) as listener:
        with transaction(pipeline.engine) as tx:
            tx.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as at the commit
            call(tx, videos[0])
            for other in videos[1:]:
                enqueue(pipeline, other)
        assert due_times.wait_for_notification(listener, 10) == [None]
        assert due_times.wait_for_notification(listener, 0) == []
    assert pipeline.run() == 3


def test_the_other_doors_do_not_notify_at_their_commit(pipeline: Pipeline) -> None:
    with due_times.open_listener(pipeline.engine) as listener:
        pipeline.accept(pipeline.video())
        assert due_times.wait_for_notification(listener, 0) == []


# --- what is stored ------------------------------------------------------------------------------


def test_every_argument_is_kept(pipeline: Pipeline) -> None:
    video = pipeline.video()
    local = datetime(2099, 10, 25, 2, 30)  # noqa: DTZ001 - it is a local time
    command_id = enqueue(
        pipeline,
        video,
        publish_at_local=local,
        unpublish_at_local=local + timedelta(days=1),
        time_zone="Europe/Berlin",
        fold=1,
        publish_before=datetime(2100, 1, 1, tzinfo=UTC),
        expected_revision=0,
        workspace_id=1,
        correlation_id="job-4711",
        traceparent=TRACE,
    )
    begin = pipeline.command(command_id)
    assert begin.asked_for == begin.due_at == datetime(2099, 10, 25, 1, 30, tzinfo=UTC)
    assert (begin.local_time, begin.time_zone, begin.fold) == (local, "Europe/Berlin", 1)
    assert (begin.expected_revision, begin.workspace_id) == (0, 1)
    assert begin.publish_before == datetime(2100, 1, 1, tzinfo=UTC)
    assert begin.counterpart_id is not None
    end = pipeline.command(begin.counterpart_id)
    assert (end.action, end.counterpart_id, end.expected_revision) == ("unpublish", begin.id, None)
    assert end.due_at == datetime(2099, 10, 26, 1, 30, tzinfo=UTC)
    assert begin.correlation_id == end.correlation_id == "job-4711"
    traces = "SELECT DISTINCT traceparent FROM publisher.publish_command"
    assert pipeline.rows(traces) == [(TRACE,)]


def test_ids_are_of_version_7_and_in_order(pipeline: Pipeline) -> None:
    video = pipeline.video()
    with transaction(pipeline.engine) as tx:
        ids = [call(tx, video) for _ in range(50)]
        row = tx.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    assert {each.version for each in ids} == {7}
    assert ids == sorted(ids)
    made_at = datetime.fromtimestamp((ids[-1].int >> 80) / 1000, UTC)
    assert timedelta() <= row[0] - made_at < timedelta(minutes=1)


def test_a_trace_that_is_not_valid_is_ignored(pipeline: Pipeline) -> None:
    enqueue(pipeline, pipeline.video(), traceparent="nonsense")
    assert pipeline.value("SELECT traceparent FROM publisher.publish_command") is None


def test_unpublish_withdraws(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    command_id = enqueue(pipeline, video, UNPUBLISH)
    pipeline.run()
    assert pipeline.command(command_id).state == "unpublished"


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "state", "says"),
    [
        ({"workspace_id": 2}, "PW404", "workspace_id"),
        ({"expected_revision": 3}, "PW412", "It is at revision 0."),
        ({"fold": 1}, "PW422", "Correct the arguments"),
    ],
)
def test_a_refusal_has_a_state_and_says_what_to_do(
    pipeline: Pipeline, arguments: dict[str, Any], state: str, says: str
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        enqueue(pipeline, pipeline.video(), **arguments)
    assert refused.value.sqlstate == state
    assert says in str(refused.value.diag.message_hint)


def test_a_video_must_be_named(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as tx:
        assert find_refusal(tx, None) == ("PW422", "video_id must be 1 or more")


def test_a_workspace_has_a_limited_number_of_open_commands(pipeline: Pipeline) -> None:
    pipeline.execute(
        "INSERT INTO publisher.open_command_count VALUES (1, %s, now())", limits.PER_WORKSPACE - 1
    )
    with transaction(pipeline.engine) as tx:
        call(tx, pipeline.video())
        state, text = find_refusal(tx, pipeline.video())
        assert (state, text[:44]) == ("PW429", "Workspace 1 may have 1000000 open commands a")
        call(tx, pipeline.video(workspace_id=2))


@pytest.mark.parametrize("setting", ["1 junk", "1 -1000000", "junk"])
def test_a_setting_of_the_session_does_not_break_the_count(
    pipeline: Pipeline, setting: str
) -> None:
    video = pipeline.video()
    with transaction(pipeline.engine) as tx:
        tx.execute("SELECT set_config('publisher.counted', %s, false)", [setting])
        call(tx, video)
        [counted] = tx.execute("SELECT current_setting('publisher.counted')").fetchone() or ("",)
    assert counted.endswith(" 1")


def test_a_setting_of_the_session_does_not_lower_the_kept_count(pipeline: Pipeline) -> None:
    pipeline.execute(
        "INSERT INTO publisher.open_command_count VALUES (1, %s, now())", limits.PER_WORKSPACE
    )
    video = pipeline.video()
    with transaction(pipeline.engine) as tx:
        tx.execute("SELECT set_config('publisher.counted', '1 0', false)")
        assert find_refusal(tx, video)[0] == "PW429"


def test_a_time_zone_of_any_text_is_refused_with_a_key_as_without(pipeline: Pipeline) -> None:
    video = pipeline.video()
    times: dict[str, Any] = {
        "publish_at_local": datetime(2030, 6, 1),  # noqa: DTZ001 - a wall-clock time
        "time_zone": 'Europe/"Berlin\\',
    }
    with transaction(pipeline.engine) as tx:
        without = find_refusal(tx, video, **times)
        assert find_refusal(tx, video, idempotency_key="k", **times) == without
    assert without[0] == "PW422"


def test_without_the_platforms_tables_it_says_so(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.execute("ALTER TABLE video RENAME TO other")
    with transaction(pipeline.engine) as tx:
        state, text = find_refusal(tx, video)
    assert (state, text[:35]) == ("PW503", "The platform's table video was not ")


# --- idempotency keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [PUBLISH, UNPUBLISH])
def test_the_same_request_with_a_key_is_one_command(pipeline: Pipeline, function: str) -> None:
    video, at = pipeline.video(), in_an_hour()
    given: dict[str, Any] = {"unpublish_at": at, "idempotency_key": "k"}
    first = enqueue(pipeline, video, function, **given)
    with transaction(pipeline.engine) as tx:
        tx.execute("SET LOCAL TimeZone = 'Asia/Kathmandu'")
        again = call(tx, video, function, correlation_id="other", **given)
        assert again == first
        state, _ = find_refusal(tx, video, function, **given | {"unpublish_at": None})
        assert state == "PW409"
        assert find_refusal(tx, video, PUBLISH if function == UNPUBLISH else UNPUBLISH, **given)[0]


def test_a_key_that_another_transaction_stores_is_waited_for(pipeline: Pipeline) -> None:
    video = pipeline.video()
    found: list[UUID] = []

    def enqueue_again() -> None:
        found.append(enqueue(pipeline, video, idempotency_key="k"))

    with transaction(pipeline.engine) as tx:
        first = call(tx, video, idempotency_key="k")
        other = threading.Thread(target=enqueue_again)
        other.start()
        wait_until(lambda: is_any_waiting(pipeline), "the other transaction to wait")
    other.join()
    assert found == [first]
    assert pipeline.value(COUNT) == 1


def is_any_waiting(pipeline: Pipeline) -> bool:
    return pipeline.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")


def run_together(*actions: Callable[[], None]) -> None:
    threads = [threading.Thread(target=each) for each in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
