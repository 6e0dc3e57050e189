"""Announcements: what was enqueued in SQL for a later time has the events of any other command."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.events.outbox import Recorded
from db.session import transaction
from publish_worker_client.events.names import Trigger
from schemas.command import CommandChange, PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.platform import make_ready_videos
from tests.support.sql_door import call, enqueue
from tests.support.statements import counted
from worker.enqueue import announcements, changes
from worker.enqueue.changes import Changer
from worker.enqueue.time_zone_updates import recompute_instants
from worker.rules.local_time import get_zone_digest

CALLER = Changer(trigger=Trigger.API, workspace_id=None)
UNANNOUNCED = "SELECT count(*) FROM publisher.publish_command WHERE NOT is_announced"


def in_hours(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def announce(pipeline: Pipeline) -> list[Recorded]:
    """Let a worker look once; return what it recorded."""
    recorded: list[Recorded] = []
    announcements.announce(pipeline.engine, recorded.append)
    return recorded


def list_types(pipeline: Pipeline) -> list[str]:
    return [event["type"].removeprefix("video.") for event in pipeline.events()]


def test_a_timed_command_has_its_event_once(pipeline: Pipeline) -> None:
    video, at = pipeline.video(), in_hours(1)
    command_id = enqueue(pipeline, video, publish_at=at, correlation_id="job-1")
    [recorded] = announce(pipeline)
    assert len(recorded.events) == 1
    assert announce(pipeline) == []
    [event] = pipeline.events()
    assert (event["type"], event["subject"]) == ("video.publish_scheduled", str(video))
    assert (event["causationid"], event["correlationid"]) == (str(command_id), "job-1")
    assert datetime.fromisoformat(event["data"]["due_at"]) == at
    assert event["data"]["trigger"] == "pipeline"


def test_it_says_what_the_event_of_another_door_says(pipeline: Pipeline) -> None:
    asked: dict[str, Any] = {"publish_at": in_hours(1), "publish_before": in_hours(2)}
    request = PublishRequest(video_id=pipeline.video(), **asked)
    pipeline.accept(request, trigger=Trigger.PIPELINE)
    enqueue(pipeline, request.video_id, correlation_id="c-1", **asked)
    announce(pipeline)
    first, second = (event["data"] for event in pipeline.events())
    differ = {name for name in first if first[name] != second[name]}
    assert differ == {"accepted_at", "scheduled_at"}


def test_a_window_has_two_events_and_a_command_for_now_has_none(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as tx:
        [one, two, three] = make_ready_videos(tx, 3)
        call(tx, one, publish_at=in_hours(1), unpublish_at=in_hours(2))
        call(tx, two)
        call(tx, three, publish_at=in_hours(-1))
    announce(pipeline)
    assert list_types(pipeline) == ["publish_scheduled", "publish_scheduled"]
    pipeline.run()
    assert list_types(pipeline)[2:] == ["published", "published"]


def test_a_command_that_falls_due_before_has_its_event_first(pipeline: Pipeline) -> None:
    command_id = enqueue(pipeline, pipeline.video(), publish_at=in_hours(1))
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert pipeline.command(command_id).state == "published"
    assert announce(pipeline) == []
    assert list_types(pipeline) == ["publish_scheduled", "published"]


def test_so_has_one_that_waits_or_fails(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = enqueue(pipeline, pipeline.video(status="in_progress"), publish_at=in_hours(1))
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert pipeline.command(waits).state == "waiting"
    assert list_types(pipeline) == ["publish_scheduled"]
    enqueue(pipeline, pipeline.video(), publish_at=in_hours(1))
    pipeline.let_pass(hours=1)

    def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr("worker.rules.decision.readiness.get_verdict", fail)
    pipeline.run()
    assert list_types(pipeline) == ["publish_scheduled", "publish_scheduled"]
    assert pipeline.value(UNANNOUNCED) == 0


def test_a_cancelled_one_has_both_events(pipeline: Pipeline) -> None:
    command_id = enqueue(pipeline, pipeline.video(), publish_at=in_hours(1))
    changes.cancel(pipeline.engine, pipeline.waker, command_id, CALLER)
    announce(pipeline)
    assert list_types(pipeline) == ["publish_scheduled", "publish_cancelled"]


def test_a_rescheduled_one_has_both_events(pipeline: Pipeline) -> None:
    command_id = enqueue(pipeline, pipeline.video(), publish_at=in_hours(1))
    change = CommandChange(publish_at=in_hours(3))
    changes.reschedule(pipeline.engine, pipeline.waker, command_id, change, CALLER)
    announce(pipeline)
    first, second = pipeline.events()
    assert list_types(pipeline) == ["publish_scheduled", "publish_rescheduled"]
    assert second["data"]["previously"] == first["data"]["due_at"]


def test_a_publication_does_not_end_one_that_was_not_announced(pipeline: Pipeline) -> None:
    video = pipeline.video()
    later = enqueue(pipeline, video, publish_at=in_hours(1))
    pipeline.publish(video)
    assert pipeline.command(later).state == "scheduled"
    announce(pipeline)
    assert list_types(pipeline) == ["published", "publish_scheduled"]


def test_one_that_another_transaction_has_locked_is_left_for_later(pipeline: Pipeline) -> None:
    enqueue(pipeline, pipeline.video(), publish_at=in_hours(1))
    with pipeline.holding("SELECT FROM publisher.publish_command FOR UPDATE"):
        assert announce(pipeline) == []
    assert len(announce(pipeline)) == 1


def test_many_are_announced_in_few_statements(pipeline: Pipeline) -> None:
    with transaction(pipeline.engine) as tx:
        for video in make_ready_videos(tx, 40):
            call(tx, video, publish_at=in_hours(1))
    with counted() as statements:
        [recorded] = announce(pipeline)
    assert len(recorded.events) == 40
    assert len(statements) < 10


def test_a_local_time_is_computed_again_with_the_workers_rules(pipeline: Pipeline) -> None:
    """PostgreSQL's own time-zone data may be older."""
    local = datetime(2099, 6, 1, 18)  # noqa: DTZ001 - it is a local time
    zone = "Europe/Berlin"
    command_id = enqueue(pipeline, pipeline.video(), publish_at_local=local, time_zone=zone)
    pipeline.execute(
        "UPDATE publisher.publish_command SET asked_for = asked_for + %(d)s::interval,"
        " due_at = due_at + %(d)s::interval".replace("%(d)s", "'1 hour'")
    )
    assert recompute_instants(pipeline.engine).moved == []
    announce(pipeline)
    [event] = pipeline.events()
    assert datetime.fromisoformat(event["data"]["due_at"]) == datetime(2099, 6, 1, 16, tzinfo=UTC)
    assert pipeline.command(command_id).due_at == datetime(2099, 6, 1, 16, tzinfo=UTC)
    digests = pipeline.rows("SELECT zone_digest FROM publisher.publish_command")
    assert digests == [(get_zone_digest(zone),)]
    assert recompute_instants(pipeline.engine).moved == []
