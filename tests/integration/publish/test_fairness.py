"""One workspace's backlog, failing commands or unready videos delay no other workspace."""

from collections import Counter
from datetime import timedelta
from functools import partial

import pytest

from db.commands import claim
from db.commands.claim import NextClaim, claim_due
from db.session import transaction
from schemas.command import PublishRequest
from tests.support.pipeline import BASE_URLS, Pipeline
from tests.support.plans import count_claimed_pages
from tests.support.requests import request
from tests.support.waiting import takes_less_than
from worker.publish import run
from worker.publish.run import publish_batch

BUSY, OTHER = 1, 2
POISON = """
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.workspace_id = 1 THEN RAISE EXCEPTION 'this row is poisonous'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER poison BEFORE UPDATE ON video FOR EACH ROW EXECUTE FUNCTION poison();
"""
MAKE_VIDEOS = """
INSERT INTO video (title, status, internal_status, video, template_id, owner_id, workspace_id)
SELECT 'Lecture', 'completed', 'completed', 'https://cdn.example.com/1.mp4', 1, 1, %s
FROM generate_series(1, %s)
"""
ACCEPT_ALL = """
INSERT INTO publisher.publish_command (id, video_id, workspace_id, trigger, correlation_id, due_at)
SELECT gen_random_uuid(), v.id, v.workspace_id, 'api', 'c-1', now() - %s * interval '1 s'
FROM video v WHERE v.workspace_id = %s AND v.is_draft
"""


def fill(pipeline: Pipeline, workspace_id: int, count: int, *, due_since: float = 10) -> None:
    """Make ready videos, each with a command that has been due for some seconds."""
    pipeline.execute(
        "INSERT INTO workspace (id, name, custom_url) VALUES (%s, 'W', %s) ON CONFLICT DO NOTHING",
        workspace_id,
        f"w{workspace_id}",
    )
    pipeline.execute(MAKE_VIDEOS, workspace_id, count)
    pipeline.execute(ACCEPT_ALL, due_since, workspace_id)


def claim_once(pipeline: Pipeline, limit: int) -> Counter[int]:
    """Claim a batch, return how many of it are in each workspace, and give it back."""
    with transaction(pipeline.engine) as tx:
        claimed = claim_due(tx, limit)
        tx.rollback()
    return Counter(command.workspace_id for command in claimed)


def test_a_backlog_of_one_workspace_does_not_delay_another(pipeline: Pipeline) -> None:
    fill(pipeline, BUSY, 1000)
    [command] = pipeline.accept(pipeline.video(workspace_id=OTHER)).commands
    publish_batch(pipeline.engine, BASE_URLS, partial(claim_due, limit=run.BATCH))
    assert pipeline.states(command) == ["published"]


def test_a_backlog_that_became_due_a_moment_ago_delays_no_other_workspace(
    pipeline: Pipeline,
) -> None:
    fill(pipeline, BUSY, 1000, due_since=0.1)
    [command] = pipeline.accept(pipeline.video(workspace_id=OTHER)).commands
    publish_batch(pipeline.engine, BASE_URLS, partial(claim_due, limit=run.BATCH))
    assert pipeline.states(command) == ["published"]


def test_workspaces_with_a_backlog_share_a_batch(pipeline: Pipeline) -> None:
    for workspace_id, due_since in ((1, 30), (2, 20), (3, 10)):
        fill(pipeline, workspace_id, 100, due_since=due_since)
    assert min(claim_once(pipeline, 100).values()) >= 26
    assert claim_once(pipeline, 100).total() == 80  # a fifth is for what becomes due now


def test_what_a_workspace_does_not_need_of_its_share_is_used_by_others(pipeline: Pipeline) -> None:
    fill(pipeline, BUSY, 100)
    fill(pipeline, OTHER, 3)
    assert claim_once(pipeline, 50) == {BUSY: 37, OTHER: 3}


def test_a_single_workspace_fills_the_batch(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "LATE", timedelta(minutes=1))
    fill(pipeline, BUSY, 80, due_since=600)
    pipeline.execute("UPDATE publisher.publish_command SET due_at = now() WHERE video_id % 4 = 0")
    assert claim_once(pipeline, 50).total() == 50


def test_within_a_workspace_the_oldest_are_carried_out_first(pipeline: Pipeline) -> None:
    fill(pipeline, BUSY, 30, due_since=10)
    pipeline.execute(
        "UPDATE publisher.publish_command SET due_at = due_at + video_id * interval '1 ms'"
    )
    with transaction(pipeline.engine) as tx:
        claimed = [command.video_id for command in claim_due(tx, 10)]
    first = pipeline.rows("SELECT video_id FROM publisher.publish_command ORDER BY due_at LIMIT 8")
    assert claimed == [row[0] for row in first]


