"""Enqueued in SQL: carried out at once by worker and beat, and exactly what was committed."""

import random
import statistics
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from db.commands.canary import VIDEO_ID as CANARY
from db.session import transaction
from tests.support import sql_caller
from tests.support.forked import Forked
from tests.support.pipeline import Pipeline, ids
from tests.support.platform import make_ready_videos
from tests.support.processes import Celeries, count_published
from tests.support.sql_door import enqueue
from tests.support.waiting import wait_until

COMMANDS = 10_000
CALLERS = 4
LATENESS = """
SELECT extract(epoch FROM finished_at - accepted_at)::float8 * 1000
FROM publisher.publish_command WHERE state = 'published' AND video_id <> %s ORDER BY id
"""
STATES = "SELECT state, count(*) FROM publisher.publish_command WHERE video_id <> %s GROUP BY state"
DIFFERENT = """
SELECT count(*) FROM committed
FULL JOIN (SELECT id FROM publisher.publish_command WHERE video_id <> %s) command ON id = command_id
WHERE id IS NULL OR command_id IS NULL
"""
SECOND = 1000
"""In milliseconds."""


def test_worker_and_beat_carry_out_at_once_what_was_enqueued_in_sql_alone(
    pipeline: Pipeline, celery: Celeries
) -> None:
    """No other door wakes the worker: beat is notified at the commit."""
    with transaction(pipeline.engine) as tx:
        videos = iter(make_ready_videos(tx, 40))
    celery.worker()
    celery.beat()
    publish_each(pipeline, [next(videos)])
    # A machine that pauses does not pause in each of three rounds.
    rounds = (publish_each(pipeline, [next(videos) for _ in range(10)]) for _ in range(3))
    assert any(statistics.median(late) < SECOND for late in rounds)
    wait_until(lambda: is_announced_before(pipeline, next(videos)), "a timed one to be announced")


def publish_each(pipeline: Pipeline, videos: list[int]) -> list[float]:
    """Enqueue one after the other; return after how many milliseconds each was published."""
    for video in videos:
        before = count_published(pipeline)
        enqueue(pipeline, video)
        wait_until(lambda n=before: count_published(pipeline) > n, "the next publication")
    return [row[0] for row in pipeline.rows(LATENESS, CANARY)][-len(videos) :]


def is_announced_before(pipeline: Pipeline, video: int) -> bool:
    """Whether a video is announced in the two seconds before it is published at its time."""
    at = pipeline.value("SELECT clock_timestamp() + interval '2 s'")
    timed = enqueue(pipeline, video, publish_at=at)
    wait_until(lambda: pipeline.command(timed).state == "published", "the timed one")
    events = [each for each in pipeline.events() if each["causationid"] == str(timed)]
    times = [datetime.fromisoformat(each["time"]) for each in events]
    assert times[-1] >= at
    types = [event["type"] for event in events]
    return types == ["video.publish_scheduled", "video.published"] and times[0] < at


@pytest.mark.slow
def test_exactly_what_was_committed_is_published_though_callers_and_workers_are_killed(
    pipeline: Pipeline, celery: Celeries, tmp_path: Path
) -> None:
    with transaction(pipeline.engine) as tx:
        videos = make_ready_videos(tx, COMMANDS)
    pipeline.execute("CREATE TABLE committed (video_id bigint, command_id uuid)")
    workers = [celery.worker() for _ in range(2)]
    celery.beat()
    callers = [start_caller(pipeline, tmp_path, videos, n) for n in range(CALLERS)]
    whims = random.Random()  # noqa: S311 - which one dies when is not a secret
    victim = whims.choice(callers)
    wait_until(lambda: count_committed(pipeline) >= COMMANDS // 8, "some commits", 120)
    victim.kill()
    whims.choice(workers).kill()
    for caller in callers:
        caller.wait(240)
    expected = Counter[int](pipeline.value("SELECT array_agg(video_id) FROM committed"))
    assert COMMANDS // 3 < len(expected) < COMMANDS
    total = len(expected)
    wait_until(lambda: count_published(pipeline) >= total, "all to be published", 120)
    assert pipeline.rows(STATES, CANARY) == [("published", total)]
    assert pipeline.value(DIFFERENT, CANARY) == 0
    events = pipeline.events()
    of_type = {
        kind: Counter(int(event["subject"]) for event in events if event["type"] == kind)
        for kind in ("video.published", "video.publish_scheduled")
    }
    assert of_type["video.published"] == expected
    timed = [video for video in expected if video % 10 == 0]
    assert of_type["video.publish_scheduled"] == Counter(timed)
    assert ids(pipeline.redis) == [f"{n}-0" for n in range(1, total + len(timed) + 1)]


def start_caller(pipeline: Pipeline, folder: Path, videos: list[int], number: int) -> Forked:
    url = pipeline.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    size = COMMANDS // CALLERS
    mine = videos[number * size : (number + 1) * size]
    arguments = ["caller", url, str(number), str(mine[0]), str(mine[-1])]
    return Forked(sql_caller.main, arguments, log=folder / f"caller-{number}.log")


def count_committed(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM committed")
