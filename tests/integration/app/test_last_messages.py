"""Messages that a worker alone has as it ends: accepted, dropped or quarantined, as at any time."""

import json
from base64 import b64encode
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kombu.utils.json import dumps

from schemas.values.actor import SYSTEM
from tests.support.messages import encode, envelope, protocol_1
from tests.support.pipeline import Pipeline
from worker.app import app
from worker.app.last_messages import accept_last
from worker.app.messages import rewrite_envelope
from worker.enqueue.quarantined_messages import retry
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings

ACCEPTED = "SELECT count(*) FROM publisher.publish_command WHERE trigger = 'queue'"
QUARANTINED = "SELECT body, error FROM publisher.quarantined_message"
NOW = datetime.now(UTC)
PAST, SOON = (NOW - timedelta(minutes=1)).isoformat(), (NOW + timedelta(days=1)).isoformat()
LATER = (NOW + timedelta(days=2)).isoformat()


@pytest.fixture
def ending(
    pipeline: Pipeline, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Generator[Pipeline]:
    """A worker that ends, on this test's database."""
    with Runtime.open(Settings(database_url=database_url, redis_url=redis_url)) as runtime:
        monkeypatch.setitem(app.__dict__, "runtime", runtime)
        yield pipeline


def publish_message(pipeline: Pipeline, **headers: str) -> dict[str, Any]:
    return envelope(headers, body=encode([[], {"video_id": pipeline.video()}, {}]))


def end_with(*messages: dict[str, Any]) -> None:
    entries = (json.dumps(message).encode() for message in messages)
    accept_last([json.loads(rewrite_envelope(entry, "publish")) for entry in entries])


@pytest.mark.parametrize(
    "times", [{}, {"expires": SOON}, {"eta": PAST}, {"eta": PAST, "expires": SOON}]
)
def test_a_message_that_may_be_accepted_now_is_accepted(
    ending: Pipeline, times: dict[str, str]
) -> None:
    end_with(publish_message(ending, **times))
    assert ending.value(ACCEPTED) == 1
    assert not ending.rows(QUARANTINED)


@pytest.mark.parametrize("times", [{"expires": PAST}, {"eta": LATER, "expires": SOON}])
def test_a_message_that_expires_before_it_may_be_accepted_is_dropped_as_celery_does(
    ending: Pipeline, times: dict[str, str]
) -> None:
    end_with(publish_message(ending, **times))
    assert ending.value(ACCEPTED) == 0
    assert not ending.rows(QUARANTINED)


def test_a_message_that_must_wait_is_quarantined_so_that_a_person_can_retry_it_then(
    ending: Pipeline,
) -> None:
    video = ending.video()
    message = envelope({"eta": SOON, "expires": LATER}, body=encode([[], {"video_id": video}, {}]))
    end_with(message)
    [(body, error)] = ending.rows(QUARANTINED)
    assert json.loads(str(body)) == {"args": [], "kwargs": {"video_id": video}}
    assert SOON in str(error)


@pytest.mark.parametrize(
    "time",
    [
        {"publish_at": datetime(2031, 1, 1, tzinfo=UTC)},
        {"publish_at_local": datetime(2031, 1, 1), "time_zone": "UTC"},  # noqa: DTZ001 - local
    ],
)
def test_a_message_whose_arguments_have_times_as_kombu_writes_them_can_be_retried(
    ending: Pipeline, time: dict[str, Any]
) -> None:
    body = b64encode(dumps([[], {"video_id": ending.video(), **time}, {}]).encode()).decode()
    end_with(envelope({"eta": SOON}, body=body))
    [(message,)] = ending.rows("SELECT id FROM publisher.quarantined_message")
    retry(ending.engine, app.runtime.waker, int(str(message)), SYSTEM)
    due = ending.value("SELECT due_at FROM publisher.publish_command")
    assert due == datetime(2031, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("task", ["publish.run_due", "webhooks.deliver"])
def test_a_wake_up_is_dropped_by_each_protocol(ending: Pipeline, task: str) -> None:
    body: dict[str, Any] = {"id": "1", "task": task, "args": [], "kwargs": {}}
    end_with(
        envelope({"task": task}, body=encode([[], {}, {}])),
        protocol_1(1, body=encode(body)),
        protocol_1(1, body=encode({**body, "eta": SOON})),
    )
    assert not ending.rows(QUARANTINED)


def test_a_message_of_protocol_1_is_accepted(ending: Pipeline) -> None:
    end_with(protocol_1(ending.video()))
    assert ending.value(ACCEPTED) == 1


def test_a_message_for_an_unknown_task_is_quarantined_as_at_any_time(ending: Pipeline) -> None:
    end_with(envelope({"task": "no.such.task"}))
    [(_, error)] = ending.rows(QUARANTINED)
    assert "not a task message: InvalidMessage(\"The task 'no.such.task' is unknown.\")" in str(
        error
    )