def test_a_backlog_is_divided_until_the_rest_fits(pipeline: Pipeline) -> None:
    fill(pipeline, BUSY, 30)
    start, sizes, is_divided = NextClaim(), list[int](), list[bool]()
    for _ in range(6):
        take = partial(claim_due, limit=10, start=start)
        sizes.append(len(publish_batch(pipeline.engine, BASE_URLS, take)))
        is_divided.append(start.are_many_due)
    assert sizes == [8, 8, 8, 6, 0, 0]
    assert is_divided == [True, True, True, False, False, False]


def test_a_claim_locks_no_command_that_it_does_not_return(pipeline: Pipeline) -> None:
    fill(pipeline, BUSY, 30)
    with transaction(pipeline.engine) as tx, transaction(pipeline.engine) as other:
        claimed = claim_due(tx, 10)
        free = other.execute("SELECT FROM publisher.publish_command FOR UPDATE SKIP LOCKED")
        assert (len(claimed), free.rowcount) == (8, 22)


@pytest.mark.parametrize("seen_at_once", [1000, 3])
def test_each_of_many_workspaces_has_its_turn(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, seen_at_once: int
) -> None:
    monkeypatch.setattr(claim, "MAX_WORKSPACES", seen_at_once)
    for workspace_id in range(1, 13):
        fill(pipeline, workspace_id, 20, due_since=100 - workspace_id)
    start, seen = NextClaim(), set[int]()
    for _ in range(6):
        with transaction(pipeline.engine) as tx:
            seen |= {command.workspace_id for command in claim_due(tx, 5, start)}
            tx.rollback()
    assert seen == set(range(1, 13))


def test_failing_commands_of_one_workspace_do_not_delay_another(pipeline: Pipeline) -> None:
    pipeline.execute(POISON)
    fill(pipeline, BUSY, 1000)
    [command] = pipeline.accept(pipeline.video(workspace_id=OTHER)).commands
    publish_batch(pipeline.engine, BASE_URLS, partial(claim_due, limit=run.BATCH))
    assert pipeline.states(command) == ["published"]
    finished = pipeline.command(command.id).finished_at
    assert finished is not None
    attempts = "SELECT count(*) FROM publisher.publish_command WHERE attempts > 0 AND claimed_at "
    assert pipeline.value(f"{attempts} < %s", finished) == 0
    assert pipeline.value(f"{attempts} > %s", finished) == run.MOST_FAILED


def test_commands_that_wait_for_an_older_one_do_not_keep_it_from_being_claimed(
    pipeline: Pipeline,
) -> None:
    video = pipeline.video()
    older, *newer = pipeline.accept(*[video] * 9).commands
    pipeline.execute(
        "UPDATE publisher.publish_command SET due_at = now() - interval '1 min' WHERE id <> %s",
        older.id,
    )
    pipeline.execute(
        "UPDATE publisher.publish_command SET due_at = now() - interval '30 s',"
        " fell_due_at = now() - interval '2 min' WHERE id = %s",
        older.id,
    )
    publish_batch(pipeline.engine, BASE_URLS, partial(claim_due, limit=4))
    assert pipeline.states(older) == ["published"]
    pipeline.run()
    assert set(pipeline.states(*newer)) == {"unchanged"}


def wait_for_generation(pipeline: Pipeline, count: int) -> list[str]:
    """Let commands wait for a video that is not ready; return their ids, the oldest first."""
    commands = pipeline.publish(*[pipeline.video(status="in_progress")] * count)
    return [str(command.id) for command in commands]


DUE = "UPDATE publisher.publish_command SET due_at = now() WHERE id = %s"
CHECKS = "SELECT checks FROM publisher.publish_command ORDER BY id"
AHEAD = """
SELECT extract(epoch FROM due_at - min(due_at) OVER ()) > 0.9 FROM publisher.publish_command
ORDER BY id
"""


@pytest.mark.usefixtures("long_pauses")
def test_a_video_that_is_not_ready_is_asked_once_for_all_of_its_commands(
    pipeline: Pipeline,
) -> None:
    first, *_ = wait_for_generation(pipeline, 5)
    assert pipeline.rows(AHEAD) == [(False,), *[(True,)] * 4]
    for _ in range(3):
        pipeline.execute(DUE, first)
        pipeline.run()
    assert pipeline.rows(CHECKS) == [(4,), *[(1,)] * 4]
    assert pipeline.rows(AHEAD) == [(False,), *[(True,)] * 4]


