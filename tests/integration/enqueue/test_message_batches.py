"""A batch of `publish.enqueue` messages: one transaction; each message succeeds or fails alone."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from psycopg import OperationalError
from structlog.testing import capture_logs

from tests.support.pipeline import Pipeline
from worker.enqueue import queue_messages
from worker.enqueue.queue_messages import MAX_COMMANDS, MessageDoor, ReceivedMessage

COUNT = "SELECT count(*) FROM publisher.publish_command"
TRANSACTIONS = "SELECT count(DISTINCT accepted_at) FROM publisher.publish_command"
QUARANTINED = "SELECT body FROM publisher.quarantined_message ORDER BY id"
REMEMBER = """
INSERT INTO publisher.idempotency_key (scope, key, digest, command_ids)
VALUES ('queue', %s, '', '{}')
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


def message(*args: Any, message_id: str | None = None, **kwargs: Any) -> ReceivedMessage:
    return ReceivedMessage(id=message_id or str(uuid4()), args=args, kwargs=kwargs)


def twice(function: Callable[..., Any]) -> Callable[..., Any]:
    """Retry once, and without a pause."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except OperationalError:
            return function(*args)

    return call


@pytest.fixture
def door(pipeline: Pipeline) -> MessageDoor:
    return MessageDoor(engine=pipeline.engine, waker=pipeline.waker, retry=twice)


def accept(door: MessageDoor, *messages: ReceivedMessage) -> list[int]:
    return door.accept_batch(messages)


def test_messages_share_a_transaction_a_wake_up_and_a_log_line(
    pipeline: Pipeline, door: MessageDoor
) -> None:
    messages = [message(video_id=pipeline.video()) for _ in range(20)]
    with capture_logs() as logs:
        assert not accept(door, *messages)
    assert (pipeline.value(COUNT), pipeline.value(TRANSACTIONS)) == (20, 1)
    assert len(pipeline.wake_ups) == 1
    assert [(line["event"], line["requests"]) for line in logs] == [("commands.accepted", 20)]


@pytest.mark.parametrize(
    "bad",
    [
        message(video_id=999_999),
        message(vdeo_id=1),
        message(1),
        message(video_id="\ud800"),
        message(video_id=1, idempotency_key="x" * 256),
        message(commands=[]),
        message(video_id=1, expected_revision=7),
        message(video_id=1, message_id="used"),
        message(video_id=1, unpublish_at="2020-01-01T00:00:00Z"),
    ],
)
def test_a_bad_message_is_quarantined_and_its_neighbours_are_accepted(
    pipeline: Pipeline, door: MessageDoor, bad: ReceivedMessage
) -> None:
    first, second = pipeline.video(), pipeline.video()
    accept(door, message(video_id=second, message_id="used"))
    assert not accept(door, message(video_id=first), bad, message(video_id=second))
    assert pipeline.value(COUNT) == 3
    [(body,)] = pipeline.rows(QUARANTINED)
    assert body.replace(" ", "").startswith('{"args":')


def test_repeated_messages_have_no_effect(pipeline: Pipeline, door: MessageDoor) -> None:
    messages = [message(video_id=pipeline.video()) for _ in range(3)]
    assert not accept(door, *messages, *messages)
    assert not accept(door, *messages)
    assert pipeline.value(COUNT) == 3


def test_an_error_of_one_message_quarantines_only_this_one(
    pipeline: Pipeline, door: MessageDoor
) -> None:
    pipeline.execute(REFUSE)
    messages = [message(video_id=pipeline.video()) for _ in range(4)]
    culprit = message(video_id=pipeline.video(), correlation_id="culprit")
    assert not accept(door, *messages[:2], culprit, *messages[2:])
    assert pipeline.value(COUNT) == 4
    [(body,)] = pipeline.rows(QUARANTINED)
    assert "culprit" in body


def test_a_message_that_waits_for_a_lock_goes_back_and_its_neighbours_are_accepted(
    pipeline: Pipeline, door: MessageDoor
) -> None:
    first, locked, second = [message(video_id=pipeline.video()) for _ in range(3)]
    with pipeline.holding(REMEMBER, locked.id):
        assert accept(door, first, locked, second) == [1]
    assert pipeline.value(COUNT) == 2
    assert not pipeline.rows(QUARANTINED)


def test_a_batch_whose_commit_is_not_answered_is_accepted_once(
    pipeline: Pipeline, door: MessageDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_group = queue_messages.accept_group
    failures = [OperationalError("the connection is lost")]

    def accept_and_lose(*args: Any) -> Any:
        outcomes = accept_group(*args)
        if failures:
            raise failures.pop()
        return outcomes

    monkeypatch.setattr(queue_messages, "accept_group", accept_and_lose)
    assert not accept(door, *(message(video_id=pipeline.video()) for _ in range(5)))
    assert pipeline.value(COUNT) == 5


def test_every_message_goes_back_while_the_inbox_takes_nothing(
    pipeline: Pipeline, door: MessageDoor
) -> None:
    messages = [message(video_id=pipeline.video()) for _ in range(3)]
    pipeline.execute("ALTER TABLE publisher.publish_command RENAME TO elsewhere")
    assert accept(door, *messages) == [0, 1, 2]
    pipeline.execute("ALTER TABLE publisher.elsewhere RENAME TO publish_command")
    assert not accept(door, *messages)
    assert pipeline.value(COUNT) == 3


def test_a_bad_message_goes_back_while_it_cannot_be_quarantined(
    pipeline: Pipeline, door: MessageDoor
) -> None:
    pipeline.execute("ALTER TABLE publisher.quarantined_message RENAME TO elsewhere")
    left = accept(door, message(video_id=pipeline.video()), message(vdeo_id=1))
    assert left == [1]
    assert pipeline.value(COUNT) == 1


def test_messages_with_many_commands_have_transactions_of_their_own(
    pipeline: Pipeline, door: MessageDoor
) -> None:
    videos = [pipeline.video() for _ in range(12)]
    many = [{"video_id": video} for video in videos[:10] for _ in range(MAX_COMMANDS // 10)]
    small = [message(video_id=video) for video in videos[10:]]
    assert not accept(door, small[0], message(commands=many), small[1])
    assert pipeline.value(COUNT) == MAX_COMMANDS + 2
    assert pipeline.value(TRANSACTIONS) == 3


def test_a_batch_waits_only_once_for_a_database_that_is_unreachable(
    pipeline: Pipeline, door: MessageDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def lose(_: Any, submissions: Any) -> Any:
        attempts.append(len(submissions))
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(queue_messages, "accept_group", lose)
    many = [{"video_id": pipeline.video()}] * MAX_COMMANDS
    assert accept(door, *(message(commands=many) for _ in range(3))) == [0, 1, 2]
    assert attempts == [1, 1]  # the first, and its retry
