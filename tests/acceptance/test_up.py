"""`publish-worker up` as a process: it comes up, works, ends without a trace, and comes back."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from db.commands.canary import VIDEO_ID as CANARY
from tests.support.pipeline import Pipeline
from tests.support.programs import Up, program_folder, running
from tests.support.prometheus import value_of
from tests.support.waiting import START_SECONDS, WAIT, wait_until

ROOT = Path(__file__).parents[2]
VIDEO = "/api/v1/videos/7/"
StartUp = Callable[..., Up]


@pytest.fixture
def folder() -> Generator[Path]:
    """Where a program keeps its data and its log."""
    with program_folder() as path:
        yield path


@pytest.fixture
def up(folder: Path) -> Generator[StartUp]:
    """Start `publish-worker up` on a data directory of the test's own."""
    with ExitStack() as stack:

        def start(*arguments: str, data: str = "data", **environment: str) -> Up:
            log = folder / f"{data}.log"
            own = {"DATA_DIR": str(folder / data), **environment}
            return stack.enter_context(running(Up(log, "up", *arguments, **own)))

        yield start


def publish(client: httpx.Client) -> httpx.Response:
    return client.post(f"{VIDEO}publish/", headers=WAIT)


def test_it_publishes_ends_without_a_trace_and_finds_its_data_again(up: StartUp) -> None:
    first = up()
    client = first.wait_until_ready()
    assert publish(client).json()["is_draft"] is False
    assert first.end(signal.SIGINT) == 0
    assert first.left() == []

    second = up()
    again = second.wait_until_ready()
    assert again.headers["Authorization"] == client.headers["Authorization"]
    assert again.get(VIDEO).json()["is_draft"] is False
    assert second.end(signal.SIGTERM) == 0
    assert second.left() == []


def test_the_development_key_is_for_its_owner_only(running_up: Up) -> None:
    key = running_up.log.parent / "data" / "development-key"
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_two_at_the_same_time(up: StartUp, running_up: Up) -> None:
    clients = [one.wait_until_ready() for one in (running_up, up())]
    assert clients[0].base_url != clients[1].base_url
    assert publish(clients[0]).json()["is_draft"] is False
    assert clients[1].get(VIDEO).json()["is_draft"] is True


def test_a_second_one_in_the_same_place_is_refused(up: StartUp, running_up: Up) -> None:
    second = up(DATA_DIR=str(running_up.log.parent / "data"))
    assert second.ended() == 1
    assert "publish-worker: another process has the engines up" in second.said


@pytest.mark.parametrize(
    ("name", "word"),
    [
        pytest.param("worker", "worker", marks=pytest.mark.slow),
        pytest.param("api", "uvicorn", marks=pytest.mark.slow),
        pytest.param("beat", "beat", marks=pytest.mark.slow),
    ],
)
def test_when_one_process_dies_all_end(up: StartUp, name: str, word: str) -> None:
    program = up()
    program.wait_until_ready()
    program.member(word).kill()
    assert program.ended() == 1
    assert f"{name} was ended by SIGKILL, so everything was ended." in program.said
    assert program.left() == []


@pytest.mark.slow
def test_nothing_outlives_it_even_if_it_is_killed(up: StartUp) -> None:
    program = up()
    program.wait_until_ready()
    metrics = Path(program.member("uvicorn").environ()["PROMETHEUS_MULTIPROC_DIR"])
    assert metrics.is_dir()
    program.end(signal.SIGKILL)
    wait_until(lambda: not program.left(), "everything to end", START_SECONDS)
    wait_until(lambda: not metrics.exists(), "the metrics' directory to be removed")


def test_it_may_be_ended_while_it_starts(up: StartUp) -> None:
    program = up()
    program.wait_for("Starting PostgreSQL")
    wait_until(lambda: program.is_running and program.family, "the first engine")
    assert program.end(signal.SIGINT) == 0
    wait_until(lambda: not program.left(), "everything to end")
    assert "Traceback" not in program.said


@pytest.mark.slow
def test_a_requested_port_that_is_taken_is_an_error(up: StartUp, running_up: Up) -> None:
    port = str(running_up.wait_until_ready().base_url.port)
    other = up(API_PORT=port)
    assert other.ended() == 1
    assert f"publish-worker: The API cannot listen on 127.0.0.1:{port}" in other.said


@pytest.mark.slow
def test_on_given_engines_it_starts_none_and_loads_nothing(
    up: StartUp, pipeline: Pipeline, database_url: str, redis_url: str
) -> None:
    program = up(DATABASE_URL=database_url, REDIS_URL=redis_url)
    program.wait_for("Everything runs")
    [command] = pipeline.accept(pipeline.video()).commands
    wait_until(lambda: pipeline.command(command.id).state == "published", "the worker to publish")
    assert pipeline.value("SELECT count(*) FROM video WHERE id < %s", CANARY) == 1
    assert not (program.log.parent / "data").exists()
    assert program.end() == 0
    assert program.left() == []


def test_one_url_without_the_other_is_an_error(up: StartUp, redis_url: str) -> None:
    program = up(REDIS_URL=redis_url)
    assert program.ended() == 1
    assert "publish-worker: Only one of DATABASE_URL and REDIS_URL is set" in program.said


@pytest.mark.slow
def test_another_terminal_finds_its_engines_and_doctor_finds_no_error(running_up: Up) -> None:
    """`eval "$(publish-worker env)"` sets what a program needs; `doctor` is asked beside it."""
    data = running_up.log.parent / "data"
    inherited = {**os.environ, "DATA_DIR": str(data)}
    code = "from worker.cli import main; main()"
    script = f"""
        eval "$({sys.executable} -c '{code}' env)" && echo "$DATABASE_URL" &&
        echo "${{PUBLIC_BASE_URL:-http://localhost:8000}}" &&
        {sys.executable} -c '{code}' doctor"""

    def ask() -> subprocess.CompletedProcess[str] | None:
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=ROOT,
            env=inherited,
            capture_output=True,
            text=True,
            check=False,
        )
        print(done.stdout, done.stderr)
        return done if done.returncode == 0 else None

    # On a machine that pauses, an answer is late, which is an error.
    done = wait_until(ask, "doctor to find no error", START_SECONDS)
    assert done
    database, url, *_ = done.stdout.splitlines()
    assert database.startswith("postgresql://")
    assert url == str(running_up.wait_until_ready().base_url).rstrip("/")
    assert "✓ worker" in done.stdout
    assert "✗" not in done.stdout
    assert done.stderr.startswith("0 errors, ")


def test_its_api_reports_the_metrics_of_all_processes(running_up: Up) -> None:
    client = running_up.wait_until_ready()
    assert publish(client).status_code == 200
    for name, labels in (
        ("commands_total", {"action": "publish", "outcome": "published"}),
        ("sweeps_total", {"task": "publish.run_due"}),
    ):
        wait_until(partial(read_metric, client, name, **labels), f"{name} of another process")


def read_metric(client: httpx.Client, name: str, **labels: str) -> float | None:
    return value_of(client.get("/metrics").text, name, **labels)
