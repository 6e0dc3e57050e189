"""Generation reports: applied in one transaction, taken from the stream without losing any."""

import json
import threading
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
from psycopg import errors
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisAway
from redis.retry import Retry
from sqlalchemy import Engine

from db.session import connect, transaction
from schemas.generation import GenerationReport, GenerationState, ReportKind
from tests.support.pipeline import Pipeline
from tests.support.platform import make_videos
from tests.support.statements import counted
from tests.support.waiting import PATIENCE
from worker.generation import stream
from worker.generation.apply import ReportRefused, apply_reports
from worker.generation.stream import GROUP, STREAM, open_group, take_reports
from worker.runtime import redis_streams

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
FILE = "https://cdn.example.com/done.mp4"
ROW = """
SELECT status, internal_status, generation_progress, is_regenerating, video, duration
FROM video WHERE id = %s
"""
KEPT = """
SELECT run, is_final, reported_at, progress, completed, detail
FROM publisher.video_generation WHERE video_id = %s
"""
POISON = """
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.title = 'poison' THEN RAISE EXCEPTION 'this row is poisonous'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER poison BEFORE UPDATE ON video FOR EACH ROW EXECUTE FUNCTION poison();
"""
DRAFT: dict[str, Any] = {
    "status": "not_started",
    "internal_status": "planning",
    "generation_progress": 0,
    "video": None,
}
numbers = count(1)


def report(kind: str = "completed", minute: int = 0, **fields: Any) -> GenerationReport:
    time = NOON + timedelta(minutes=minute)
    return GenerationReport(kind=ReportKind(kind), time=time, **fields)


def apply(
    pipeline: Pipeline, *reported: tuple[int, GenerationReport]
) -> list[GenerationState | None]:
    return apply_reports(pipeline.engine, reported, None)


def row(pipeline: Pipeline, video: int) -> tuple[Any, ...]:
    return pipeline.rows(ROW, video)[0]


def document(subject: object, kind: str = "completed", **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"r-{next(numbers)}",
        "source": "/pipelines/3",
        "type": f"video.generation.{kind}",
        "subject": str(subject),
        "time": "2026-11-24T12:00:00Z",
        "data": data,
    }


def put(pipeline: Pipeline, *events: object) -> list[bytes]:
    """Put events on the stream, as a pipeline does; return the entries' ids."""
    ids: list[Any] = [
        pipeline.redis.xadd(STREAM, {"event": e if isinstance(e, bytes | str) else json.dumps(e)})
        for e in events
    ]
    return ids


def take(pipeline: Pipeline, consumer: str = "one") -> int:
    return take_reports(pipeline.engine, open_group(pipeline.redis, consumer), seconds=PATIENCE)


def trim(pipeline: Pipeline, age: timedelta) -> int:
    return open_group(pipeline.redis).trim(age)


def count_pending(pipeline: Pipeline) -> int:
    found: Any = pipeline.redis.xpending(STREAM, GROUP)
    return found["pending"]


def read_quarantine(pipeline: Pipeline) -> list[tuple[str, str]]:
    return pipeline.rows("SELECT body, error FROM publisher.quarantined_message ORDER BY id")  # pyright: ignore[reportReturnType]


# Applying reports


