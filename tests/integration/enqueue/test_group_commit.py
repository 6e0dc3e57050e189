"""Group commit: many requests in one transaction, each of them alone accepted or refused."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
import structlog
from psycopg import errors
from structlog.testing import capture_logs

from db.commands import limits
from db.loop_sessions import LoopPool
from db.session import Connection, connect
from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.requests import request
from tests.support.statements import counted
from tests.support.traces import SAMPLED
from worker.enqueue import group_commit
from worker.enqueue.accept import Outcome, accept_group
from worker.enqueue.group_commit import SESSIONS, GroupCommit
from worker.enqueue.origin import Origin
from worker.enqueue.refusals import (
    EnqueueRefused,
    KeyReused,
    NoSuchVideo,
    RequestInvalid,
    TooManyCommands,
    VideoChanged,
)
from worker.enqueue.submission import Accepted, Submission

COUNT = "SELECT count(*) FROM publisher.publish_command"
TRANSACTIONS = "SELECT count(DISTINCT accepted_at) FROM publisher.publish_command"
REMEMBER = """
INSERT INTO publisher.idempotency_key (scope, key, digest, command_ids)
VALUES ('s', %s, %s, '{}')
"""
# The platform's own rules may refuse what ours accept.
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.correlation_id = 'culprit' THEN RAISE EXCEPTION 'refused by a trigger'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON publisher.publish_command
FOR EACH ROW EXECUTE FUNCTION refuse();
"""

NOTHING: dict[str, Any] = {}

Result = Accepted | BaseException


@dataclass
class Door:
    """Group commit on the engine of a test."""

    group_commit: GroupCommit
    pool: LoopPool
    wake_ups: list[int] = field(default_factory=list[int])

    def accept(self, asked: PublishRequest | int, **origin: Any) -> Awaitable[Accepted]:
        """Accept one request, or a video by its id."""
        publish = PublishRequest(video_id=asked) if isinstance(asked, int) else asked
        known: dict[str, Any] = {
            "trigger": Trigger.API,
            "correlation_id": "c",
            "workspace_id": None,
            **origin,
        }
        return self.group_commit.accept([publish], Origin(**known))

    async def accept_all(self, *asked: Awaitable[Accepted]) -> list[Result]:
        """Accept all at the same time; errors in place of what failed."""
        return await asyncio.gather(*asked, return_exceptions=True)


def use(pipeline: Pipeline, act: Callable[[Door], Awaitable[Any]]) -> Any:
    """Run `act` on an event loop with a door."""

    async def main() -> Any:
        pool = LoopPool(pipeline.engine, SESSIONS)
        wake_ups: list[int] = []
        door = Door(GroupCommit(pool, lambda: wake_ups.append(1)), pool, wake_ups)
        try:
            return await act(door)
        finally:
            await door.group_commit.close()
            await pool.close()

    return asyncio.run(main())


def accept_all(pipeline: Pipeline, *asked: tuple[PublishRequest | int, dict[str, Any]]) -> Any:
    """Accept all of these at the same time."""
    return use(
        pipeline,
        lambda door: door.accept_all(*(door.accept(each, **origin) for each, origin in asked)),
    )


def key(name: str) -> dict[str, Any]:
    return {"idempotency_scope": "s", "idempotency_key": name}


def ids(result: Result) -> list[Any]:
    assert isinstance(result, Accepted), result
    return [command.id for command in result.commands]


@contextmanager
def failing(fail: Callable[[Sequence[Submission]], Exception | None]) -> Generator[list[int]]:
    """Let the answer of a group be lost where `fail` has an error; collect the groups' sizes."""
    sizes: list[int] = []

    def accept(tx: Connection, submissions: Sequence[Submission]) -> list[Outcome]:
        sizes.append(len(submissions))
        outcomes = accept_group(tx, submissions)
        if error := fail(submissions):
            raise error
        return outcomes

    with patch.object(group_commit, "accept_group", accept):
        yield sizes


