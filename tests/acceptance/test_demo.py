"""`publish-worker demo` as a process: every check holds, and nothing is left."""

import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.programs import Program, command_line, program_folder, running
from tests.support.waiting import wait_until


@pytest.fixture
def demo() -> Generator[Program]:
    """A demo that has just begun; its environment points at engines that must not matter."""
    misleading = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/elsewhere",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "API_PORT": "1",
    }
    with program_folder() as folder, running(Program(folder / "log", "demo", **misleading)) as one:
        yield one


def place(demo: Program) -> Path:
    """The data directory that it made."""
    demo.wait_for("Published at once")
    words = {word for one in demo.family for word in command_line(one)}
    return Path(next(word for word in words if word.endswith("/postgres") and "-demo-" in word))


def test_it_ends_well_leaves_nothing_and_a_readable_log(demo: Program) -> None:
    data = place(demo)
    assert demo.ended() == 0, demo.said
    assert demo.left() == []
    assert not data.exists()
    assert "checks hold. To try it yourself: make up." in demo.said
    assert "✗" not in demo.said
    assert "\x1b" not in demo.said
    assert re.search(r"event 1 +video\.published +video 7 .* http://\S+ .* \d+ ms", demo.said)


@pytest.mark.slow
def test_when_a_process_dies_the_demo_names_it_and_shows_its_log(demo: Program) -> None:
    demo.wait_for("Published at once")
    demo.member("worker").kill()
    assert demo.ended() == 1
    assert "✗ worker was ended by SIGKILL." in demo.said
    assert "the last lines of worker" in demo.said
    assert demo.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_may_be_ended_at_any_time(demo: Program, number: signal.Signals) -> None:
    demo.wait_for("Starting")
    wait_until(lambda: demo.is_running and demo.family, "the first engine")
    assert demo.end(number) == 130
    wait_until(lambda: not demo.left(), "everything to end")
    assert "Traceback" not in demo.said