def test_a_report_updates_the_platforms_row(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    [state] = apply(pipeline, (video, report("progressed", internal_status="visuals")))
    assert state is not None
    assert (state.applied, state.status, state.internal_status) == (True, "in_progress", "visuals")
    assert row(pipeline, video) == ("in_progress", "visuals", 0, False, None, None)
    apply(pipeline, (video, report(minute=1, video=FILE, duration=312)))
    assert row(pipeline, video) == ("completed", "completed", 100, False, FILE, 312)


def test_the_deciding_report_is_stored(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    apply(pipeline, (video, report("failed", run=2, detail="No sound.")))
    assert pipeline.rows(KEPT, video) == [(2, True, NOON, 0, False, "No sound.")]


def test_a_report_without_a_time_gets_the_current_time(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    apply(pipeline, (video, GenerationReport(kind=ReportKind.FAILED)))
    reported_at = pipeline.value("SELECT reported_at FROM publisher.video_generation")
    assert abs(reported_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_several_reports_on_a_video_are_applied_in_order(pipeline: Pipeline) -> None:
    video, other = pipeline.video(**DRAFT), pipeline.video(**DRAFT)
    states = apply(
        pipeline,
        (video, report("progressed", 1, generation_progress=40)),
        (other, report("progressed", 1)),
        (video, report("completed", 2, video=FILE)),
        (video, report("progressed", 3, generation_progress=60)),
    )
    assert [state and state.applied for state in states] == [True, True, True, False]
    assert states[3] is not None
    assert (states[3].reason, states[3].status) == ("behind", "completed")
    assert row(pipeline, video)[0] == "completed"
    assert row(pipeline, other)[0] == "in_progress"


def test_a_repeated_report_writes_nothing(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    apply(pipeline, (video, report(video=FILE)))
    before = pipeline.rows("SELECT xmin::text, updated_at FROM video")
    [state] = apply(pipeline, (video, report(video=FILE)))
    assert state is not None
    assert (state.applied, state.reason) == (False, "repeated")
    assert pipeline.rows("SELECT xmin::text, updated_at FROM video") == before


def test_a_report_that_changes_no_column_leaves_the_row_alone(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    apply(pipeline, (video, report("progressed", 1, generation_progress=40)))
    before = pipeline.rows("SELECT xmin::text FROM video")
    apply(pipeline, (video, report("progressed", 2, generation_progress=40)))
    assert pipeline.rows("SELECT xmin::text FROM video") == before
    assert pipeline.rows(KEPT, video)[0][2] == NOON + timedelta(minutes=2)


def test_a_video_of_another_workspace_is_unknown(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    assert apply_reports(pipeline.engine, [(video, report())], 2) == [None]
    assert apply_reports(pipeline.engine, [(999_999, report())], None) == [None]
    assert row(pipeline, video)[0] == "not_started"


def test_a_report_sets_updated_at(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT, updated_at=NOON - timedelta(days=365))
    apply(pipeline, (video, report("progressed")))
    assert pipeline.value("SELECT now() - updated_at < interval '1 minute' FROM video")


@pytest.mark.parametrize("size", [1, 300])
def test_a_batch_of_any_size_costs_the_same_statements(pipeline: Pipeline, size: int) -> None:
    with transaction(pipeline.engine) as tx:
        videos = make_videos(tx, [DRAFT] * size * 2)
    batch = [
        (video, report(video=FILE) if n % 2 else report("progressed"))
        for n, video in enumerate(videos)
    ]
    with counted() as statements:
        apply_reports(pipeline.engine, batch, None)
    assert len([text for text in statements if text != ";"]) == 6, statements  # ";": the pool's
    assert pipeline.value("SELECT count(*) FROM video WHERE status = 'completed'") == size


@pytest.mark.usefixtures("patient_locks")
def test_concurrent_reports_on_one_video_are_all_applied(
    pipeline: Pipeline, database_url: str
) -> None:
    """Each waits for the row lock, and must then see the stored keys of the others, too."""
    videos = [pipeline.video(**DRAFT) for _ in range(5)]
    engine = connect(database_url, pool_size=12)
    started = threading.Barrier(12)
    results: list[GenerationState | None] = []

    def send(number: int) -> None:
        started.wait()
        order = videos if number % 2 else videos[::-1]
        said = report("progressed", number, generation_progress=number)
        results.extend(apply_reports(engine, [(video, said) for video in order], None))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    assert len(results) == 60
    for video in videos:
        assert row(pipeline, video)[:3] == ("in_progress", "planning", 11)
        assert pipeline.rows(KEPT, video)[0][2:4] == (NOON + timedelta(minutes=11), 11)


def test_a_waiting_command_is_carried_out_once_completion_is_reported(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    [command] = pipeline.publish(video)
    assert command.state == "waiting"
    apply(pipeline, (video, report(video=FILE)))
    pipeline.run()
    assert pipeline.command(command.id).state == "published"


def test_a_refusal_of_the_platforms_table_raises_report_refused(pipeline: Pipeline) -> None:
    pipeline.execute(POISON)
    with pytest.raises(ReportRefused, match="this row is poisonous"):
        apply(pipeline, (pipeline.video(**DRAFT, title="poison"), report()))


# The stream


def test_reports_are_taken_from_the_stream(pipeline: Pipeline) -> None:
    video, other = pipeline.video(**DRAFT), pipeline.video(**DRAFT)
    put(pipeline, document(video, video=FILE, duration=9), document(other, "failed", detail="Why."))
    assert take(pipeline) == 2
    assert row(pipeline, video) == ("completed", "completed", 100, False, FILE, 9)
    assert row(pipeline, other)[0] == "failed"
    assert (count_pending(pipeline), take(pipeline), read_quarantine(pipeline)) == (0, 0, [])


def test_an_absent_stream_is_not_an_error_and_early_entries_are_taken(
    pipeline: Pipeline,
) -> None:
    assert take(pipeline) == 0
    pipeline.redis.flushall()
    put(pipeline, document(pipeline.video(**DRAFT)))
    assert take(pipeline) == 1


def test_many_reports_are_taken_in_batches(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as tx:
        videos = make_videos(tx, [DRAFT] * 25)
    put(pipeline, *(document(video) for video in videos))
    with patch.object(stream, "BATCH", 10):
        assert take(pipeline) == 25
    assert pipeline.value("SELECT count(*) FROM video WHERE status = 'completed'") == 25


def test_a_run_ends_when_its_budget_is_spent(pipeline: Pipeline) -> None:
    put(pipeline, *(document(pipeline.video(**DRAFT)) for _ in range(6)))
    with patch.object(stream, "BATCH", 2):
        assert take_reports(pipeline.engine, open_group(pipeline.redis, "one"), seconds=0) == 2
    assert take(pipeline) == 4


@pytest.mark.parametrize(
    "event",
    [
        "no JSON",
        b"\xff\xfe",
        "",
        "[]",
        '"nul \\u0000"',
        "[" * 5_000,
        json.dumps(document("seven")),
        json.dumps(document(999_999)),
        json.dumps(document(1, "started")),
        json.dumps(document(1, "failed", video=FILE)),
    ],
)
def test_an_unreadable_entry_is_quarantined_and_blocks_nothing(
    pipeline: Pipeline, event: Any
) -> None:
    first, last = pipeline.video(**DRAFT), pipeline.video(**DRAFT)
    put(pipeline, document(first), event, document(last))
    assert take(pipeline) == 3
    assert (row(pipeline, first)[0], row(pipeline, last)[0]) == ("completed", "completed")
    [(body, error)] = read_quarantine(pipeline)
    assert json.loads(body)["stream"] == STREAM
    assert error
    assert (count_pending(pipeline), take(pipeline)) == (0, 0)


def in_base64(event: dict[str, Any], data: bytes | None = None) -> dict[str, Any]:
    encoded = b64encode(data or json.dumps(event["data"]).encode()).decode()
    return {**event, "data": None, "data_base64": encoded}


def test_reports_are_read_as_cloudevents_sdks_write_them(pipeline: Pipeline) -> None:
    videos = [pipeline.video(**DRAFT) for _ in range(6)]
    events = [document(video, video=FILE) for video in videos]
    events[0] = in_base64(events[0])
    del events[0]["data"]
    events[1] = {**events[1], "datacontenttype": "application/json; charset=utf-8"}
    events[1] |= {"traced": True, "attempt": 3, "shape": "AAE=", "traceparent": None}
    events[2] = in_base64(events[2], b'\xef\xbb\xbf{"video": "%s"}' % FILE.encode())
    events[3] |= {"data": json.dumps(events[3]["data"]), "data_base64": None}
    events[4] = in_base64(events[4]) | {"datacontenttype": None}
    del events[5]["time"]
    put(pipeline, *events)
    assert take(pipeline) == 6
    assert read_quarantine(pipeline) == []
    assert [row(pipeline, video)[4] for video in videos] == [FILE] * 6


@pytest.mark.parametrize(
    "data",
    [
        {"data_base64": "e30=", "data": {}},
        {"data_base64": "not base64"},
        {"data_base64": "e3"},
        {"data_base64": "//79"},
        {"data_base64": b64encode(b"[" * 5_000).decode()},
        {"data_base64": 7},
        {"data_base64": {}},
        {"data": "no JSON"},
        {"data": None},
    ],
)
def test_data_that_is_not_json_is_quarantined(pipeline: Pipeline, data: dict[str, Any]) -> None:
    event = document(pipeline.video(**DRAFT))
    del event["data"]
    put(pipeline, event | data)
    assert take(pipeline) == 1
    assert len(read_quarantine(pipeline)) == 1


def test_a_report_without_a_time_has_that_of_its_entry_however_often_it_comes(
    pipeline: Pipeline,
) -> None:
    video = pipeline.video(**DRAFT)
    event = document(video)
    del event["time"]
    pipeline.redis.xadd(STREAM, {"event": json.dumps(event)}, id="1700000000000-0")
    take(pipeline)
    [(_, _, reported_at, *_)] = pipeline.rows(KEPT, video)
    assert reported_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize("ahead", ["4000000000000-0", "18446744073709551615-0"])
def test_reports_without_a_time_go_on_after_an_id_in_the_future(
    pipeline: Pipeline, ahead: str
) -> None:
    pipeline.redis.xadd(STREAM, {"event": "forged"}, id=ahead)
    video = pipeline.video(**DRAFT)
    event = document(video)
    del event["time"]
    pipeline.redis.xadd(STREAM, {"event": json.dumps(event)})
    take(pipeline)
    [(_, _, reported_at, *_)] = pipeline.rows(KEPT, video)
    assert abs(reported_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_entry_with_other_fields_is_quarantined_with_all_of_them(pipeline: Pipeline) -> None:
    pipeline.redis.xadd(STREAM, {"evnet": "typo", b"\xff": "odd"})
    assert take(pipeline) == 1
    [(body, _)] = read_quarantine(pipeline)
    assert json.loads(body)["fields"] == {"evnet": "typo", "\\xff": "odd"}


def test_a_refused_report_does_not_block_its_batch(pipeline: Pipeline) -> None:
    pipeline.execute(POISON)
    videos = [pipeline.video(**DRAFT, title="poison" if n == 3 else f"Fine {n}") for n in range(8)]
    put(pipeline, *(document(video) for video in videos))
    assert take(pipeline) == 8
    assert [row(pipeline, video)[0] for video in videos].count("completed") == 7
    [(body, error)] = read_quarantine(pipeline)
    assert f'\\"subject\\": \\"{videos[3]}\\"' in body
    assert "this row is poisonous" in error
    assert count_pending(pipeline) == 0


def test_the_quarantine_of_a_refused_report_has_no_contents_of_rows(pipeline: Pipeline) -> None:
    pipeline.execute("ALTER TABLE video ADD CONSTRAINT drafts_only CHECK (status <> 'completed')")
    put(pipeline, document(pipeline.video(**DRAFT)))
    assert take(pipeline) == 1
    [(_, error)] = read_quarantine(pipeline)
    assert 'violates check constraint "drafts_only"' in error
    assert "Failing row contains" not in error


def test_nothing_is_acknowledged_while_the_database_is_unreachable(pipeline: Pipeline) -> None:
    put(pipeline, document(pipeline.video(**DRAFT)), "no JSON")
    away = connect("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Exception, match="refused"):
        take_reports(away, open_group(pipeline.redis, "one"))
    assert (count_pending(pipeline), read_quarantine(pipeline)) == (2, [])
    assert take(pipeline) == 2
    assert (count_pending(pipeline), len(read_quarantine(pipeline))) == (0, 1)


def test_a_report_on_a_locked_row_stays_pending(pipeline: Pipeline) -> None:
    held, free = pipeline.video(**DRAFT), pipeline.video(**DRAFT)
    put(pipeline, document(held), document(free))
    with pipeline.holding("UPDATE video SET title = 'held' WHERE id = %s", held):
        take(pipeline)
        assert (row(pipeline, held)[0], row(pipeline, free)[0]) == ("not_started", "completed")
        assert (count_pending(pipeline), read_quarantine(pipeline)) == (1, [])
    take(pipeline)
    assert (row(pipeline, held)[0], count_pending(pipeline)) == ("completed", 0)


def test_a_direct_report_waits_for_a_locked_row_only_a_short_time(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    with (
        pipeline.holding("UPDATE video SET title = 'held' WHERE id = %s", video),
        pytest.raises(errors.LockNotAvailable),
    ):
        apply_reports(pipeline.engine, [(video, report())], None)


def test_a_crash_between_commit_and_acknowledgement_changes_nothing(pipeline: Pipeline) -> None:
    video = pipeline.video(**DRAFT)
    put(pipeline, document(video))
    with patch.object(Redis, "xack", side_effect=RedisAway("gone")), pytest.raises(RedisAway):
        take(pipeline)
    before = pipeline.rows("SELECT xmin::text FROM video")
    assert count_pending(pipeline) == 1
    assert take(pipeline) == 1
    assert pipeline.rows("SELECT xmin::text FROM video") == before
    assert count_pending(pipeline) == 0


def test_reports_are_postponed_while_redis_is_unreachable(
    pipeline: Pipeline, engine: Engine
) -> None:
    with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
        assert stream.take_or_postpone(engine, nowhere) == 0
    video = pipeline.video(**DRAFT)
    put(pipeline, document(video))
    assert stream.take_or_postpone(engine, pipeline.redis) == 1


def test_pending_entries_of_a_dead_consumer_are_taken_over(pipeline: Pipeline) -> None:
    video, other = pipeline.video(**DRAFT), pipeline.video(**DRAFT)
    abandon(pipeline, document(video), document(other))
    assert take(pipeline) == 0
    with patch.object(redis_streams, "ABANDONED_MS", 0):
        assert take(pipeline) == 2
    assert (row(pipeline, video)[0], row(pipeline, other)[0]) == ("completed", "completed")
    assert count_pending(pipeline) == 0


def test_an_entry_removed_from_the_stream_while_abandoned_is_dropped(pipeline: Pipeline) -> None:
    [gone, _] = abandon(
        pipeline, document(pipeline.video(**DRAFT)), document(pipeline.video(**DRAFT))
    )
    pipeline.redis.xdel(STREAM, gone)
    with patch.object(redis_streams, "ABANDONED_MS", 0):
        assert take(pipeline) == 1
    assert (count_pending(pipeline), read_quarantine(pipeline)) == (0, [])


def test_an_entry_removed_from_the_stream_while_pending_is_dropped(pipeline: Pipeline) -> None:
    [gone] = abandon(pipeline, document(pipeline.video(**DRAFT)), consumer="one")
    pipeline.redis.xdel(STREAM, gone)
    take(pipeline)
    assert (count_pending(pipeline), read_quarantine(pipeline)) == (0, [])


def test_concurrent_consumers_take_each_report(pipeline: Pipeline, redis_url: str) -> None:
    with transaction(pipeline.engine) as tx:
        videos = make_videos(tx, [DRAFT] * 60)
    put(pipeline, *(document(video) for video in videos))
    clients = [Redis.from_url(redis_url) for _ in range(4)]
    threads = [
        threading.Thread(target=take_reports, args=(pipeline.engine, open_group(client, f"c{n}")))
        for n, client in enumerate(clients)
    ]
    with patch.object(stream, "BATCH", 7):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for client in clients:
        client.close()
    assert pipeline.value("SELECT count(*) FROM video WHERE status = 'completed'") == 60
    assert (count_pending(pipeline), read_quarantine(pipeline)) == (0, [])


# Trimming


def test_trimming_removes_old_acknowledged_entries(pipeline: Pipeline) -> None:
    put(pipeline, *(document(pipeline.video(**DRAFT)) for _ in range(4)))
    assert trim(pipeline, timedelta(0)) == 0  # none has been read
    take(pipeline)
    assert trim(pipeline, timedelta(days=1)) == 0  # none is old
    trim(pipeline, timedelta(seconds=-60))
    assert pipeline.redis.xlen(STREAM) == 1  # the last one marks how far the group has read
    put(pipeline, document(pipeline.video(**DRAFT)))
    assert take(pipeline) == 1


def test_trimming_keeps_pending_entries(pipeline: Pipeline) -> None:
    [first] = abandon(pipeline, document(pipeline.video(**DRAFT)), consumer="dead")
    put(pipeline, document(pipeline.video(**DRAFT)))
    take(pipeline)
    assert trim(pipeline, timedelta(seconds=-60)) == 0
    entries: Any = pipeline.redis.xrange(STREAM)
    assert entries[0][0] == first


def test_trimming_an_absent_stream_does_nothing(pipeline: Pipeline) -> None:
    assert trim(pipeline, timedelta(0)) == 0
    assert not pipeline.redis.exists(STREAM)


def test_dead_consumers_are_removed_unless_they_have_pending_entries(pipeline: Pipeline) -> None:
    abandon(pipeline, document(pipeline.video(**DRAFT)), consumer="busy")
    take(pipeline, "idle")
    trim(pipeline, timedelta(0))
    assert consumers(pipeline) == {"busy", "idle"}
    with patch.object(redis_streams, "DEAD_MS", 0):
        trim(pipeline, timedelta(0))
    assert consumers(pipeline) == {"busy"}


def abandon(pipeline: Pipeline, *events: object, consumer: str = "dead") -> list[bytes]:
    """Entries that were delivered to a consumer and never acknowledged."""
    take(pipeline)  # makes the group
    ids = put(pipeline, *events)
    pipeline.redis.xreadgroup(GROUP, consumer, {STREAM: ">"})
    return ids


def consumers(pipeline: Pipeline) -> set[str]:
    found: Any = pipeline.redis.xinfo_consumers(STREAM, GROUP)
    return {consumer["name"].decode() for consumer in found} - {"one"}
