"""The README's Python and command lines, run unchanged against a real worker and beat."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.sample_data import load_sample
from db.session import transaction
from tests.support.processes import ROOT, Celeries
from tests.support.waiting import wait_until

README = (ROOT / "README.md").read_text()
PYTHON, SHELL = (
    re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for language in ("python", "sh")
)
COMMANDS = re.findall(r"^publish-worker ([^#\n]*[^#\s])", "".join(SHELL), re.MULTILINE)
ENDLESS = ("events tail",)
SECONDS = 30.0

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(
    tmp_path: Path, engine: Engine, database_url: str, redis_url: str, celery: Celeries
) -> Start:
    """Start a program as a user does: in a folder of its own, with both URLs in the environment."""
    with transaction(engine) as tx:
        load_sample(tx)
    celery.worker()
    celery.beat()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }

    def run(log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
        with log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=tmp_path,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    return run


@contextmanager
def ended(program: "subprocess.Popen[bytes]") -> Generator[None]:
    """End a program that runs until it is stopped."""
    try:
        yield
    finally:
        program.terminate()
        program.wait(SECONDS)


def is_public(engine: Engine, video_id: int) -> bool:
    with transaction(engine) as tx:
        found = tx.execute("SELECT is_draft FROM video WHERE id = %s", [video_id]).fetchone()
    return found == (False,)


def test_the_python_of_the_readme_publishes_and_subscribes(
    start: Start, engine: Engine, tmp_path: Path
) -> None:
    in_process, by_queue, subscriber = PYTHON
    log = tmp_path / "log"

    assert start(log, "-c", in_process).wait(SECONDS) == 0, log.read_text()
    wait_until(lambda: is_public(engine, 7), "video 7 to be public", SECONDS)

    other = by_queue.replace('"video_id": 7', '"video_id": 8')
    assert start(log, "-c", other).wait(SECONDS) == 0, log.read_text()
    wait_until(lambda: is_public(engine, 8), "video 8 to be public", SECONDS)

    with ended(start(log, "-c", subscriber)):
        for video_id in (7, 8):
            wait_until(
                lambda line=f"video.published {video_id}\n": line in log.read_text(),
                f"the event of video {video_id}",
                SECONDS,
            )


def test_the_command_lines_of_the_readme_work(start: Start, tmp_path: Path) -> None:
    assert len(COMMANDS) > 8
    for number, line in enumerate(COMMANDS):
        log = tmp_path / f"{number}.log"
        arguments = shlex.split(line)
        program = start(log, "-c", "from worker.cli import main; main()", *arguments)
        if line.startswith(ENDLESS):
            with ended(program):
                wait_until(lambda log=log: "video.published" in log.read_text(), line, SECONDS)
        else:
            assert program.wait(SECONDS) == 0, (line, log.read_text())
