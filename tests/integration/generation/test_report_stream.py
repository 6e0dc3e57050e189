"""Generation reports: applied in one transaction, taken from the stream without losing any."""

import json
import threading
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
from psycopg import errors
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from sqlalchemy import Engine

from db.session import connect, transaction
from schemas.generation import GenerationReport, GenerationState, ReportKind
from tests.support.pipeline import Desk
from tests.support.platform import make_videos
from tests.support.statements import counted
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


def apply(desk: Desk, *reported: tuple[int, GenerationReport]) -> list[GenerationState | None]:
    return apply_reports(desk.engine, reported, None)


def row(desk: Desk, video: int) -> tuple[Any, ...]:
    return desk.rows(ROW, video)[0]


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


def put(desk: Desk, *events: object) -> list[bytes]:
    """Put events on the stream, as a pipeline does; return the entries' ids."""
    ids: list[Any] = [
        desk.redis.xadd(STREAM, {"event": e if isinstance(e, bytes | str) else json.dumps(e)})
        for e in events
    ]
    return ids


def take(desk: Desk, consumer: str = "one") -> int:
    return take_reports(desk.engine, open_group(desk.redis, consumer))


def trim(desk: Desk, age: timedelta) -> int:
    return open_group(desk.redis).trim(age)


def count_pending(desk: Desk) -> int:
    found: Any = desk.redis.xpending(STREAM, GROUP)
    return found["pending"]


def read_quarantine(desk: Desk) -> list[tuple[str, str]]:
    return desk.rows("SELECT body, error FROM publisher.set_aside_message ORDER BY id")  # pyright: ignore[reportReturnType]


# Applying reports


