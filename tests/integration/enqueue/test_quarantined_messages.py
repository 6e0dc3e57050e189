"""Quarantined messages: a retry accepts the message and takes it out, or changes nothing."""

import json
from typing import Any

import pytest

from schemas.values.actor import SYSTEM
from tests.support.pipeline import Pipeline
from worker.enqueue.quarantined_messages import NoSuchMessage, RetryRefused, delete, retry
from worker.runtime.quarantine import quarantine


def keep(pipeline: Pipeline, body: object) -> int:
    """Quarantine a body, and return its id."""
    quarantine(pipeline.engine, body, ValueError("it was wrong then"))
    return pipeline.value("SELECT max(id) FROM publisher.quarantined_message")


def request(*videos: int, **more: Any) -> dict[str, Any]:
    """What the queue's door keeps of a message."""
    return {"args": [], "kwargs": {"commands": [{"video_id": each} for each in videos], **more}}


def test_a_retry_accepts_every_command_and_takes_the_message_out(pipeline: Pipeline) -> None:
    message = keep(pipeline, request(pipeline.video(), pipeline.video()))
    assert retry(pipeline.engine, pipeline.waker, message, SYSTEM) == 2
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 2
    assert pipeline.value("SELECT count(*) FROM publisher.quarantined_message") == 0
    with pytest.raises(NoSuchMessage):
        retry(pipeline.engine, pipeline.waker, message, SYSTEM)


def test_a_message_that_was_accepted_before_is_only_taken_out(pipeline: Pipeline) -> None:
    body = request(pipeline.video(), idempotency_key="order-1")
    for _ in range(2):
        retry(pipeline.engine, pipeline.waker, keep(pipeline, body), SYSTEM)
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 1
    assert pipeline.value("SELECT count(*) FROM publisher.quarantined_message") == 0
    assert pipeline.value("SELECT count(*) FROM publisher.audit_entry") == 2


@pytest.mark.parametrize(
    "body",
    [
        "nonsense",
        [{"args": [], "kwargs": {}}],
        {"stream": "video.generation", "entry": "1-0", "fields": {}},
        {"args": [], "kwargs": {}},
        {"args": [1], "kwargs": {}},
        {"args": 7, "kwargs": 7},
        {"args": [], "kwargs": {"commands": [{"video_id": "x"}]}},
        request(4711),
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_a_message_that_is_still_not_valid_stays(pipeline: Pipeline, body: object) -> None:
    message = keep(pipeline, body)
    with pytest.raises(RetryRefused):
        retry(pipeline.engine, pipeline.waker, message, SYSTEM)
    assert pipeline.value("SELECT id FROM publisher.quarantined_message") == message
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 0
    assert pipeline.value("SELECT count(*) FROM publisher.audit_entry") == 0


def test_a_message_is_deleted(pipeline: Pipeline) -> None:
    message = keep(pipeline, "nonsense")
    delete(pipeline.engine, message, SYSTEM)
    with pytest.raises(NoSuchMessage):
        delete(pipeline.engine, message, SYSTEM)
