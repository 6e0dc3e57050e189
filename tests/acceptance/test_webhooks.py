"""Webhooks end to end: real Celery processes, killed with real signals in the middle of sending."""

from asyncio import StreamWriter
from collections import defaultdict
from collections.abc import Generator
from dataclasses import replace

import pytest
from standardwebhooks import Webhook

from db.session import transaction
from publish_worker_client.events.names import Action
from schemas.command import PublishRequest
from tests.support import receiver as answers
from tests.support.pipeline import Pipeline
from tests.support.platform import make_ready_videos
from tests.support.processes import Celeries
from tests.support.receiver import Receiver, endpoint, receiver
from tests.support.waiting import wait_until
from worker.runtime.wake_ups import PUBLISH, REPORTS
from worker.webhooks.signing import new_secret

VIDEOS = 150
UNDELIVERED = "SELECT count(*) FROM publisher.webhook_delivery WHERE state <> 'delivered'"
TRIES = "SELECT count(*) FROM publisher.webhook_attempt WHERE status IS NULL"
"""Those that ended without an answer."""
LET_LEASES_END = """
UPDATE publisher.webhook_delivery SET claimed_until = now(), due_at = now()
WHERE claimed_until > now()
"""
"""Of a worker that was killed, they end by themselves after half a minute."""
PATHS = ("/a", "/b")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Generator[Receiver]:
    monkeypatch.setenv("WEBHOOKS_ALLOW_PRIVATE", "true")
    with receiver() as started:
        yield started


WAKE_UPS = "publish-worker:celery:webhooks"


def test_the_fan_out_is_woken_if_an_endpoint_is_enabled(
    pipeline: Pipeline, celery: Celeries, there: Receiver
) -> None:
    celery.start("worker", "--concurrency=1", "-Q", "publish").wait_for("ready.")
    publish_one(pipeline)
    assert pipeline.redis.llen(WAKE_UPS) == 0
    endpoint(pipeline, there.url("/a"))
    publish_one(pipeline)
    assert pipeline.redis.llen(WAKE_UPS) == 1


def publish_one(pipeline: Pipeline) -> None:
    """Let the only process of a worker publish a video, and then begin something else."""
    pipeline.accept(pipeline.video())
    pipeline.redis.delete(str(PUBLISH.key))
    waker = replace(pipeline.waker, is_broker=True)
    for wake_up in (PUBLISH, REPORTS):
        waker.wake(wake_up)
        wait_until(lambda key=str(wake_up.key): not pipeline.redis.exists(key), "its arrival")


def publish_and_withdraw(pipeline: Pipeline, count: int) -> None:
    """Two events of each video, recorded by this process, without a wake-up."""
    with transaction(pipeline.engine) as tx:
        videos = make_ready_videos(tx, count)
    pipeline.publish(*videos)
    pipeline.publish(*(PublishRequest(video_id=video, action=Action.UNPUBLISH) for video in videos))


def test_a_worker_is_killed_while_it_sends(
    pipeline: Pipeline, celery: Celeries, there: Receiver
) -> None:
    secrets = {path: new_secret() for path in PATHS}
    for path, secret in secrets.items():
        endpoint(pipeline, there.url(path), secret=secret)
    publish_and_withdraw(pipeline, VIDEOS)
    there.answers |= dict.fromkeys(PATHS, answers_until(there, VIDEOS))
    celery.beat()
    first = celery.worker(concurrency=2)
    wait_until(lambda: len(there.received) > VIDEOS, "some to arrive", every=0.001)
    first.kill()
    there.answers.clear()
    assert pipeline.value(UNDELIVERED), "it was killed in the middle"
    pipeline.execute(LET_LEASES_END)
    celery.worker(concurrency=2)
    wait_until(lambda: pipeline.value(UNDELIVERED) == 0, "everything to arrive", timeout=60)
    for path, secret in secrets.items():
        events = [
            Webhook(secret).verify(request.body, request.headers) for request in there.at(path)
        ]
        assert {event["id"] for event in events} == {event["id"] for event in pipeline.events()}
        assert_in_order_per_video(events)


def answers_until(there: Receiver, count: int) -> answers.Answer:
    """Answer this number of requests, and let the others wait."""

    async def answer(request: answers.Received, writer: StreamWriter) -> None:
        is_answered = len(there.received) <= count
        await (answers.says(204) if is_answered else answers.hangs)(request, writer)

    return answer


def assert_in_order_per_video(events: list[dict[str, str]]) -> None:
    """What arrives again apart, as it may after a crash, each video's events come in order."""
    seen: set[str] = set()
    by_video: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event["id"] not in seen:
            seen.add(event["id"])
            by_video[event["partitionkey"]].append(int(event["sequence"]))
    assert len(by_video) == VIDEOS
    assert all(sequences == sorted(sequences) for sequences in by_video.values())


@pytest.mark.slow
def test_a_stop_waits_for_requests_in_flight_and_publishing_does_not(
    pipeline: Pipeline, celery: Celeries, there: Receiver
) -> None:
    there.answers["/slow"] = answers.hangs
    endpoint(pipeline, there.url("/slow"))
    endpoint(pipeline, there.url("/quick"))
    pipeline.publish(*(pipeline.video() for _ in range(5)))
    celery.beat()
    worker = celery.worker()
    wait_until(lambda: len(there.at("/slow")) >= 5, "the slow one to be asked")
    video = pipeline.video()
    pipeline.accept(video)
    wait_until(
        lambda: not pipeline.value("SELECT is_draft FROM video WHERE id = %s", video),
        "the one process to publish",
    )
    assert pipeline.value(TRIES) == 0, "it publishes while answers are awaited"
    wait_until(lambda: len(there.at("/quick")) >= 6, "its event")
    worker.stop(timeout=30)
    assert pipeline.value(TRIES) >= 5, "what was in flight was written down"