def test_requests_that_arrive_together_share_a_transaction(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(20)]
    accepted = accept_all(pipeline, *((video, NOTHING) for video in videos))
    assert [each.commands[0].video_id for each in accepted] == videos
    assert (pipeline.value(COUNT), pipeline.value(TRANSACTIONS)) == (20, 1)


def test_requests_that_arrive_during_a_transaction_share_the_next_one(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(9)]

    async def act(door: Door) -> None:
        first = asyncio.ensure_future(door.accept(videos[0]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await door.accept_all(first, *(door.accept(video) for video in videos[1:]))

    use(pipeline, act)
    assert (pipeline.value(COUNT), pipeline.value(TRANSACTIONS)) == (9, 2)


def test_a_caller_may_submit_again_as_soon_as_it_is_answered(pipeline: Pipeline) -> None:
    video = pipeline.video()

    async def act(door: Door) -> None:
        for _ in range(20):
            await asyncio.wait_for(door.accept(video), 20)

    use(pipeline, act)
    assert pipeline.value(COUNT) == 20


def test_an_answer_has_the_commands_as_the_inbox_has_them(pipeline: Pipeline) -> None:
    window = PublishRequest.model_validate(
        {
            "video_id": pipeline.video(),
            "publish_at_local": "2100-01-01T10:00",
            "unpublish_at_local": "2100-01-02T10:00",
            "time_zone": "Europe/Berlin",
            "publish_before": "2101-01-01T00:00Z",
            "expected_revision": 0,
        }
    )
    edited = request(pipeline.video(), tags=[1], category=1, description="É")
    accepted = accept_all(pipeline, (window, {}), (edited, key("k")), (pipeline.video(), {}))
    for command in (command for each in accepted for command in each.commands):
        assert replace(command, is_due=True) == replace(pipeline.command(command.id), is_due=True)
    assert [command.is_due for each in accepted for command in each.commands] == [
        False,
        False,
        True,
        True,
    ]


def test_each_request_is_accepted_or_refused_by_itself(pipeline: Pipeline) -> None:
    good = [pipeline.video() for _ in range(3)]
    full = pipeline.video(status="in_progress")
    pipeline.accept(*[full] * limits.PER_VIDEO)
    results = accept_all(
        pipeline,
        (good[0], {}),
        (999_999, {}),
        (pipeline.video(workspace_id=2), {"workspace_id": 1}),
        (good[1], {}),
        (request(pipeline.video(), tags=[77]), {}),
        (PublishRequest(video_id=pipeline.video(), expected_revision=7), {}),
        (full, {}),
        (
            PublishRequest.model_validate(
                {"video_id": good[2], "unpublish_at": "2001-01-01T00:00Z"}
            ),
            {},
        ),
        (good[2], {}),
    )
    assert [type(each) for each in results] == [
        Accepted,
        NoSuchVideo,
        NoSuchVideo,
        Accepted,
        RequestInvalid,
        VideoChanged,
        TooManyCommands,
        RequestInvalid,
        Accepted,
    ]
    assert pipeline.value(COUNT) == limits.PER_VIDEO + 3


def test_the_limits_count_the_neighbours(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    pipeline.accept(*[video] * (limits.PER_VIDEO - 2))
    results = accept_all(pipeline, *((video, NOTHING) for _ in range(4)))
    assert [type(each) for each in results] == [
        Accepted,
        Accepted,
        TooManyCommands,
        TooManyCommands,
    ]


def test_the_same_key_twice_in_a_group_counts_once(pipeline: Pipeline) -> None:
    video = pipeline.video()
    first, again, other = accept_all(
        pipeline, (video, key("k")), (video, key("k")), (pipeline.video(), key("k"))
    )
    assert ids(first) == ids(again)
    assert (first.replayed, again.replayed) == (False, True)
    assert isinstance(other, KeyReused)
    assert pipeline.value(COUNT) == 1


def test_the_key_of_a_refused_request_can_be_used_again(pipeline: Pipeline) -> None:
    refused, accepted = accept_all(pipeline, (999_999, key("k")), (pipeline.video(), key("k")))
    assert isinstance(refused, NoSuchVideo)
    assert not accepted.replayed


def test_a_key_of_an_earlier_group_is_replayed(pipeline: Pipeline) -> None:
    video = pipeline.video()
    first = pipeline.accept(video, **key("k"))
    again, new = accept_all(pipeline, (video, key("k")), (video, key("l")))
    assert ids(again) == ids(first)
    assert (again.replayed, new.replayed) == (True, False)


def test_a_key_that_another_transaction_stores_delays_only_its_own_request(
    pipeline: Pipeline,
) -> None:
    videos = [pipeline.video() for _ in range(3)]
    digest = Submission(
        requests=[PublishRequest(video_id=videos[0])],
        origin=Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None),
    ).digest

    async def act(door: Door) -> list[Result]:
        with pipeline.holding(REMEMBER, "k", digest):
            contended = asyncio.ensure_future(door.accept(videos[0], **key("k")))
            others = await door.accept_all(
                door.accept(videos[1], **key("l")), door.accept(videos[2])
            )
            assert not contended.done()
        return [await contended, *others]

    contended, *others = use(pipeline, act)
    assert (contended.replayed, contended.commands) == (True, [])
    assert all(isinstance(each, Accepted) and not each.replayed for each in others)
    assert pipeline.value(COUNT) == 2


def test_timed_commands_of_a_group_have_their_events_in_order(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(3)]
    timed = [
        PublishRequest.model_validate({"video_id": video, "publish_at": "2100-01-01T00:00Z"})
        for video in videos
    ]
    accept_all(
        pipeline, *((each, {"traceparent": SAMPLED, "correlation_id": "c-7"}) for each in timed)
    )
    events = pipeline.events()
    assert [event["type"] for event in events] == ["video.publish_scheduled"] * 3
    assert [event["data"]["video_id"] for event in events] == videos
    assert {(event["traceparent"], event["correlationid"]) for event in events} == {
        (SAMPLED, "c-7")
    }


def test_one_wake_up_and_one_log_line_for_each_transaction(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(5)]

    async def act(door: Door) -> list[int]:
        await door.accept_all(*(door.accept(video) for video in videos))
        await door.accept_all(door.accept(999_999))
        return door.wake_ups

    with (
        structlog.contextvars.bound_contextvars(correlation_id="of-the-first-caller"),
        capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines,
    ):
        assert use(pipeline, act) == [1]
    [line] = [line for line in lines if line["event"] == "commands.accepted"]
    assert (line["commands"], line["requests"]) == (5, 5)
    assert "correlation_id" not in line


@contextmanager
def counted_reads() -> Generator[list[int]]:
    """Count how often this event loop waits for the server."""
    loop = asyncio.get_running_loop()
    add_reader, reads = loop.add_reader, list[int]()

    def add(fd: int, *more: Any) -> None:
        reads.append(fd)
        add_reader(fd, *more)

    with patch.object(loop, "add_reader", add):
        yield reads


@pytest.mark.parametrize("size", [1, 20])
def test_a_group_costs_two_statements_in_two_round_trips(pipeline: Pipeline, size: int) -> None:
    videos = [pipeline.video() for _ in range(size)]

    async def act(door: Door) -> tuple[list[str], int]:
        await door.accept(videos[0])
        with counted() as statements, counted_reads() as reads:
            await door.accept_all(*(door.accept(video) for video in videos))
        return statements, len(reads)

    statements, round_trips = use(pipeline, act)
    assert len(statements) == 2, statements  # identities with limits, insert
    assert round_trips == 2


def test_lost_sessions_are_replaced_and_each_command_is_accepted_once(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(6)]

    async def act(door: Door) -> list[Result]:
        await door.accept_all(
            *(door.accept(v, **key(str(v))) for v in videos[:2]), door.accept(videos[2])
        )
        await asyncio.to_thread(pipeline.end_other_sessions)
        return await door.accept_all(door.accept(videos[3]), door.accept(videos[4], **key("k")))

    assert all(isinstance(each, Accepted) for each in use(pipeline, act))
    assert pipeline.value(COUNT) == 5


def test_a_plan_that_a_migration_has_outdated_is_not_the_callers_error(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(10)]

    async def act(door: Door) -> None:
        for video in videos[:9]:
            await door.accept(video)
        await asyncio.to_thread(
            pipeline.execute, "ALTER TABLE iam_user ALTER COLUMN username TYPE varchar(500)"
        )
        await door.accept(videos[9])

    use(pipeline, act)
    assert pipeline.value(COUNT) == 10


def test_a_commit_whose_answer_is_lost_is_not_repeated(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(3)]
    lost = psycopg.OperationalError("the connection is lost")
    with failing(lambda _: lost):
        results = accept_all(pipeline, *((video, NOTHING) for video in videos))
    assert [len(ids(each)) for each in results] == [1, 1, 1]
    assert pipeline.value(COUNT) == 3


def test_an_error_of_one_is_not_that_of_its_neighbours(pipeline: Pipeline) -> None:
    pipeline.execute(REFUSE)
    videos = [pipeline.video() for _ in range(3)]
    results = accept_all(
        pipeline, (videos[0], {}), (videos[1], {"correlation_id": "culprit"}), (videos[2], {})
    )
    assert [type(each) for each in results] == [Accepted, errors.RaiseException, Accepted]
    assert pipeline.value(COUNT) == 2


def test_an_unreachable_database_is_each_ones_error(pipeline: Pipeline) -> None:
    nowhere = replace(pipeline, engine=connect("postgresql://127.0.0.1:1/nothing"))
    results = accept_all(nowhere, (1, {}), (2, {}), (3, key("k")))
    assert [type(each) for each in results] == [psycopg.OperationalError] * 3


def test_a_caller_that_leaves_before_its_group_begins_enqueues_nothing(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(2)]

    async def act(door: Door) -> None:
        leaves = asyncio.ensure_future(door.accept(videos[0]))
        stays = asyncio.ensure_future(door.accept(videos[1]))
        await asyncio.sleep(0)
        leaves.cancel()
        await stays

    use(pipeline, act)
    assert pipeline.value(COUNT) == 1


def test_a_caller_that_leaves_during_its_group_harms_no_session(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(20)]

    async def act(door: Door) -> list[Result]:
        for video in videos[:10]:
            leaves = asyncio.ensure_future(door.accept(video))
            for _ in range(5):
                await asyncio.sleep(0)
            leaves.cancel()
        return await door.accept_all(*(door.accept(video) for video in videos[10:]))

    assert all(isinstance(each, Accepted) for each in use(pipeline, act))
    assert pipeline.rows(f"{COUNT} WHERE video_id = ANY(%s)", videos[10:]) == [(10,)]


def test_a_full_group_is_divided_among_the_workspaces(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_COMMANDS", 4)
    many, few = pipeline.video(), pipeline.video(workspace_id=2)
    results = accept_all(
        pipeline,
        *((many, {"workspace_id": 1}) for _ in range(10)),
        *((few, {"workspace_id": 2}) for _ in range(2)),
    )
    groups: list[list[int]] = []
    for result in results:
        command = result.commands[0]
        groups.append([command.accepted_at, command.workspace_id])
    first = min(accepted_at for accepted_at, _ in groups)
    assert sorted(workspace for at, workspace in groups if at == first) == [1, 1, 2, 2]
    assert pipeline.value(TRANSACTIONS) == 3


def test_a_refusal_alone_is_raised(pipeline: Pipeline) -> None:
    async def act(door: Door) -> None:
        await door.accept(999_999)

    with pytest.raises(EnqueueRefused):
        use(pipeline, act)
