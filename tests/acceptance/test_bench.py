"""The benchmark's contenders do their work: those that the development lock has, on a few videos.

The peers with packages of their own (awa-pg, Dramatiq, PgQueuer, Procrastinate, Taskiq) are in the
extra `bench`; each run of `make bench` checks them in the same way.
"""

import os
import re
import tomllib
from collections.abc import Generator

import pytest

from bench import check, console, contest, limit, replay
from bench.console_data import Filling, fill
from bench.contenders import CONTENDERS, LIMIT
from bench.peers import work
from bench.processes import ROOT
from bench.setup import Setup, set_up
from db.session import transaction
from tests.support.browser import NEEDS_CHROMIUM
from worker.events.redis_stream import check_stream

VIDEOS = 12
WARM_UP = 4
SMALL = Filling(
    videos=400,
    commands=400,
    events=1_000,
    failed=20,
    scheduled=20,
    waiting=5,
    backlog=100,
    deliveries=10,
)
FILLED = """
SELECT state, count(*) FROM publisher.publish_command WHERE workspace_id IN (1, 2) GROUP BY state
"""


@pytest.fixture(scope="module")
def setup() -> Generator[Setup]:
    before = dict(os.environ)
    try:
        with set_up(videos=2 * (VIDEOS + WARM_UP)) as ready:
            yield ready
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["this-project", "textbook", "this-project-single", "orm", "noop"])
def test_contender_publishes_each_video_once(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(contest, "WARM_UP", WARM_UP)
    outcome = contest.carry_out(setup, CONTENDERS[name], VIDEOS)
    assert outcome.failure == ""
    assert outcome.published == VIDEOS
    assert outcome.cpu["all"] > 0
    assert outcome.wal > 0 or not CONTENDERS[name].same_work


@pytest.mark.slow
def test_limit_replays_the_statements_of_a_dry_run(setup: Setup) -> None:
    outcome = limit.carry_out(setup, VIDEOS)
    assert outcome.failure == ""
    assert outcome.published == VIDEOS


def test_recording_has_the_statements_of_the_modules(setup: Setup) -> None:
    with setup.run() as run:
        recording = limit.record_run(run, run.video_ids[:VIDEOS])
    texts = [each.text for transaction in recording.publish for each in transaction]
    assert len(recording.enqueue) == 1
    assert any(text.rstrip().endswith(b"COMMIT") for text in texts)
    assert replay.CONNECTIONS == 2


def test_lost_and_doubled_publishes_do_not_count(setup: Setup) -> None:
    with setup.run() as run:
        with transaction(run.engine) as tx:
            tx.execute(work.OUTBOX)
        with pytest.raises(check.Incorrect, match="2 videos, but 0 published"):
            check.check(run, run.video_ids[:2], check.PEERS)


def test_contenders_with_packages_of_their_own_are_the_extra_of_the_benchmark() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["bench"]
    pinned = {re.split(r"[\[=]", requirement)[0] for requirement in extra}
    assert {each.package for each in CONTENDERS.values()} <= pinned | {"", "celery"}
    assert CONTENDERS[LIMIT].is_installed()


def test_a_database_is_filled_as_after_weeks_of_work(setup: Setup) -> None:
    with setup.run() as run:
        filled = fill(run, SMALL, lambda _: None)
        with transaction(run.engine) as tx:
            states = dict(tx.execute(FILLED).fetchall())
        assert states == {"failed": 20, "scheduled": 20 + 100, "waiting": 5, "published": 256}
        assert len(filled.videos) == 199
        assert check_stream(run.engine, run.redis).position == 1_000


@pytest.mark.slow
@NEEDS_CHROMIUM
def test_pages_are_loaded_while_a_backlog_drains(setup: Setup) -> None:
    result = console.measure(
        setup, SMALL, rounds=6, scrapes=1, open_commands=100, say=lambda _: None
    )
    one = {name + console.OF_WORKSPACE for name in console.SEEN_BY_ONE}
    assert set(result.pages) == set(console.PAGES) | one
    assert set(result.requests) == set(console.REQUESTS)
    assert len(result.pages["now"].response) == 6
    assert result.drained > 0
    assert [len(table.rows) for table in console.console_tables(result)] == [13, 4]
