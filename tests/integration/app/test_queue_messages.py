"""`publish.enqueue`: the message stays on the queue until it, or its command, is stored."""

from collections.abc import Callable, Generator

import pytest
from celery import Celery
from celery.exceptions import Reject

from tests.support.pipeline import Pipeline
from worker.app import app, tasks
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import WAKE_UPS


def try_once(function: Callable[..., object]) -> Callable[..., object]:
    return function


@pytest.fixture
def queue(
    pipeline: Pipeline, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Generator[Pipeline]:
    """The tasks on this test's database, without the half a minute of retries."""
    monkeypatch.setattr(tasks, "_retry_while_passing", try_once)
    with Runtime.open(Settings(database_url=database_url, redis_url=redis_url)) as runtime:
        monkeypatch.setitem(app.__dict__, "runtime", runtime)
        yield pipeline


def test_an_unreadable_message_goes_back_to_the_queue_while_it_cannot_be_quarantined(
    queue: Pipeline,
) -> None:
    queue.execute("ALTER TABLE publisher.quarantined_message RENAME TO elsewhere")
    with pytest.raises(Reject) as rejected:
        tasks.enqueue_message(vdeo_id=7)
    assert rejected.value.args[1] is True


def test_an_unreadable_message_is_quarantined_and_acknowledged(queue: Pipeline) -> None:
    tasks.enqueue_message(vdeo_id=7)
    [(body,)] = queue.rows("SELECT body FROM publisher.quarantined_message")
    assert "vdeo_id" in str(body)


@pytest.mark.parametrize("field", ["correlation_id", "traceparent", "idempotency_key"])
def test_a_message_with_a_text_beyond_its_bound_is_quarantined(queue: Pipeline, field: str) -> None:
    tasks.enqueue_message(video_id=queue.video(), **{field: "x" * 256})
    assert queue.value("SELECT count(*) FROM publisher.publish_command") == 0
    assert field in str(queue.value("SELECT error FROM publisher.quarantined_message"))


def test_a_message_beyond_the_open_commands_of_a_video_is_quarantined(queue: Pipeline) -> None:
    video = queue.video(status="in_progress")
    queue.accept(*[video] * 100)
    tasks.enqueue_message(video_id=video)
    assert queue.value("SELECT count(*) FROM publisher.publish_command") == 100
    assert "open commands" in queue.value("SELECT error FROM publisher.quarantined_message")


def test_a_message_may_have_the_numbers_and_times_of_any_producer(queue: Pipeline) -> None:
    tasks.enqueue_message(video_id=float(queue.video()), publish_at="2100-01-01T00:00:00+23:59")
    assert queue.value("SELECT count(*) FROM publisher.publish_command") == 1


def test_a_valid_message_goes_back_to_the_queue_while_the_inbox_takes_nothing(
    queue: Pipeline,
) -> None:
    video = queue.video()
    queue.execute("ALTER TABLE publisher.publish_command RENAME TO elsewhere")
    with pytest.raises(Reject) as rejected:
        tasks.enqueue_message(video_id=video)
    assert rejected.value.args[1] is True


def test_a_foreign_app_does_not_get_our_tasks() -> None:
    foreign = Celery("foreign", set_as_current=False)
    foreign.finalize()
    assert not foreign.tasks.keys() & {wake_up.task for wake_up in WAKE_UPS}
