"""Enqueue: all or nothing, once per idempotency key, with one coalesced wake-up."""

import signal
from dataclasses import replace

import pytest
from redis import Redis
from sqlalchemy import Engine
from structlog.testing import capture_logs

from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.requests import request
from tests.support.statements import counted
from tests.support.threads import together
from tests.support.traces import SAMPLED
from tests.support.valkey import Valkey
from tests.support.waiting import takes_less_than
from worker.enqueue.accept import Accepted, Origin, enqueue
from worker.enqueue.refusals import KeyReused, NoSuchVideo, RequestInvalid
from worker.runtime import wake_ups
from worker.runtime.redis_clients import open_hint_redis
from worker.runtime.wake_ups import PUBLISH, Waker

WAKE_UP_KEY = str(PUBLISH.key)

KEYED = {"idempotency_scope": "k", "idempotency_key": "once"}


def commands(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM publisher.publish_command")


@pytest.mark.parametrize(
    "given", ["", "00-1", "00-zz-zz-01", f"{SAMPLED}\r\nx: y", SAMPLED.upper()]
)
def test_a_traceparent_that_is_not_valid_is_ignored(pipeline: Pipeline, given: str) -> None:
    pipeline.publish(pipeline.video(), traceparent=given)
    assert "traceparent" not in pipeline.events()[0]


def test_a_command_keeps_its_correlation_id_and_traceparent(pipeline: Pipeline) -> None:
    video = pipeline.video()
    [command] = pipeline.accept(video, trigger=Trigger.PIPELINE, correlation_id="c-9").commands
    assert (command.video_id, command.workspace_id) == (video, 1)
    assert (command.trigger, command.correlation_id) == ("pipeline", "c-9")


def test_commands_come_back_in_the_order_of_the_requests(pipeline: Pipeline) -> None:
    videos = [pipeline.video() for _ in range(20)][::-1]
    assert [c.video_id for c in pipeline.accept(*videos).commands] == videos


def test_one_unknown_video_refuses_all(pipeline: Pipeline) -> None:
    with pytest.raises(NoSuchVideo) as refused:
        pipeline.accept(pipeline.video(), 999_999, pipeline.video())
    assert list(refused.value.indexes) == [1]
    assert commands(pipeline) == 0


def test_a_video_of_another_workspace_does_not_exist(pipeline: Pipeline) -> None:
    with pytest.raises(NoSuchVideo):
        pipeline.accept(pipeline.video(workspace_id=2), workspace_id=1)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"workspace": 2}, "/workspace"),
        ({"owner": {"id": 9}}, "/owner/id"),
        ({"owner": {"username": "eve"}}, "/owner/username"),
        ({"category": 77}, "/category"),
        ({"subcategory": 77}, "/subcategory"),
        ({"category": 1, "subcategory": 2}, "/subcategory"),
        ({"tags": [1, 77]}, "/tags"),
    ],
)
def test_a_request_that_contradicts_the_database_is_refused(
    pipeline: Pipeline, fields: dict[str, object], pointer: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        pipeline.accept(pipeline.video(), request(pipeline.video(), **fields))
    assert [(index, error.pointer) for index, error in refused.value.errors] == [(1, pointer)]
    assert commands(pipeline) == 0


def test_the_same_key_and_request_give_the_same_commands(pipeline: Pipeline) -> None:
    video = pipeline.video()
    first = pipeline.accept(video, **KEYED)
    again = pipeline.accept(video, **KEYED)
    assert [c.id for c in first.commands] == [c.id for c in again.commands]
    assert (first.replayed, again.replayed) == (False, True)
    assert commands(pipeline) == 1


def test_the_same_key_with_another_request_is_refused(pipeline: Pipeline) -> None:
    pipeline.accept(pipeline.video(), **KEYED)
    with pytest.raises(KeyReused):
        pipeline.accept(pipeline.video(), **KEYED)


def test_a_key_belongs_to_its_caller(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.accept(video, **KEYED)
    assert not pipeline.accept(video, idempotency_scope="other", idempotency_key="once").replayed


def test_one_key_used_by_many_at_once_counts_once(pipeline: Pipeline) -> None:
    video = pipeline.video()
    seen: list[str] = []
    together(8, lambda: seen.append(str(pipeline.accept(video, **KEYED).commands[0].id)))
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert commands(pipeline) == 1


def test_a_thousand_enqueues_cost_one_wake_up(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.redis.set(
        WAKE_UP_KEY, 1, px=60_000
    )  # as a wake-up on its way does, but without the race
    for _ in range(50):
        pipeline.accept(video)
    assert pipeline.wake_ups == []
    pipeline.waker.note_arrival()
    pipeline.accept(video)
    assert pipeline.wake_ups == [1]


def test_a_wake_up_that_got_lost_is_sent_again_soon(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wake_ups.KEY_MS <= 1_000
    monkeypatch.setattr(wake_ups, "KEY_MS", 60_000)
    pipeline.accept(pipeline.video())
    assert 0 < int(pipeline.redis.pttl(WAKE_UP_KEY)) <= 60_000


def test_the_number_of_statements_does_not_grow_with_the_commands(pipeline: Pipeline) -> None:
    counts: list[int] = []
    for size in (1, 300):
        asked = [request(pipeline.video(), tags=[1], category=1) for _ in range(size)]
        with counted() as statements:
            pipeline.accept(*asked, idempotency_scope="k", idempotency_key=str(size))
        counts.append(len(statements))
    assert 3 <= counts[0] == counts[1], counts


def test_a_command_is_accepted_within_a_second_when_redis_is_down(platform: Engine) -> None:
    pipeline = Pipeline(engine=platform, redis=Redis())
    video = pipeline.video()
    nowhere = Waker(
        redis=open_hint_redis("redis://127.0.0.1:1/0"), send=lambda _: pytest.fail("sent")
    )
    origin = Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None)
    accepted: list[Accepted] = []

    def accept() -> None:
        accepted.append(enqueue(platform, nowhere, [PublishRequest(video_id=video)], origin))

    assert takes_less_than(1, accept)
    assert pipeline.command(accepted[0].commands[0].id).state == "scheduled"


@pytest.mark.usefixtures("limits")
def test_a_redis_that_does_not_answer_is_hardly_waited_for(valkey: Valkey) -> None:
    """Worse than a dead one: it takes the connection and says nothing."""
    mute = Waker(redis=open_hint_redis(valkey.url), send=lambda _: None)
    mute.wake()
    valkey.process.send_signal(signal.SIGSTOP)
    assert takes_less_than(4, mute.wake), "other clients wait for five seconds"
    mute.redis.close()


def test_an_outage_of_the_broker_is_logged_once_and_its_end_once(pipeline: Pipeline) -> None:
    down = [True, True, True, False, False]

    def send(_: object) -> None:
        if down.pop(0):
            raise ConnectionRefusedError

    waker = replace(pipeline.waker, send=send)
    with capture_logs() as lines:
        while down:
            waker.wake()
            waker.note_arrival()
    assert [line["event"] for line in lines] == ["wake_ups.unreachable", "wake_ups.reachable"]


def test_a_wake_up_that_cannot_be_sent_does_not_fail_the_enqueue(pipeline: Pipeline) -> None:
    def refuse(_: object) -> None:
        raise ConnectionRefusedError

    video = pipeline.video()
    waker = replace(pipeline.waker, send=refuse)
    origin = Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None)
    enqueue(pipeline.engine, waker, [PublishRequest(video_id=video)], origin)
    assert commands(pipeline) == 1
