"""What a batch counts: outcomes by action, lateness, waits for generation, failed attempts."""

from collections.abc import Callable

import pytest

from publish_worker_client.events.names import Action, Trigger
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from worker.enqueue.changes import Changer, cancel
from worker.runtime.metrics import make_registry

Value = Callable[..., float]


@pytest.fixture
def increase() -> Value:
    """How much a sample has grown since the test began."""
    before = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in make_registry().collect()
        for sample in metric.samples
    }

    def read(name: str, **labels: str) -> float:
        full = f"publish_worker_{name}"
        now = make_registry().get_sample_value(full, labels) or 0
        return now - before.get((full, frozenset(labels.items())), 0)

    return read


def test_commands_are_counted_by_action_and_outcome(pipeline: Pipeline, increase: Value) -> None:
    first, second = pipeline.video(), pipeline.video()
    pipeline.publish(first, second, pipeline.video(status="failed"))
    pipeline.publish(PublishRequest(video_id=first, action=Action.UNPUBLISH))
    assert increase("commands_total", action="publish", outcome="published") == 2
    assert increase("commands_total", action="publish", outcome="rejected") == 1
    assert increase("commands_total", action="unpublish", outcome="unpublished") == 1
    assert increase("batch_commands_sum") == 4
    assert increase("batch_commands_count") == increase("batch_duration_seconds_count") == 2


def test_lateness_is_from_due_to_committed(pipeline: Pipeline, increase: Value) -> None:
    pipeline.accept(*(pipeline.video() for _ in range(3)))
    pipeline.let_pass(seconds=100)
    pipeline.run()
    assert increase("command_lateness_seconds_count") == 3
    assert increase("command_lateness_seconds_bucket", le="60.0") == 0
    assert increase("command_lateness_seconds_bucket", le="300.0") == 3


def test_the_canary_does_not_count(pipeline: Pipeline, increase: Value) -> None:
    pipeline.publish(pipeline.video(), trigger=Trigger.CANARY)
    assert increase("commands_total", action="publish", outcome="published") == 0
    assert increase("command_lateness_seconds_count") == 0


def test_a_wait_for_generation_counts_when_it_is_over(pipeline: Pipeline, increase: Value) -> None:
    video = pipeline.video(status="in_progress")
    pipeline.publish(video)
    assert increase("generation_wait_seconds_count") == 0
    pipeline.let_pass(seconds=100)
    pipeline.execute("UPDATE video SET status = 'completed'")
    pipeline.run()
    assert increase("generation_wait_seconds_count") == 1
    assert increase("generation_wait_seconds_bucket", le="60.0") == 0
    assert increase("command_lateness_seconds_bucket", le="60.0") == 1, "it was due just now"


@pytest.mark.usefixtures("long_pauses")
def test_failed_attempts_count_and_the_last_one_is_an_outcome(
    pipeline: Pipeline, increase: Value
) -> None:
    video = pipeline.video()
    pipeline.execute(
        "ALTER TABLE publisher.video_release ADD CONSTRAINT none CHECK (video_id IS NULL)"
    )
    pipeline.publish(video)
    for _ in range(4):
        assert increase("commands_total", action="publish", outcome="failed") == 0
        pipeline.make_due()
        pipeline.run()
    assert increase("command_failed_attempts_total") == 5
    assert increase("commands_total", action="publish", outcome="failed") == 1


def test_a_cancelled_command_counts(pipeline: Pipeline, increase: Value) -> None:
    [command] = pipeline.accept(pipeline.video()).commands
    by = Changer(trigger=Trigger.API, workspace_id=None)
    cancel(pipeline.engine, pipeline.waker, command.id, by)
    assert increase("commands_total", action="publish", outcome="cancelled") == 1