def test_a_report_updates_the_platforms_row(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    [state] = apply(desk, (video, report("progressed", internal_status="visuals")))
    assert state is not None
    assert (state.applied, state.status, state.internal_status) == (True, "in_progress", "visuals")
    assert row(desk, video) == ("in_progress", "visuals", 0, False, None, None)
    apply(desk, (video, report(minute=1, video=FILE, duration=312)))
    assert row(desk, video) == ("completed", "completed", 100, False, FILE, 312)


def test_the_deciding_report_is_stored(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    apply(desk, (video, report("failed", run=2, detail="No sound.")))
    assert desk.rows(KEPT, video) == [(2, True, NOON, 0, False, "No sound.")]


def test_a_report_without_a_time_gets_the_current_time(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    apply(desk, (video, GenerationReport(kind=ReportKind.FAILED)))
    reported_at = desk.value("SELECT reported_at FROM publisher.video_generation")
    assert abs(reported_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_several_reports_on_a_video_are_applied_in_order(desk: Desk) -> None:
    video, other = desk.video(**DRAFT), desk.video(**DRAFT)
    states = apply(
        desk,
        (video, report("progressed", 1, generation_progress=40)),
        (other, report("progressed", 1)),
        (video, report("completed", 2, video=FILE)),
        (video, report("progressed", 3, generation_progress=60)),
    )
    assert [state and state.applied for state in states] == [True, True, True, False]
    assert states[3] is not None
    assert (states[3].reason, states[3].status) == ("behind", "completed")
    assert row(desk, video)[0] == "completed"
    assert row(desk, other)[0] == "in_progress"


def test_a_repeated_report_writes_nothing(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    apply(desk, (video, report(video=FILE)))
    before = desk.rows("SELECT xmin::text, updated_at FROM video")
    [state] = apply(desk, (video, report(video=FILE)))
    assert state is not None
    assert (state.applied, state.reason) == (False, "repeated")
    assert desk.rows("SELECT xmin::text, updated_at FROM video") == before


def test_a_report_that_changes_no_column_leaves_the_row_alone(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    apply(desk, (video, report("progressed", 1, generation_progress=40)))
    before = desk.rows("SELECT xmin::text FROM video")
    apply(desk, (video, report("progressed", 2, generation_progress=40)))
    assert desk.rows("SELECT xmin::text FROM video") == before
    assert desk.rows(KEPT, video)[0][2] == NOON + timedelta(minutes=2)


def test_a_video_of_another_workspace_is_unknown(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    assert apply_reports(desk.engine, [(video, report())], 2) == [None]
    assert apply_reports(desk.engine, [(999_999, report())], None) == [None]
    assert row(desk, video)[0] == "not_started"


def test_a_report_sets_updated_at(desk: Desk) -> None:
    video = desk.video(**DRAFT, updated_at=NOON - timedelta(days=365))
    apply(desk, (video, report("progressed")))
    assert desk.value("SELECT now() - updated_at < interval '1 minute' FROM video")


@pytest.mark.parametrize("size", [1, 300])
def test_a_batch_of_any_size_costs_the_same_statements(desk: Desk, size: int) -> None:
    with transaction(desk.engine) as tx:
        videos = make_videos(tx, [DRAFT] * size * 2)
    batch = [
        (video, report(video=FILE) if n % 2 else report("progressed"))
        for n, video in enumerate(videos)
    ]
    with counted() as statements:
        apply_reports(desk.engine, batch, None)
    assert len([text for text in statements if text != ";"]) == 6, statements  # ";": the pool's
    assert desk.value("SELECT count(*) FROM video WHERE status = 'completed'") == size


def test_concurrent_reports_on_one_video_are_all_applied(desk: Desk, database_url: str) -> None:
    """Each waits for the row lock, and must then see the stored keys of the others, too."""
    videos = [desk.video(**DRAFT) for _ in range(5)]
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
        assert row(desk, video)[:3] == ("in_progress", "planning", 11)
        assert desk.rows(KEPT, video)[0][2:4] == (NOON + timedelta(minutes=11), 11)


def test_a_waiting_command_is_carried_out_once_completion_is_reported(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    [command] = desk.publish(video)
    assert command.state == "waiting"
    apply(desk, (video, report(video=FILE)))
    desk.run()
    assert desk.command(command.id).state == "published"


def test_a_refusal_of_the_platforms_table_raises_report_refused(desk: Desk) -> None:
    desk.execute(POISON)
    with pytest.raises(ReportRefused, match="this row is poisonous"):
        apply(desk, (desk.video(**DRAFT, title="poison"), report()))


# The stream


def test_reports_are_taken_from_the_stream(desk: Desk) -> None:
    video, other = desk.video(**DRAFT), desk.video(**DRAFT)
    put(desk, document(video, video=FILE, duration=9), document(other, "failed", detail="Why."))
    assert take(desk) == 2
    assert row(desk, video) == ("completed", "completed", 100, False, FILE, 9)
    assert row(desk, other)[0] == "failed"
    assert (count_pending(desk), take(desk), read_quarantine(desk)) == (0, 0, [])


def test_an_absent_stream_is_not_an_error_and_early_entries_are_taken(
    desk: Desk,
) -> None:
    assert take(desk) == 0
    desk.redis.flushall()
    put(desk, document(desk.video(**DRAFT)))
    assert take(desk) == 1


def test_many_reports_are_taken_in_batches(desk: Desk) -> None:
    with transaction(desk.engine) as tx:
        videos = make_videos(tx, [DRAFT] * 25)
    put(desk, *(document(video) for video in videos))
    with patch.object(stream, "BATCH", 10):
        assert take(desk) == 25
    assert desk.value("SELECT count(*) FROM video WHERE status = 'completed'") == 25


def test_a_run_ends_when_its_budget_is_spent(desk: Desk) -> None:
    put(desk, *(document(desk.video(**DRAFT)) for _ in range(6)))
    with patch.object(stream, "BATCH", 2):
        assert take_reports(desk.engine, open_group(desk.redis, "one"), seconds=0) == 2
    assert take(desk) == 4


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
def test_an_unreadable_entry_is_quarantined_and_blocks_nothing(desk: Desk, event: Any) -> None:
    first, last = desk.video(**DRAFT), desk.video(**DRAFT)
    put(desk, document(first), event, document(last))
    assert take(desk) == 3
    assert (row(desk, first)[0], row(desk, last)[0]) == ("completed", "completed")
    [(body, error)] = read_quarantine(desk)
    assert json.loads(body)["stream"] == STREAM
    assert error
    assert (count_pending(desk), take(desk)) == (0, 0)


def test_an_entry_with_other_fields_is_quarantined_with_all_of_them(desk: Desk) -> None:
    desk.redis.xadd(STREAM, {"evnet": "typo", b"\xff": "odd"})
    assert take(desk) == 1
    [(body, _)] = read_quarantine(desk)
    assert json.loads(body)["fields"] == {"evnet": "typo", "\\xff": "odd"}


def test_a_refused_report_does_not_block_its_batch(desk: Desk) -> None:
    desk.execute(POISON)
    videos = [desk.video(**DRAFT, title="poison" if n == 3 else f"Fine {n}") for n in range(8)]
    put(desk, *(document(video) for video in videos))
    assert take(desk) == 8
    assert [row(desk, video)[0] for video in videos].count("completed") == 7
    [(body, error)] = read_quarantine(desk)
    assert f'\\"subject\\": \\"{videos[3]}\\"' in body
    assert "this row is poisonous" in error
    assert count_pending(desk) == 0


def test_nothing_is_acknowledged_while_the_database_is_unreachable(desk: Desk) -> None:
    put(desk, document(desk.video(**DRAFT)), "no JSON")
    away = connect("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Exception, match="refused"):
        take_reports(away, open_group(desk.redis, "one"))
    assert (count_pending(desk), read_quarantine(desk)) == (2, [])
    assert take(desk) == 2
    assert (count_pending(desk), len(read_quarantine(desk))) == (0, 1)


def test_a_report_on_a_locked_row_stays_pending(desk: Desk) -> None:
    held, free = desk.video(**DRAFT), desk.video(**DRAFT)
    put(desk, document(held), document(free))
    with desk.holding("UPDATE video SET title = 'held' WHERE id = %s", held):
        take(desk)
        assert (row(desk, held)[0], row(desk, free)[0]) == ("not_started", "completed")
        assert (count_pending(desk), read_quarantine(desk)) == (1, [])
    take(desk)
    assert (row(desk, held)[0], count_pending(desk)) == ("completed", 0)


def test_a_direct_report_waits_for_a_locked_row_only_a_short_time(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    with (
        desk.holding("UPDATE video SET title = 'held' WHERE id = %s", video),
        pytest.raises(errors.LockNotAvailable),
    ):
        apply_reports(desk.engine, [(video, report())], None)


def test_a_crash_between_commit_and_acknowledgement_changes_nothing(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    put(desk, document(video))
    with patch.object(Redis, "xack", side_effect=RedisAway("gone")), pytest.raises(RedisAway):
        take(desk)
    before = desk.rows("SELECT xmin::text FROM video")
    assert count_pending(desk) == 1
    assert take(desk) == 1
    assert desk.rows("SELECT xmin::text FROM video") == before
    assert count_pending(desk) == 0


def test_reports_are_postponed_while_redis_is_unreachable(desk: Desk, engine: Engine) -> None:
    with Redis(port=1) as nowhere:
        assert stream.take_or_postpone(engine, nowhere) == 0
    video = desk.video(**DRAFT)
    put(desk, document(video))
    assert stream.take_or_postpone(engine, desk.redis) == 1


def test_pending_entries_of_a_dead_consumer_are_taken_over(desk: Desk) -> None:
    video, other = desk.video(**DRAFT), desk.video(**DRAFT)
    abandon(desk, document(video), document(other))
    assert take(desk) == 0
    with patch.object(redis_streams, "ABANDONED_MS", 0):
        assert take(desk) == 2
    assert (row(desk, video)[0], row(desk, other)[0]) == ("completed", "completed")
    assert count_pending(desk) == 0


def test_an_entry_removed_from_the_stream_while_abandoned_is_dropped(desk: Desk) -> None:
    [gone, _] = abandon(desk, document(desk.video(**DRAFT)), document(desk.video(**DRAFT)))
    desk.redis.xdel(STREAM, gone)
    with patch.object(redis_streams, "ABANDONED_MS", 0):
        assert take(desk) == 1
    assert (count_pending(desk), read_quarantine(desk)) == (0, [])


def test_an_entry_removed_from_the_stream_while_pending_is_dropped(desk: Desk) -> None:
    [gone] = abandon(desk, document(desk.video(**DRAFT)), consumer="one")
    desk.redis.xdel(STREAM, gone)
    take(desk)
    assert (count_pending(desk), read_quarantine(desk)) == (0, [])


def test_concurrent_consumers_take_each_report(desk: Desk, redis_url: str) -> None:
    with transaction(desk.engine) as tx:
        videos = make_videos(tx, [DRAFT] * 60)
    put(desk, *(document(video) for video in videos))
    clients = [Redis.from_url(redis_url) for _ in range(4)]
    threads = [
        threading.Thread(target=take_reports, args=(desk.engine, open_group(client, f"c{n}")))
        for n, client in enumerate(clients)
    ]
    with patch.object(stream, "BATCH", 7):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for client in clients:
        client.close()
    assert desk.value("SELECT count(*) FROM video WHERE status = 'completed'") == 60
    assert (count_pending(desk), read_quarantine(desk)) == (0, [])


# Trimming


def test_trimming_removes_old_acknowledged_entries(desk: Desk) -> None:
    put(desk, *(document(desk.video(**DRAFT)) for _ in range(4)))
    assert trim(desk, timedelta(0)) == 0  # none has been read
    take(desk)
    assert trim(desk, timedelta(days=1)) == 0  # none is old
    trim(desk, timedelta(seconds=-60))
    assert desk.redis.xlen(STREAM) == 1  # the last one marks how far the group has read
    put(desk, document(desk.video(**DRAFT)))
    assert take(desk) == 1


def test_trimming_keeps_pending_entries(desk: Desk) -> None:
    [first] = abandon(desk, document(desk.video(**DRAFT)), consumer="dead")
    put(desk, document(desk.video(**DRAFT)))
    take(desk)
    assert trim(desk, timedelta(seconds=-60)) == 0
    entries: Any = desk.redis.xrange(STREAM)
    assert entries[0][0] == first


def test_trimming_an_absent_stream_does_nothing(desk: Desk) -> None:
    assert trim(desk, timedelta(0)) == 0
    assert not desk.redis.exists(STREAM)


def test_dead_consumers_are_removed_unless_they_have_pending_entries(desk: Desk) -> None:
    abandon(desk, document(desk.video(**DRAFT)), consumer="busy")
    take(desk, "idle")
    trim(desk, timedelta(0))
    assert consumers(desk) == {"busy", "idle"}
    with patch.object(redis_streams, "DEAD_MS", 0):
        trim(desk, timedelta(0))
    assert consumers(desk) == {"busy"}


def abandon(desk: Desk, *events: object, consumer: str = "dead") -> list[bytes]:
    """Entries that were delivered to a consumer and never acknowledged."""
    take(desk)  # makes the group
    ids = put(desk, *events)
    desk.redis.xreadgroup(GROUP, consumer, {STREAM: ">"})
    return ids


def consumers(desk: Desk) -> set[str]:
    found: Any = desk.redis.xinfo_consumers(STREAM, GROUP)
    return {consumer["name"].decode() for consumer in found} - {"one"}
