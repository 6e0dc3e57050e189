"""Importing publish-worker, or enqueuing with it, changes nothing in the process."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from celery import Celery as CeleryApp
from redis import Redis

from tests.support.pipeline import Pipeline
from tests.support.programs import OURS
from tests.support.waiting import PATIENCE, START_SECONDS, wait_until
from worker.local.engines import Engines, find_running
from worker.runtime.settings import Settings

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]
QUEUE = "publish-worker:celery:publish"
ASPECTS = (
    "celery_app",
    "shared_task",
    "transports",
    "celery_signals",
    "logging",
    "structlog",
    "environment",
    "signal_handlers",
    "threads",
)


@pytest.fixture(scope="module")
def foreign_broker_url(running: Engines) -> str:
    """The other project's broker: another database of the same server."""
    return running.redis_url.removesuffix("/0") + "/5"


@pytest.fixture(scope="module")
def environment(foreign_broker_url: str) -> dict[str, str]:
    """The other project's environment: it has no setting of publish-worker."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return inherited | {"PYTHONPATH": str(ROOT), "FOREIGN_BROKER_URL": foreign_broker_url}


@pytest.fixture(scope="module")
def imported(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The state of a process before and after the imports."""
    return run_foreign_process(environment, tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def foreign_worker(environment: dict[str, str], tmp_path: Path) -> Generator[Path]:
    """A worker of the other project, whose code imports worker.enqueue and worker.app; its log."""
    log = tmp_path / "worker.log"
    command = ["celery", "-A", "tests.support.foreign_worker", "worker", "-P", "solo", "-l", "INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=environment | {"PYTHONWARNINGS": "ignore"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def directory_of_up(running: Engines, tmp_path: Path) -> Generator[Path]:
    """A directory in which `publish-worker up` seems to run: its lock is held."""
    data = tmp_path / ".data"
    data.mkdir()
    (data / "engines.json").write_text(json.dumps(asdict(running)))
    with (data / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert find_running(data) == running
        yield tmp_path


def run_foreign_process(environment: dict[str, str], folder: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.foreign_process", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # after log lines


@pytest.mark.parametrize("aspect", ASPECTS)
def test_an_import_changes_nothing_in_the_process(imported: Any, aspect: str) -> None:
    assert imported["after"][aspect] == imported["before"][aspect]


def test_a_shared_task_stays_bound_to_the_other_app_and_runs(imported: Any) -> None:
    assert all("foreign" in app for app in imported["after"]["celery_app"])
    assert imported["after"]["shared_task"] == 42


def test_every_aspect_of_the_process_is_compared(imported: Any) -> None:
    assert set(ASPECTS) == imported["before"].keys() == imported["after"].keys()


@pytest.mark.slow
def test_an_enqueue_beside_another_app_uses_our_queue_alone(
    pipeline: Pipeline,
    database_url: str,
    redis_url: str,
    environment: dict[str, str],
    foreign_broker_url: str,
    tmp_path: Path,
) -> None:
    video = pipeline.video()
    urls = (database_url, redis_url)
    state = run_foreign_process(environment, tmp_path, *urls, str(video))
    assert pipeline.value("SELECT video_id FROM publisher.publish_command") == video
    with Redis.from_url(foreign_broker_url) as foreign_redis:
        assert task_names(foreign_redis, "foreign") == ["foreign.double"]
        assert not any(b"publish" in key for key in read_keys(foreign_redis))
    assert task_names(pipeline.redis, QUEUE) == ["publish.run_due"]
    assert all(key.startswith(b"publish-worker:") for key in read_keys(pipeline.redis))
    assert state["after"]["celery_app"] == state["before"]["celery_app"]
    assert state["after"]["transports"] == state["before"]["transports"]


def read_keys(redis: Redis) -> list[bytes]:
    keys: Any = redis.keys()
    return keys


def task_names(redis: Redis, queue: str) -> list[str]:
    messages: Any = redis.lrange(queue, 0, -1)
    return [json.loads(message)["headers"]["task"] for message in messages]


def test_a_worker_of_another_project_starts_and_runs_its_own_task(
    foreign_worker: Path, foreign_broker_url: str
) -> None:
    wait_until(
        lambda: "ready." in foreign_worker.read_text(), "the worker to be ready", START_SECONDS
    )
    with CeleryApp(
        broker=foreign_broker_url, backend=foreign_broker_url, set_as_current=False
    ) as producer:
        result = producer.send_task("foreign.double", [21], queue="foreign")
        assert result.get(timeout=PATIENCE) == 42
    log = foreign_worker.read_text()
    assert "foreign.double" in log
    assert "publish.run_due" not in log
    assert "DATABASE_URL" not in log


def test_settings_do_not_read_the_engines_of_up(
    directory_of_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory_of_up)
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    settings = Settings()
    assert (settings.database_url, settings.redis_url) == (None, None)


def test_a_worker_in_the_directory_of_up_ends_with_one_clear_line(
    directory_of_up: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker.app", "worker"],
        cwd=directory_of_up,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "publish-worker: DATABASE_URL is not set. Set it, or start with `publish-worker up`."
    ]