@pytest.mark.usefixtures("long_pauses")
def test_commands_that_were_asked_separately_are_asked_together_from_then_on(
    pipeline: Pipeline,
) -> None:
    video = pipeline.video(status="in_progress")
    for _ in range(3):
        pipeline.publish(video)
    pipeline.execute("UPDATE publisher.publish_command SET due_at = now() + interval '1 min'")
    [first, *_] = pipeline.rows("SELECT id FROM publisher.publish_command ORDER BY id")
    pipeline.execute(DUE, first[0])
    pipeline.run()
    assert pipeline.rows(AHEAD) == [(False,), (True,), (True,)]


def test_all_commands_of_a_video_follow_when_it_becomes_ready(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    requests = [request(video, title=f"Title {n}") for n in range(5)]
    pipeline.publish(*requests)
    pipeline.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    pipeline.run()
    assert pipeline.value("SELECT title FROM video WHERE id = %s", video) == "Title 4"


def test_commands_follow_without_a_trigger_when_the_first_is_published(pipeline: Pipeline) -> None:
    pipeline.execute("DROP TRIGGER publisher_video_changed ON video")
    first, *others = wait_for_generation(pipeline, 3)
    pipeline.execute("UPDATE video SET status = 'completed'")
    pipeline.execute(DUE, first)
    pipeline.run()
    soon = "state = 'waiting' AND due_at < now() + interval '3 s' OR state = 'published'"
    count = f"SELECT count(*) FROM publisher.publish_command WHERE id <> %s AND ({soon})"
    assert pipeline.value(count, first) == len(others)


@pytest.mark.usefixtures("long_pauses")
def test_a_command_that_follows_another_still_expires_at_its_deadline(
    pipeline: Pipeline,
) -> None:
    video = pipeline.video(status="in_progress")
    deadline = pipeline.value("SELECT now() + interval '3 min'")
    first, second = pipeline.publish(video, PublishRequest(video_id=video, publish_before=deadline))
    for _ in range(2):
        pipeline.execute(DUE, first.id)
        pipeline.run()
    late = "SELECT due_at > publish_before FROM publisher.publish_command WHERE id = %s"
    assert pipeline.value(late, second.id) is False
    pipeline.let_pass(hours=2)
    pipeline.run()
    assert pipeline.states(second) == ["expired"]


MANY = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, correlation_id, state, due_at)
SELECT gen_random_uuid(), %s, 1, 'api', 'c-1', 'waiting', now() + n * interval '1 s'
FROM generate_series(1, 20000) n
"""


def test_a_claim_reads_little_however_many_commands_a_video_has(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.accept(*[video] * 50)
    pipeline.execute(MANY, video)
    pipeline.execute("ANALYZE publisher.publish_command")
    assert count_claimed_pages(pipeline.engine) < 3000


def test_a_claim_reads_little_of_a_backlog_however_many_workspaces_there_are(
    pipeline: Pipeline,
) -> None:
    pipeline.execute(
        MANY.replace("%s, 1,", "n, n,"),
    )
    fill(pipeline, BUSY, 2000)
    fill(pipeline, OTHER, 1)
    pipeline.execute("ANALYZE publisher.publish_command")
    assert count_claimed_pages(pipeline.engine) < 15_000


ENDED = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, correlation_id, state, due_at, finished_at)
SELECT gen_random_uuid(), n, n %% %s, 'api', 'c-1', 'published', now() - interval '1 day', now()
FROM generate_series(1, 20000) n
"""


@pytest.mark.parametrize("since", [claim.EVER, "yesterday"])
@pytest.mark.parametrize("workspaces", [2, 300])
def test_a_claim_reads_little_of_a_backlog_that_no_statistics_know(
    pipeline: Pipeline, workspaces: int, since: str
) -> None:
    late = "now() - random() * interval '5 hours'"
    backlog = MANY.replace("%s, 1,", "n, n %% %s,").replace("now() + n * interval '1 s'", late)
    pipeline.execute(ENDED, workspaces)
    pipeline.execute("ANALYZE publisher.publish_command")
    pipeline.execute(backlog, workspaces)
    assert count_claimed_pages(pipeline.engine, NextClaim(since=since)) < 6000


def test_a_claim_is_fast_though_its_plan_is_of_a_time_with_few_commands(pipeline: Pipeline) -> None:
    for _ in range(20):
        claim_and_commit(pipeline)
    pipeline.execute(MANY.replace("now() + n * interval '1 s'", "now() - n * interval '1 ms'"), 1)
    claim_and_commit(pipeline)
    assert takes_less_than(1, lambda: claim_and_commit(pipeline, 1))


def claim_and_commit(pipeline: Pipeline, at_least: int = 0) -> None:
    """Claim a batch, and commit: psycopg forgets its prepared statements after a rollback."""
    with transaction(pipeline.engine) as tx:
        assert len(claim_due(tx, 250)) >= at_least
