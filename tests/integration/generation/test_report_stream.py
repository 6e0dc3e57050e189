"""Generation reports: heard in one transaction, taken from the stream without losing any."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
from psycopg import errors
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from sqlalchemy import Engine

from db.session import Connection, connect, transaction
from schemas.generation import GenerationReport, GenerationState, ReportKind
from tests.support.pipeline import Desk
from tests.support.platform import make_videos
from tests.support.statements import counted
from worker.generation import stream
from worker.generation.stream import GROUP, STREAM, apply, take_from_stream, trim

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


def report(kind: str = "completed", minute: int = 0, **said: Any) -> GenerationReport:
    return GenerationReport(kind=ReportKind(kind), time=NOON + timedelta(minutes=minute), **said)


def heard(desk: Desk, *reported: tuple[int, GenerationReport]) -> list[GenerationState | None]:
    return apply(desk.engine, reported, None)


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


def taken(desk: Desk, consumer: str = "one") -> int:
    return take_from_stream(desk.engine, desk.redis, consumer=consumer)


def pending(desk: Desk) -> int:
    found: Any = desk.redis.xpending(STREAM, GROUP)
    return found["pending"]


def aside(desk: Desk) -> list[tuple[str, str]]:
    return desk.rows("SELECT body, error FROM publisher.set_aside_message ORDER BY id")  # pyright: ignore[reportReturnType]


# Hearing reports


def test_a_report_updates_the_platforms_row(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    [state] = heard(desk, (video, report("progressed", internal_status="visuals")))
    assert state is not None
    assert (state.applied, state.status, state.internal_status) == (True, "in_progress", "visuals")
    assert row(desk, video) == ("in_progress", "visuals", 0, False, None, None)
    heard(desk, (video, report(minute=1, video=FILE, duration=312)))
    assert row(desk, video) == ("completed", "completed", 100, False, FILE, 312)


def test_what_counted_is_kept(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    heard(desk, (video, report("failed", run=2, detail="No sound.")))
    assert desk.rows(KEPT, video) == [(2, True, NOON, 0, False, "No sound.")]


def test_a_report_without_a_time_is_of_now(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    heard(desk, (video, GenerationReport(kind=ReportKind.FAILED)))
    reported_at = desk.value("SELECT reported_at FROM publisher.video_generation")
    assert abs(reported_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_several_reports_of_a_video_are_heard_in_order(desk: Desk) -> None:
    video, other = desk.video(**DRAFT), desk.video(**DRAFT)
    states = heard(
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


def test_a_repeated_report_touches_nothing(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    heard(desk, (video, report(video=FILE)))
    before = desk.rows("SELECT xmin::text, updated_at FROM video")
    [state] = heard(desk, (video, report(video=FILE)))
    assert state is not None
    assert (state.applied, state.reason) == (False, "repeated")
    assert desk.rows("SELECT xmin::text, updated_at FROM video") == before


def test_a_report_that_changes_no_column_leaves_the_row_alone(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    heard(desk, (video, report("progressed", 1, generation_progress=40)))
    before = desk.rows("SELECT xmin::text FROM video")
    heard(desk, (video, report("progressed", 2, generation_progress=40)))
    assert desk.rows("SELECT xmin::text FROM video") == before
    assert desk.rows(KEPT, video)[0][2] == NOON + timedelta(minutes=2)


def test_what_lies_in_another_workspace_does_not_exist(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    assert apply(desk.engine, [(video, report())], 2) == [None]
    assert apply(desk.engine, [(999_999, report())], None) == [None]
    assert row(desk, video)[0] == "not_started"


def test_the_row_changes_updated_at(desk: Desk) -> None:
    video = desk.video(**DRAFT, updated_at=NOON - timedelta(days=365))
    heard(desk, (video, report("progressed")))
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
        apply(desk.engine, batch, None)
    assert len([text for text in statements if text != ";"]) == 6, statements  # ";": the pool's
    assert desk.value("SELECT count(*) FROM video WHERE status = 'completed'") == size


def test_reports_of_one_video_that_come_in_at_once_all_count(desk: Desk, database_url: str) -> None:
    """Each waits for the row, and must then see what the others kept, not only what they wrote."""
    videos = [desk.video(**DRAFT) for _ in range(5)]
    engine = connect(database_url, pool_size=12)
    started = threading.Barrier(12)
    results: list[GenerationState | None] = []

    def send(number: int) -> None:
        started.wait()
        order = videos if number % 2 else videos[::-1]
        said = report("progressed", number, generation_progress=number)
        results.extend(apply(engine, [(video, said) for video in order], None))

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


def test_a_command_that_waits_goes_out_once_completion_is_reported(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    [command] = desk.publish(video)
    assert command.state == "waiting"
    heard(desk, (video, report(video=FILE)))
    desk.run()
    assert desk.command(command.id).state == "published"


def test_what_the_platforms_table_refuses_is_told_apart(desk: Desk) -> None:
    desk.execute(POISON)
    with pytest.raises(stream.ReportRefused, match="this row is poisonous"):
        heard(desk, (desk.video(**DRAFT, title="poison"), report()))


@contextmanager
def hurried(engine: Engine) -> Generator[Connection]:
    """A transaction that waits for nobody."""
    with transaction(engine) as tx:
        tx.execute("SET LOCAL statement_timeout = 100")
        yield tx


# The stream


def test_reports_are_taken_from_the_stream(desk: Desk) -> None:
    video, other = desk.video(**DRAFT), desk.video(**DRAFT)
    put(desk, document(video, video=FILE, duration=9), document(other, "failed", detail="Why."))
    assert taken(desk) == 2
    assert row(desk, video) == ("completed", "completed", 100, False, FILE, 9)
    assert row(desk, other)[0] == "failed"
    assert (pending(desk), taken(desk), aside(desk)) == (0, 0, [])


def test_an_empty_stream_is_no_error_and_what_comes_before_the_group_is_taken(desk: Desk) -> None:
    assert taken(desk) == 0
    desk.redis.flushall()
    put(desk, document(desk.video(**DRAFT)))
    assert taken(desk) == 1


def test_many_are_taken_in_batches(desk: Desk) -> None:
    with transaction(desk.engine) as tx:
        videos = make_videos(tx, [DRAFT] * 25)
    put(desk, *(document(video) for video in videos))
    with patch.object(stream, "BATCH", 10):
        assert taken(desk) == 25
    assert desk.value("SELECT count(*) FROM video WHERE status = 'completed'") == 25


def test_a_run_ends_when_its_time_is_used_up(desk: Desk) -> None:
    put(desk, *(document(desk.video(**DRAFT)) for _ in range(6)))
    with patch.object(stream, "BATCH", 2), patch.object(stream, "BUDGET_SECONDS", 0.0):
        assert taken(desk) == 2
    assert taken(desk) == 4


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
def test_what_makes_no_sense_is_set_aside_and_holds_nothing_up(desk: Desk, event: Any) -> None:
    first, last = desk.video(**DRAFT), desk.video(**DRAFT)
    put(desk, document(first), event, document(last))
    assert taken(desk) == 3
    assert (row(desk, first)[0], row(desk, last)[0]) == ("completed", "completed")
    [(body, error)] = aside(desk)
    assert json.loads(body)["stream"] == STREAM
    assert error
    assert (pending(desk), taken(desk)) == (0, 0)


def test_an_entry_with_other_fields_is_set_aside_with_all_of_them(desk: Desk) -> None:
    desk.redis.xadd(STREAM, {"evnet": "typo", b"\xff": "odd"})
    assert taken(desk) == 1
    [(body, _)] = aside(desk)
    assert json.loads(body)["fields"] == {"evnet": "typo", "\\xff": "odd"}


def test_a_report_that_the_table_refuses_does_not_spoil_its_batch(desk: Desk) -> None:
    desk.execute(POISON)
    videos = [desk.video(**DRAFT, title="poison" if n == 3 else f"Fine {n}") for n in range(8)]
    put(desk, *(document(video) for video in videos))
    assert taken(desk) == 8
    assert [row(desk, video)[0] for video in videos].count("completed") == 7
    [(body, error)] = aside(desk)
    assert f'\\"subject\\": \\"{videos[3]}\\"' in body
    assert "this row is poisonous" in error
    assert pending(desk) == 0


def test_while_the_database_is_away_nothing_is_acknowledged(desk: Desk) -> None:
    put(desk, document(desk.video(**DRAFT)), "no JSON")
    away = connect("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Exception, match="refused"):
        take_from_stream(away, desk.redis, consumer="one")
    assert (pending(desk), aside(desk)) == (2, [])
    assert taken(desk) == 2
    assert (pending(desk), len(aside(desk))) == (0, 1)


def test_a_report_on_a_row_that_is_held_is_left_for_the_next_time(desk: Desk) -> None:
    held, free = desk.video(**DRAFT), desk.video(**DRAFT)
    put(desk, document(held), document(free))
    with desk.holding("UPDATE video SET title = 'held' WHERE id = %s", held):
        taken(desk)
        assert (row(desk, held)[0], row(desk, free)[0]) == ("not_started", "completed")
        assert (pending(desk), aside(desk)) == (1, [])
    taken(desk)
    assert (row(desk, held)[0], pending(desk)) == ("completed", 0)


def test_whoever_reports_in_person_waits_for_a_held_row_but_not_for_long(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    with (
        desk.holding("UPDATE video SET title = 'held' WHERE id = %s", video),
        pytest.raises(errors.LockNotAvailable),
    ):
        apply(desk.engine, [(video, report())], None)


def test_a_crash_between_commit_and_acknowledgement_changes_nothing(desk: Desk) -> None:
    video = desk.video(**DRAFT)
    put(desk, document(video))
    with patch.object(Redis, "xack", side_effect=RedisAway("gone")), pytest.raises(RedisAway):
        taken(desk)
    before = desk.rows("SELECT xmin::text FROM video")
    assert pending(desk) == 1
    assert taken(desk) == 1
    assert desk.rows("SELECT xmin::text FROM video") == before
    assert pending(desk) == 0


def test_a_redis_that_is_away_is_for_the_next_sweep(desk: Desk, engine: Engine) -> None:
    with Redis(port=1) as nowhere:
        assert stream.take_or_later(engine, nowhere) == 0
    video = desk.video(**DRAFT)
    put(desk, document(video))
    assert stream.take_or_later(engine, desk.redis) == 1


def test_what_a_dead_consumer_left_behind_is_taken_over(desk: Desk) -> None:
    video, other = desk.video(**DRAFT), desk.video(**DRAFT)
    left_behind(desk, document(video), document(other))
    assert taken(desk) == 0
    with patch.object(stream, "ABANDONED_MS", 0):
        assert taken(desk) == 2
    assert (row(desk, video)[0], row(desk, other)[0]) == ("completed", "completed")
    assert pending(desk) == 0


def test_what_was_taken_off_the_stream_while_pending_is_forgotten(desk: Desk) -> None:
    [gone, _] = left_behind(desk, document(desk.video(**DRAFT)), document(desk.video(**DRAFT)))
    desk.redis.xdel(STREAM, gone)
    with patch.object(stream, "ABANDONED_MS", 0):
        assert taken(desk) == 1
    assert (pending(desk), aside(desk)) == (0, [])


def test_what_was_taken_off_the_stream_while_in_hand_is_forgotten(desk: Desk) -> None:
    [gone] = left_behind(desk, document(desk.video(**DRAFT)), consumer="one")
    desk.redis.xdel(STREAM, gone)
    taken(desk)
    assert (pending(desk), aside(desk)) == (0, [])


def test_many_workers_at_once_take_each_report(desk: Desk, redis_url: str) -> None:
    with transaction(desk.engine) as tx:
        videos = make_videos(tx, [DRAFT] * 60)
    put(desk, *(document(video) for video in videos))
    clients = [Redis.from_url(redis_url) for _ in range(4)]
    threads = [
        threading.Thread(
            target=take_from_stream, args=(desk.engine, client), kwargs={"consumer": f"c{n}"}
        )
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
    assert (pending(desk), aside(desk)) == (0, [])


# Maintenance


def test_what_is_old_and_done_is_taken_off_the_stream(desk: Desk) -> None:
    put(desk, *(document(desk.video(**DRAFT)) for _ in range(4)))
    assert trim(desk.redis, timedelta(0)) == 0  # nobody has read any
    taken(desk)
    assert trim(desk.redis, timedelta(days=1)) == 0  # none is old
    trim(desk.redis, timedelta(seconds=-60))
    assert desk.redis.xlen(STREAM) == 1  # the last one marks how far the group has read
    put(desk, document(desk.video(**DRAFT)))
    assert taken(desk) == 1


def test_what_somebody_has_in_hand_stays_on_the_stream(desk: Desk) -> None:
    [first] = left_behind(desk, document(desk.video(**DRAFT)), consumer="dead")
    put(desk, document(desk.video(**DRAFT)))
    taken(desk)
    assert trim(desk.redis, timedelta(seconds=-60)) == 0
    entries: Any = desk.redis.xrange(STREAM)
    assert entries[0][0] == first


def test_a_stream_that_is_not_there_needs_no_trimming(desk: Desk) -> None:
    assert trim(desk.redis, timedelta(0)) == 0
    assert not desk.redis.exists(STREAM)


def test_dead_consumers_are_forgotten_unless_they_have_something_in_hand(desk: Desk) -> None:
    left_behind(desk, document(desk.video(**DRAFT)), consumer="busy")
    taken(desk, "idle")
    trim(desk.redis, timedelta(0))
    assert consumers(desk) == {"busy", "idle"}
    with patch.object(stream, "DEAD_MS", 0):
        trim(desk.redis, timedelta(0))
    assert consumers(desk) == {"busy"}


def left_behind(desk: Desk, *events: object, consumer: str = "dead") -> list[bytes]:
    """Entries that a consumer was given and never acknowledged."""
    taken(desk)  # makes the group
    ids = put(desk, *events)
    desk.redis.xreadgroup(GROUP, consumer, {STREAM: ">"})
    return ids


def consumers(desk: Desk) -> set[str]:
    found: Any = desk.redis.xinfo_consumers(STREAM, GROUP)
    return {consumer["name"].decode() for consumer in found} - {"one"}
