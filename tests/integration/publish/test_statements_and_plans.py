"""What a batch costs the database: the number of its statements, and what they scan."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from redis import Redis

from db.commands import inbox
from db.events.feed import scan
from db.session import connect, lift_limits, transaction
from schemas.command import CommandState
from schemas.inbox import CommandFilter
from tests.support.clones import cloned, named
from tests.support.patience import patient
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.plans import Plan, executed, record_plans
from tests.support.platform import make_ready_videos, set_up
from tests.support.statements import never_slow
from worker.events.redis_stream import relay
from worker.local.engines import Engines
from worker.publish import run

FEW, MANY = 10, 190
"""Both fit into one batch, and neither fills it: a full one is followed by another claim."""
ROWS = 20_000
LARGE = {
    "outbox_event",
    "publish_command",
    "section",
    "video",
    "video_engagement",
    "video_release",
    "video_tag",
}

# A platform and an outbox that have been in use for a while: published videos with sections and
# engagement, their commands and their events.
FILL = f"""
INSERT INTO video (title, status, internal_status, video, template_id, owner_id, workspace_id,
                   is_draft)
SELECT 'Lecture ' || n, 'completed', 'completed', 'https://cdn.example.com/' || n, 1, 1, 1, false
FROM generate_series(1, {ROWS}) n;
INSERT INTO section (video_id, title, content, "order", duration, is_active)
SELECT id, 'Section', '{{}}', 1, 10, true FROM video;
INSERT INTO video_engagement (video_id, day, views, unique_viewers, plays, completed_plays)
SELECT id, current_date, 1, 1, 1, 1 FROM video;
INSERT INTO video_tag (video_id, tag_id) SELECT id, 1 FROM video ON CONFLICT DO NOTHING;
INSERT INTO publisher.video_release
    (video_id, short_id, custom_url, metrics, revision, first_published_at, published_at)
SELECT id, 's' || id, 'research/' || id, '{{}}', 1, now(), now() FROM video WHERE NOT is_draft
ON CONFLICT DO NOTHING;
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, correlation_id, due_at, state, finished_at)
SELECT gen_random_uuid(), id, 1, 'api', 'c-1', now() - interval '1 day', 'published', now()
FROM video;
INSERT INTO publisher.outbox_event
    (position, id, type, video_id, subject, workspace_id, occurred_at, revision, command_id,
     correlation_id, data)
SELECT one.position + n, gen_random_uuid(), one.type, one.video_id, one.subject, 1, now(), 1,
       one.command_id, 'c-1', one.data
FROM publisher.outbox_event one, generate_series(1, {ROWS}) n
WHERE one.position = (SELECT max(position) FROM publisher.outbox_event);
UPDATE publisher.event_position SET position = (SELECT max(position) FROM publisher.outbox_event)
"""

UNRECORDED = "SET LOCAL auto_explain.log_min_duration = -1"
"""To write the plans of a hundred thousand triggers takes longer than to run them."""

# Commands of other videos that are due in an hour.
SCHEDULE = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, asked_for, due_at, correlation_id)
SELECT gen_random_uuid(), 1000000 + n, 1, 'api', now() + interval '1 hour',
       now() + interval '1 hour', 'c-1'
FROM generate_series(1, 2000) n
"""


@dataclass(frozen=True)
class Grown:
    """What has grown: a database, and the keys of Redis with their contents, as DUMP gives them."""

    database: str
    keys: dict[bytes, bytes]


@pytest.fixture
def recorded(pipeline: Pipeline, admin: psycopg.Connection) -> Pipeline:
    """A pipeline whose statements are recorded, and that has published and relayed once."""
    record_plans(pipeline.engine, admin)
    publish(pipeline, 1)
    relay_all(pipeline)
    return pipeline


