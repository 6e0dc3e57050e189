"""The benchmark's contenders do their work: those that the development lock has, on a few videos.

The peers with packages of their own (awa-pg, Dramatiq, PgQueuer, Procrastinate, Taskiq) are in the
extra `bench`; each run of `make bench` checks them in the same way.
"""

import os
import re
import tomllib
from collections.abc import Generator

import pytest

from bench import check, contest, limit, replay
from bench.contenders import CONTENDERS, LIMIT
from bench.peers import work
from bench.processes import ROOT
from bench.setup import Setup, set_up
from db.session import transaction

VIDEOS = 12
WARM_UP = 4


@pytest.fixture(scope="module")
def setup() -> Generator[Setup]:
    before = dict(os.environ)
    try:
        with set_up(videos=2 * (VIDEOS + WARM_UP)) as ready:
            yield ready
    finally:
        os.environ.clear()
        os.environ.update(before)


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("textbook", "this-project-single", "orm", "noop")
]


@pytest.mark.parametrize("name", ["this-project", *SLOW])
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
