"""The README's Python and command lines, run unchanged against a real worker and beat."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.sample_data import load_sample
from db.session import transaction
from tests.support.forked import Forked
from tests.support.processes import ROOT, Celeries
from tests.support.waiting import START_SECONDS, wait_until
from worker.cli import main

README = (ROOT / "README.md").read_text()
PYTHON, SHELL = (
    re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for language in ("python", "sh")
)
COMMANDS = re.findall(r"^publish-worker ([^#\n]*[^#\s])", "".join(SHELL), re.MULTILINE)
CHECKS = ("status", "doctor")
"""A part that is late on a busy machine is an error for them: they are asked again."""
ENDLESS = ("events tail",)
IMPORTS_MORE = ("migrate",)
"""Commands that import more than the command line does. They and the first command run in a new
interpreter; its imports take two seconds, so the others are forked.
"""
SECONDS = START_SECONDS

Started = Forked | subprocess.Popen[bytes]
Start = Callable[..., Started]


@pytest.fixture
def environment(
    engine: Engine, database_url: str, redis_url: str, celery: Celeries
) -> dict[str, str]:
    """A user's, with both URLs; a worker and beat run, and there are videos."""
    with transaction(engine) as tx:
        load_sample(tx)
    celery.worker()
    celery.beat()
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Start:
    """Start Python as a user does: in a folder of its own."""

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


@pytest.fixture
def command_line(start: Start, environment: dict[str, str]) -> Start:
    """Start `publish-worker`."""
    has_started = False

    def run(log: Path, *arguments: str) -> Started:
        nonlocal has_started
        if has_started and arguments[0] not in IMPORTS_MORE:
            log.touch()
            return Forked(main, ["publish-worker", *arguments], log=log, environment=environment)
        has_started = True
        return start(log, "-c", "from worker.cli import main; main()", *arguments)

    return run


@contextmanager
def ended(program: Started) -> Generator[None]:
    """End a program that runs until it is stopped."""
    try:
        yield
    finally:
        program.send_signal(signal.SIGTERM)
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


def test_the_command_lines_of_the_readme_work(command_line: Start, tmp_path: Path) -> None:
    assert len(COMMANDS) > 8
    for number, line in enumerate(COMMANDS):
        log = tmp_path / f"{number}.log"
        start_it = partial(command_line, log, *shlex.split(line))
        if line.startswith(CHECKS):
            wait_until(lambda ask=start_it: ask().wait(SECONDS) == 0, f"{line} to find no error")
            continue
        program = start_it()
        if line.startswith(ENDLESS):
            with ended(program):
                wait_until(lambda log=log: "video.published" in log.read_text(), line, SECONDS)
        else:
            assert program.wait(SECONDS) == 0, (line, log.read_text())
