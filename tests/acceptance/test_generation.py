"""Reports on the stream `video.generation`, with real beat and worker processes."""

import json
from typing import Any

import pytest

from tests.support.pipeline import Desk
from tests.support.processes import Celeries
from tests.support.waiting import wait_until


def report(desk: Desk, video_id: int, kind: str, **data: Any) -> None:
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
    desk.redis.xadd("video.generation", {"event": json.dumps(event)})


@pytest.fixture
def waiting(desk: Desk, celery: Celeries) -> Any:
    """A command that waits for its video, with beat and a worker at work."""
    celery.worker()
    celery.beat()
    video = desk.video(status="in_progress", internal_status="rendering", video=None)
    [command] = desk.accept(video).commands
    wait_until(lambda: desk.command(command.id).state == "waiting", "the command to wait")
    return command


def test_a_completed_report_publishes_what_waits_for_it(desk: Desk, waiting: Any) -> None:
    report(desk, waiting.video_id, "completed", video="https://cdn.example.com/7.mp4")
    wait_until(lambda: desk.command(waiting.id).state == "published", "the publication")
    [event] = desk.events()
    assert (event["type"], event["data"]["trigger"]) == ("video.published", "pipeline")


def test_a_failed_report_rejects_it_and_says_why(desk: Desk, waiting: Any) -> None:
    report(desk, waiting.video_id, "failed", detail="out of memory")
    wait_until(lambda: desk.command(waiting.id).state == "rejected", "the rejection")
    [event] = desk.events()
    assert event["type"] == "video.publish_rejected"
    assert "out of memory" in event["data"]["detail"]


def test_reports_from_before_the_worker_are_read_and_nonsense_is_kept(
    desk: Desk, celery: Celeries
) -> None:
    video = desk.video(status="in_progress", internal_status="rendering")
    desk.redis.xadd("video.generation", {"event": "nonsense"})
    report(desk, video, "completed")
    [command] = desk.accept(video).commands
    celery.worker()
    celery.beat()
    wait_until(lambda: desk.command(command.id).state == "published", "the publication")
    assert desk.rows("SELECT body FROM publisher.set_aside_message") != []
