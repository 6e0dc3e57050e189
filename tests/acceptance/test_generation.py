"""Reports on the stream `video.generation`, with real beat and worker processes."""

import json
from typing import Any

import pytest

from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries
from tests.support.waiting import wait_until


def report(pipeline: Pipeline, video_id: int, kind: str, **data: Any) -> None:
    """Add a report as a pipeline with nothing but Redis does."""
    event = {
        "specversion": "1.0",
        "id": f"{video_id}-{kind}",
        "source": "/pipelines/1",
        "type": f"video.generation.{kind}",
        "subject": str(video_id),
        "time": "2026-11-24T09:00:00Z",
        "data": data,
    }
    pipeline.redis.xadd("video.generation", {"event": json.dumps(event)})


@pytest.fixture
def waiting(pipeline: Pipeline, celery: Celeries) -> Any:
    """A command that waits for its video, with beat and a worker at work."""
    celery.worker()
    celery.beat()
    video = pipeline.video(status="in_progress", internal_status="rendering", video=None)
    [command] = pipeline.accept(video).commands
    wait_until(lambda: pipeline.command(command.id).state == "waiting", "the command to wait")
    return command


def test_a_completed_report_publishes_what_waits_for_it(pipeline: Pipeline, waiting: Any) -> None:
    report(pipeline, waiting.video_id, "completed", video="https://cdn.example.com/7.mp4")
    wait_until(lambda: pipeline.command(waiting.id).state == "published", "the publication")
    [event] = pipeline.events()
    assert (event["type"], event["data"]["trigger"]) == ("video.published", "pipeline")


def test_a_failed_report_rejects_the_command_with_its_reason(
    pipeline: Pipeline, waiting: Any
) -> None:
    report(pipeline, waiting.video_id, "failed", detail="out of memory")
    wait_until(lambda: pipeline.command(waiting.id).state == "rejected", "the rejection")
    [event] = pipeline.events()
    assert event["type"] == "video.publish_rejected"
    assert "out of memory" in event["data"]["detail"]


def test_reports_sent_before_the_worker_started_are_read_and_invalid_ones_are_quarantined(
    pipeline: Pipeline, celery: Celeries
) -> None:
    video = pipeline.video(status="in_progress", internal_status="rendering")
    pipeline.redis.xadd("video.generation", {"event": "nonsense"})
    report(pipeline, video, "completed")
    [command] = pipeline.accept(video).commands
    celery.worker()
    celery.beat()
    wait_until(lambda: pipeline.command(command.id).state == "published", "the publication")
    assert pipeline.rows("SELECT body FROM publisher.quarantined_message") != []