@pytest.fixture(scope="module")
def grown(running: Engines, admin: psycopg.Connection, template: str) -> Generator[Grown]:
    """A database with many rows in every table that grows. Filling one takes seconds."""
    with cloned(admin, template) as name, connected(running, name) as pipeline:
        pipeline.redis.flushall()
        set_up(pipeline.engine)
        publish(pipeline, 1)
        fill(pipeline)
        pipeline.execute("ANALYZE")
        relay_all(pipeline)
        keys: Any = pipeline.redis.keys()
        pipeline.engine.dispose()
        yield Grown(name, {key: dump(pipeline.redis, key) for key in keys})


@pytest.fixture
def large(
    grown: Grown, running: Engines, admin: psycopg.Connection, redis: Redis
) -> Generator[Pipeline]:
    """A pipeline on a copy of it, whose statements are recorded."""
    for key, value in grown.keys.items():
        redis.restore(key, 0, value)
    with cloned(admin, grown.database) as name, connected(running, name) as pipeline:
        record_plans(pipeline.engine, admin)
        yield pipeline


@contextmanager
def connected(running: Engines, database: str) -> Generator[Pipeline]:
    with patient():
        engine = connect(named(running.database_url, database))
    with Redis.from_url(running.redis_url) as redis:
        yield Pipeline(engine=engine, redis=redis)
    engine.dispose()


def dump(redis: Redis, key: bytes) -> bytes:
    dumped: Any = redis.dump(key)
    return dumped


def fill(pipeline: Pipeline) -> None:
    """Let every table grow, however long a busy machine takes."""
    with transaction(pipeline.engine) as tx:
        lift_limits(tx)
        tx.execute(UNRECORDED)
        tx.execute(FILL)  # pyright: ignore[reportArgumentType, reportCallIssue]


def make_videos(pipeline: Pipeline, count: int) -> list[int]:
    with transaction(pipeline.engine) as tx:
        return make_ready_videos(tx, count)


def publish(pipeline: Pipeline, count: int) -> None:
    pipeline.accept(*make_videos(pipeline, count))
    assert pipeline.run() == count


def relay_all(pipeline: Pipeline) -> int:
    return relay(pipeline.engine, pipeline.redis, BASE_URL)


def read_feed(pipeline: Pipeline, after: int | None) -> None:
    with transaction(pipeline.engine) as tx:
        assert scan(
            tx,
            after=after,
            positions=1_000,
            limit=100,
            workspace_id=1,
            types=["video.published"],
            video_id=None,
        ).events


def plans_of(pipeline: Pipeline, action: Callable[[], object]) -> list[Plan]:
    with executed(pipeline.engine) as plans:
        action()
    return plans


def count_statements(pipeline: Pipeline, videos: int) -> dict[str, int]:
    """How many statements enqueue, publish and relay execute for a number of videos."""
    ids = make_videos(pipeline, videos)
    return {
        "enqueue": len(plans_of(pipeline, lambda: pipeline.accept(*ids))),
        "publish": len(plans_of(pipeline, pipeline.run)),
        "relay": len(plans_of(pipeline, lambda: relay_all(pipeline))),
    }


def full_scans(plans: list[Plan]) -> list[str]:
    """The large tables that a plan reads from end to end, with its statement."""
    return [
        f"{table}: {plan.text}"
        for plan in plans
        for table, kind in plan.scans()
        if table in LARGE and kind == "Seq Scan"
    ]


def tables_read(plans: list[Plan]) -> set[str]:
    return {table for plan in plans for table, _ in plan.scans()}


def test_a_large_batch_costs_as_many_statements_as_a_small_one(recorded: Pipeline) -> None:
    with never_slow():
        few = count_statements(recorded, FEW)
        assert min(few.values()) > 0
        assert count_statements(recorded, MANY) == few


