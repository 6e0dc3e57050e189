"""The spans of commands and of their batch, linked to each other; what is not sampled has none."""

from collections.abc import Generator
from uuid import UUID

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.traces import (
    CALLER,
    SAMPLED,
    TRACE_ID,
    UNSAMPLED,
    named,
    parent_id,
    span_id,
    trace_id,
    tracing_here,
)
from worker.events import redis_stream
from worker.operations.canary import schedule_canary
from worker.publish.spans import MAX_LINKS

BREAK = """
ALTER TABLE publisher.video_release ADD CONSTRAINT broken CHECK (video_id <> {}) NOT VALID
"""


@pytest.fixture
def exported() -> Generator[InMemorySpanExporter]:
    with tracing_here() as exporter:
        yield exporter


def test_a_command_hangs_below_its_submission_and_is_linked_to_its_batch(
    pipeline: Pipeline, exported: InMemorySpanExporter
) -> None:
    pipeline.publish(pipeline.video(), traceparent=SAMPLED)
    [accepted] = named(exported, "enqueue commands")
    [command] = named(exported, "publish command")
    [batch] = named(exported, "publish batch")
    assert (trace_id(accepted), parent_id(accepted)) == (TRACE_ID, CALLER)
    assert (trace_id(command), parent_id(command)) == (TRACE_ID, span_id(accepted))
    assert parent_id(batch) is None
    assert [link.context for link in batch.links] == [command.context]
    assert [link.context for link in command.links] == [batch.context]
    assert pipeline.events()[0]["traceparent"] == f"00-{TRACE_ID}-{span_id(command)}-01"


def test_an_unsampled_caller_has_no_spans_and_keeps_its_traceparent(
    pipeline: Pipeline, exported: InMemorySpanExporter
) -> None:
    pipeline.publish(pipeline.video(), traceparent=UNSAMPLED)
    redis_stream.relay(pipeline.engine, pipeline.redis, BASE_URL)
    assert exported.get_finished_spans() == ()
    assert pipeline.events()[0]["traceparent"] == UNSAMPLED


def test_a_caller_without_a_trace_begins_one(
    pipeline: Pipeline, exported: InMemorySpanExporter
) -> None:
    pipeline.publish(pipeline.video())
    [accepted] = named(exported, "enqueue commands")
    [command] = named(exported, "publish command")
    assert (parent_id(accepted), parent_id(command)) == (None, span_id(accepted))


def test_a_command_that_was_accepted_untraced_begins_a_trace(pipeline: Pipeline) -> None:
    pipeline.accept(pipeline.video())
    with tracing_here() as exported:
        pipeline.run()
        [command] = named(exported, "publish command")
        assert parent_id(command) is None
        assert pipeline.events()[0]["traceparent"].split("-")[2] == span_id(command)


def test_the_links_of_a_large_batch_are_limited_and_the_rest_is_counted(
    pipeline: Pipeline, exported: InMemorySpanExporter
) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(MAX_LINKS + 2)))
    [batch] = named(exported, "publish batch")
    assert batch.attributes
    assert len(batch.links) == MAX_LINKS
    assert batch.attributes["publish_worker.batch.unlinked"] == 2
    assert batch.attributes["messaging.batch.message_count"] == MAX_LINKS + 2
    assert len(named(exported, "publish command")) == MAX_LINKS + 2


def test_a_waiting_command_has_a_span_for_its_first_check_and_its_end_only(
    pipeline: Pipeline, exported: InMemorySpanExporter
) -> None:
    video = pipeline.video(status="in_progress")
    pipeline.publish(video, traceparent=SAMPLED)
    for _ in range(3):
        pipeline.make_due()
        pipeline.run()
    pipeline.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    pipeline.make_due()
    pipeline.run()
    outcomes = [
        (span.attributes or {})["publish_worker.outcome"]
        for span in named(exported, "publish command")
    ]
    assert outcomes == ["waiting", "published"]


def test_a_failed_batch_is_marked_and_only_what_was_committed_is_linked(
    pipeline: Pipeline, exported: InMemorySpanExporter
) -> None:
    good, bad = pipeline.video(), pipeline.video()
    pipeline.execute(BREAK.format(bad))
    commands = pipeline.publish(good, bad)
    known = {
        UUID(str((each.attributes or {})["publish_worker.command.id"])): each
        for each in named(exported, "publish command")
    }
    ok, failed = (known[command.id] for command in commands)
    assert (ok.status.is_ok, failed.status.is_ok) == (True, False)
    assert (failed.attributes or {})["error.type"] == "CheckViolation"
    batches = named(exported, "publish batch")
    assert [batch.status.is_ok for batch in batches].count(False) == 2  # of two, and of the bad one
    finished = [each.context for each in exported.get_finished_spans()]
    assert all(link.context in finished for batch in batches for link in batch.links)


def test_the_canary_is_not_traced(pipeline: Pipeline, exported: InMemorySpanExporter) -> None:
    assert schedule_canary(pipeline.engine, pipeline.waker, pipeline.video())
    pipeline.make_due()
    pipeline.run()
    assert exported.get_finished_spans() == ()


def test_each_event_that_is_relayed_has_a_span_below_its_command(
    pipeline: Pipeline, exported: InMemorySpanExporter
) -> None:
    pipeline.publish(pipeline.video(), pipeline.video())
    redis_stream.relay(pipeline.engine, pipeline.redis, BASE_URL)
    commands = {span_id(each) for each in named(exported, "publish command")}
    assert {parent_id(each) for each in named(exported, "send video.events")} == commands
