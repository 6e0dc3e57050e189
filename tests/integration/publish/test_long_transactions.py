"""While a transaction stays open anywhere, a backup for example, PostgreSQL keeps ended commands.

A claim would read each of them again. So after a slow one, the next ones begin at the oldest
command that is open, which is looked for again after a while.
"""

import time
from collections.abc import Generator
from dataclasses import replace

import psycopg
import pytest

from db.commands import claim
from db.commands.claim import EVER, NextClaim, claim_due
from db.session import connect, lift_limits, transaction
from tests.support.pipeline import Pipeline
from tests.support.plans import count_claimed_pages
from tests.support.platform import make_ready_videos

MANY = 600
OVERDUE = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, correlation_id, due_at)
SELECT gen_random_uuid(), id, 1, 'api', 'c-1', now() - interval '1 hour' * (1 + random())
FROM unnest(%s::bigint[]) id
"""

# The planner reads a table that is small in any order.
HISTORY = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, correlation_id, due_at, state, finished_at)
SELECT gen_random_uuid(), n, 1, 'api', 'c-1', now() - interval '1 day', 'published', now()
FROM generate_series(1, 20000) n
"""


@pytest.fixture
def backup(pipeline: Pipeline) -> Generator[None]:
    """A transaction of another program that sees the database as it is now."""
    with transaction(pipeline.engine) as tx:
        tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        lift_limits(tx)  # the first statement that reads
        yield


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> NextClaim:
    """Where a process's next claim begins, if every claim of everything is a slow one."""
    monkeypatch.setattr(claim, "DEAD_SECONDS", 0.0)
    return NextClaim()


def publish_many(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as tx:
        videos = make_ready_videos(tx, MANY)
    pipeline.execute(HISTORY)
    pipeline.execute(OVERDUE, videos)
    assert pipeline.run() == MANY


def take(pipeline: Pipeline, start: NextClaim) -> list[int]:
    """Claim, and undo it."""
    with transaction(pipeline.engine) as tx:
        claimed = claim_due(tx, 250, start)
        tx.rollback()
    return [command.video_id for command in claimed]


def accept_before_the_start(pipeline: Pipeline, start: NextClaim) -> int:
    """Accept a command that fell due before the next claim begins: it was committed late."""
    take(pipeline, start)
    take(pipeline, start)
    video = pipeline.video()
    pipeline.accept(video)
    pipeline.let_pass(hours=1)
    return video


@pytest.mark.usefixtures("backup")
def test_ended_commands_are_read_once_and_not_by_each_claim(
    pipeline: Pipeline, start: NextClaim
) -> None:
    publish_many(pipeline)
    assert count_claimed_pages(pipeline.engine) > MANY
    assert take(pipeline, start) == take(pipeline, start) == []
    [new] = pipeline.accept(pipeline.video()).commands
    assert count_claimed_pages(pipeline.engine, start) < MANY / 4
    assert take(pipeline, start) == [new.video_id]


def test_a_backlog_is_claimed_from_its_oldest_command_on(
    pipeline: Pipeline, start: NextClaim
) -> None:
    videos = [pipeline.video() for _ in range(3)]
    pipeline.accept(*videos)
    pipeline.let_pass(hours=1)
    assert take(pipeline, start) == videos
    assert take(pipeline, start) == videos
    assert start.holds_until > time.monotonic()


def test_what_falls_due_before_is_claimed_after_a_while(
    pipeline: Pipeline, start: NextClaim
) -> None:
    video = accept_before_the_start(pipeline, start)
    assert take(pipeline, start) == []
    start.holds_until = time.monotonic()
    assert take(pipeline, start) == [video]


def test_the_order_of_a_video_holds_though_its_older_command_is_not_read(
    pipeline: Pipeline, start: NextClaim
) -> None:
    video = accept_before_the_start(pipeline, start)
    pipeline.accept(video)
    assert take(pipeline, start) == []


def test_a_fast_claim_is_followed_by_claims_of_everything(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "DEAD_SECONDS", 60.0)
    start = NextClaim()
    take(pipeline, start)
    assert start == NextClaim()


def test_a_claim_that_takes_too_long_is_followed_by_one_that_begins_at_the_oldest_command(
    pipeline: Pipeline, database_url: str, start: NextClaim
) -> None:
    video = pipeline.video()
    pipeline.accept(video)
    impatient = replace(pipeline, engine=connect(database_url, statement_seconds=0.2))
    with transaction(pipeline.engine) as other:
        other.execute("LOCK TABLE publisher.publish_command")
        with pytest.raises(psycopg.OperationalError):
            take(impatient, start)
    assert take(pipeline, start) == [video]
    assert start.since != EVER
    impatient.engine.dispose()


def test_a_look_that_finds_few_ended_commands_is_followed_by_claims_of_everything(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "QUICK_SECONDS", 10.0)
    start = NextClaim(are_many_ended=True)
    take(pipeline, start)
    start.holds_until = time.monotonic()
    take(pipeline, start)
    assert start.since == EVER