@pytest.mark.parametrize("videos", [1, MANY])
def test_no_large_table_is_read_from_end_to_end(large: Pipeline, videos: int) -> None:
    ids = make_videos(large, videos)
    expected = {
        (lambda: large.accept(*ids)): {"video"},
        large.run: {"publish_command", "video", "section", "video_engagement", "video_release"},
        (lambda: relay_all(large)): {"outbox_event"},
        (lambda: read_feed(large, after=None)): {"outbox_event"},
        (lambda: read_feed(large, after=ROWS - 100)): {"outbox_event"},
    }
    for action, tables in expected.items():
        plans = plans_of(large, action)
        assert tables_read(plans) >= tables
        assert full_scans(plans) == []


def test_commands_of_other_videos_are_not_read(recorded: Pipeline) -> None:
    """Neither by the plans that a session made while the inbox was small, and keeps."""
    for _ in range(10):
        publish(recorded, 1)
    recorded.execute(SCHEDULE)
    recorded.accept(*make_videos(recorded, FEW))
    plans = plans_of(recorded, recorded.run)
    assert FEW <= sum(plan.count_read("publish_command") for plan in plans) <= 10 * FEW


def test_what_fits_into_a_batch_is_not_divided_among_workspaces(recorded: Pipeline) -> None:
    for count, is_divided in ((FEW, False), (run.BATCH + 1, True)):
        recorded.accept(*make_videos(recorded, count))
        plans = plans_of(recorded, recorded.run)
        assert any("open_workspaces" in plan.text for plan in plans) is is_divided


@pytest.mark.slow
def test_a_slow_batch_is_the_last_one_with_its_plans(
    recorded: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session keeps its plans while the tables grow, until they are analysed."""
    recorded.execute("ANALYZE")
    for _ in range(10):
        publish(recorded, 1)
    fill(recorded)
    monkeypatch.setattr(run, "SLOW_SECONDS", 0.0)
    publish(recorded, 1)
    recorded.accept(*make_videos(recorded, FEW))
    plans = plans_of(recorded, recorded.run)
    for table in ("publish_command", "video_release", "outbox_event"):
        assert sum(plan.count_read(table) for plan in plans) < ROWS / 10


def test_statistics_without_open_commands_mislead_no_plan(recorded: Pipeline) -> None:
    """The usual ones: almost all commands have ended when autovacuum analyses the table."""
    publish(recorded, FEW)
    recorded.execute("ANALYZE publisher.publish_command")
    recorded.execute(SCHEDULE)
    backlog = 4 * MANY
    recorded.accept(*make_videos(recorded, backlog))
    plans = plans_of(recorded, recorded.run)
    assert backlog <= sum(plan.count_read("publish_command") for plan in plans) <= 10 * backlog


def test_a_list_of_commands_reads_few_others(large: Pipeline) -> None:
    """The newest ones first, in every state, although there are no statistics of states."""
    read = {state: most_read_by_a_list(large, state) for state in (None, *CommandState)}
    assert {state: count for state, count in read.items() if count > 20} == {}


def most_read_by_a_list(pipeline: Pipeline, state: CommandState | None) -> float:
    """The most commands that a page of a workspace, or of all, reads; with a kept plan, too."""

    def list_often() -> None:
        with transaction(pipeline.engine) as tx:
            for workspace_id in (None, 1, 2) * 10:
                inbox.read_page(tx, CommandFilter(state=state, limit=9), workspace_id=workspace_id)

    plans = plans_of(pipeline, list_often)
    assert len(plans) == 30
    return max(plan.count_read("publish_command") for plan in plans)


def test_the_end_of_generation_reads_the_commands_of_its_video(recorded: Pipeline) -> None:
    videos = [recorded.video(status="in_progress") for _ in range(12)]
    recorded.publish(*videos)
    complete = "UPDATE video SET status = 'completed' WHERE id = %s"
    for video in videos[1:]:
        recorded.execute(complete, video)
    recorded.execute(SCHEDULE)
    plans = plans_of(recorded, lambda: recorded.execute(complete, videos[0]))
    assert 1 <= sum(plan.count_read("publish_command") for plan in plans) <= 10
