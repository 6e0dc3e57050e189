"""Timed and automatic publication by real beat and worker processes, through every downtime."""

import signal
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from db.commands.inbox import StoredCommand
from schemas.command import PublishRequest
from tests.conftest import libpq
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, Celery, count_published
from tests.support.waiting import PATIENCE, wait_until

COMPLETED = "UPDATE video SET status = 'completed', internal_status = 'completed' WHERE id = %s"

OURS = "SELECT * FROM publisher.publish_command WHERE trigger <> 'canary'"


def test_timed_commands_are_published_in_the_order_of_their_times_and_never_before(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.worker()
    celery.beat()
    commands = scheduled(pipeline, 20)
    wait_until(lambda: count_published(pipeline) >= 20, "all to be published")
    assert_each_once(pipeline, commands)
    early = "SELECT count(*) FROM publisher.publish_command WHERE claimed_at < asked_for"
    assert pipeline.value(early) == 0


def test_beat_is_killed_and_comes_back_across_due_times(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.worker()
    beat = celery.beat()
    commands: list[StoredCommand] = []
    for _ in range(3):
        commands += scheduled(pipeline, 20)
        total, end = len(commands), last(commands)
        wait_until(
            lambda at=total: count_published(pipeline) > at - 20, "the first to be published"
        )
        beat.kill()
        wait_until(lambda at=end: datetime.now(UTC) > at, "the last due time to pass")
        beat = celery.beat()
        wait_until(lambda at=total: count_published(pipeline) >= at, "all to be published")
    assert_each_once(pipeline, commands)


def test_two_beats_publish_nothing_twice(pipeline: Pipeline, celery: Celeries) -> None:
    celery.worker(concurrency=2)
    beats = [celery.beat(), celery.beat()]
    commands = scheduled(pipeline, 30)
    wait_until(lambda: count_published(pipeline) >= 30, "all to be published")
    assert_each_once(pipeline, commands, ordered=False)
    assert all(beat.is_running for beat in beats)


def test_one_of_two_beats_is_enough(pipeline: Pipeline, celery: Celeries) -> None:
    celery.worker()
    beats = [celery.beat(), celery.beat()]
    commands = scheduled(pipeline, 30)
    wait_until(lambda: count_published(pipeline) >= 5, "five to be published")
    beats[0].kill()
    wait_until(lambda: count_published(pipeline) >= 30, "all to be published")
    assert_each_once(pipeline, commands)


def test_a_worker_that_was_down_at_the_due_times_catches_up(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.beat()
    commands = scheduled(pipeline, 20)
    wait_until(lambda: overdue(pipeline) >= 20, "all due times to pass")
    assert count_published(pipeline) == 0
    celery.worker()
    wait_until(lambda: count_published(pipeline) >= 20, "all to be published")
    assert_each_once(pipeline, commands)


def test_commands_due_during_a_database_outage_are_carried_out_after_it(
    pipeline: Pipeline, celery: Celeries, database_url: str
) -> None:
    celery.worker()
    celery.beat()
    commands = scheduled(pipeline, 20)
    wait_until(lambda: count_published(pipeline) >= 2, "the first ones")
    with away(pipeline, database_url):
        wait_until(lambda: datetime.now(UTC) > last(commands), "the last due time to pass")
    wait_until(lambda: count_published(pipeline) >= 20, "all to be published", timeout=40)
    assert_each_once(pipeline, commands)
    assert all(process.is_running for process in celery.started)


def test_a_valkey_that_is_emptied_just_before_the_due_time_delays_nothing(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.worker()
    celery.beat()
    commands = scheduled(pipeline, 1)
    just_before = last(commands) - timedelta(milliseconds=30)
    wait_until(lambda: datetime.now(UTC) > just_before, "the moment before", every=0.001)
    pipeline.redis.flushall()
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    assert_each_once(pipeline, commands)


def test_beat_ends_at_once_on_sigterm(pipeline: Pipeline, celery: Celeries) -> None:
    pipeline.accept(PublishRequest(video_id=pipeline.video(), publish_at=ahead(3600)))
    beat = celery.beat()
    wait_until(lambda: listens(pipeline), "beat to listen for due times")
    assert beat.stop(signal.SIGTERM) == 0


def test_beat_without_a_database_url_ends_with_one_clear_line(
    tmp_path: Path, redis_url: str
) -> None:
    beat = Celery(tmp_path / "log", {"DATABASE_URL": "", "REDIS_URL": redis_url}, "beat")
    assert beat.process.wait(PATIENCE) == 1
    assert beat.says("publish-worker: DATABASE_URL is not set")
    beat.assert_no_traceback()


def test_beat_ends_at_once_with_its_database_away(
    pipeline: Pipeline, celery: Celeries, database_url: str
) -> None:
    beat = celery.beat()
    wait_until(lambda: listens(pipeline), "beat to listen for due times")
    with away(pipeline, database_url):
        beat.wait_for("due_times.database_unreachable")
        assert beat.stop(signal.SIGTERM) == 0


def test_a_row_that_becomes_completed_is_published_at_once(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.worker()
    celery.beat()
    video = pipeline.video(status="in_progress", internal_status="rendering")
    [command] = pipeline.accept(video).commands
    wait_until(lambda: pipeline.command(command.id).state == "waiting", "the command to wait")
    pipeline.execute(COMPLETED, video)
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    assert [event["data"]["trigger"] for event in pipeline.events()] == ["pipeline"]


def test_a_time_that_comes_within_the_pipelines_transaction_waits_for_its_end(
    pipeline: Pipeline, celery: Celeries
) -> None:
    celery.worker()
    celery.beat()
    video = pipeline.video(status="in_progress", internal_status="rendering")
    [command] = scheduled(pipeline, 1, video)
    with pipeline.holding(COMPLETED, video):
        wait_until(lambda: pipeline.command(command.id).reason == "video_held", "the time to come")
        assert count_published(pipeline) == 0
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    assert_each_once(pipeline, [command])


def scheduled(pipeline: Pipeline, count: int, *videos: int) -> list[StoredCommand]:
    """Accept commands that fall due one after the other, 50 ms apart, from half a second on."""
    wanted = videos or [pipeline.video() for _ in range(count)]
    first = ahead(0.5)
    return pipeline.accept(
        *(
            PublishRequest(video_id=video, publish_at=first + nth * timedelta(milliseconds=50))
            for nth, video in enumerate(wanted)
        )
    ).commands


def assert_each_once(
    pipeline: Pipeline, commands: list[StoredCommand], *, ordered: bool = True
) -> None:
    """Every command published once, with one event for it, in the order of the due times."""
    wait_until(lambda: len(publications(pipeline)) >= len(commands), "all events on the stream")
    told, asked = publications(pipeline), [command.video_id for command in commands]
    assert (told if ordered else sorted(told)) == (asked if ordered else sorted(asked))
    assert Counter(pipeline.states(*commands)) == {"published": len(commands)}
    assert {e.get("videorevision", 1) for e in pipeline.events()} == {1}


def publications(pipeline: Pipeline) -> list[int]:
    return [int(e["subject"]) for e in pipeline.events() if e["type"] == "video.published"]


def overdue(pipeline: Pipeline) -> int:
    return pipeline.value(
        f"SELECT count(*) FROM ({OURS} AND finished_at IS NULL AND due_at <= now())"
    )


def listens(pipeline: Pipeline) -> bool:
    """Whether a scheduler reads the schedule in this test's database."""
    return pipeline.value(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE '%%clock_timestamp%%'"
        " AND pid <> pg_backend_pid()"
    )


def ahead(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def last(commands: list[StoredCommand]) -> datetime:
    return max(command.due_at for command in commands)


@contextmanager
def away(pipeline: Pipeline, database_url: str) -> Generator[None]:
    """The database ends all connections, and refuses new ones until the end of the block."""
    name = str(pipeline.engine.url.database)
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    throw_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    server = libpq(database_url.replace(name, "publish_worker"), "postgres")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute(throw_out, [name])
        yield
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    pipeline.engine.dispose()
