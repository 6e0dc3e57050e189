"""Timed publication: not before its time, not before the video is ready, and then however late."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.commands import claim
from db.commands.inbox import StoredCommand
from db.session import transaction
from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from tests.support.api import Api
from tests.support.pipeline import Pipeline
from tests.support.platform import column, make_ready_videos
from tests.support.processes import Celeries
from tests.support.requests import request
from tests.support.statements import counted
from tests.support.waiting import wait_until
from worker.enqueue.refusals import RequestInvalid
from worker.publish.run import BATCH
from worker.runtime import wake_ups

BERLIN = {"time_zone": "Europe/Berlin"}
SKIPPED = {"publish_at_local": "2099-03-29T02:30", **BERLIN}
TWICE = {"publish_at_local": "2099-10-25T02:30", **BERLIN}
COMPLETED = "UPDATE video SET status = 'completed', internal_status = 'completed' WHERE id = %s"


def ahead(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def scheduled(pipeline: Pipeline, hours: float = 1, **said: Any) -> StoredCommand:
    """A command to be carried out in some hours."""
    asked = {"video_id": pipeline.video(), "publish_at": ahead(hours), **said}
    return pipeline.accept(PublishRequest.model_validate(asked)).commands[0]


def commands(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM publisher.publish_command")


# --- the time ------------------------------------------------------------------------------------


def test_a_timed_command_is_scheduled_and_due_at_its_time(pipeline: Pipeline) -> None:
    at = ahead(1)
    command = scheduled(pipeline, publish_at=at)
    assert (command.state, command.asked_for, command.due_at) == ("scheduled", at, at)


def test_it_is_not_carried_out_before_its_time_and_is_after(pipeline: Pipeline) -> None:
    command = scheduled(pipeline, hours=1)
    pipeline.let_pass(minutes=59)
    assert pipeline.run() == 0
    assert column(pipeline.engine, command.video_id, "is_draft") is True
    pipeline.let_pass(minutes=1)
    assert pipeline.run() == 1
    assert pipeline.command(command.id).state == "published"


@pytest.mark.parametrize("hours", [-1, -100_000])
def test_a_past_time_means_now_without_a_scheduled_event(pipeline: Pipeline, hours: float) -> None:
    at = ahead(hours)
    command = scheduled(pipeline, publish_at=at)
    assert (command.asked_for, command.due_at) == (at, command.accepted_at)
    assert pipeline.run() == 1
    [event] = pipeline.events()
    assert (event["type"], event["data"]["trigger"]) == ("video.published", "api")


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(hours=st.floats(-10_000, 10_000))
def test_due_is_the_later_of_the_time_and_now(pipeline: Pipeline, hours: float) -> None:
    at = ahead(hours)
    command = scheduled(pipeline, publish_at=at)
    assert command.due_at == max(at, command.accepted_at)


def test_the_edits_of_a_timed_command_are_applied_at_its_time(pipeline: Pipeline) -> None:
    video = pipeline.video()
    edits = request(video, title="Later").model_copy(update={"publish_at": ahead(1)})
    pipeline.accept(edits)
    pipeline.run()
    assert column(pipeline.engine, video, "title") == "What is light?"
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert column(pipeline.engine, video, "title") == "Later"


@pytest.mark.parametrize("days", [1, 30, 3650])
def test_without_a_deadline_it_is_published_after_any_downtime(
    pipeline: Pipeline, days: int
) -> None:
    command = scheduled(pipeline, hours=1)
    pipeline.let_pass(days=days, hours=1)
    pipeline.run()
    assert pipeline.command(command.id).state == "published"


# --- wall-clock times ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "zone", "fold", "at"),
    [
        ("2099-12-01T18:00", "Europe/Berlin", None, "2099-12-01T17:00Z"),
        ("2099-07-01T18:00", "Europe/Berlin", None, "2099-07-01T16:00Z"),
        ("2099-10-25T02:30", "Europe/Berlin", 0, "2099-10-25T00:30Z"),
        ("2099-10-25T02:30", "Europe/Berlin", 1, "2099-10-25T01:30Z"),
        ("2099-01-01T12:00:00.25", "Asia/Kathmandu", None, "2099-01-01T06:15:00.25Z"),
    ],
)
def test_a_wall_clock_time_is_kept_with_the_instant_that_it_means(
    api: Api, local: str, zone: str, fold: int | None, at: str
) -> None:
    body = {"publish_at_local": local, "time_zone": zone}
    body |= {} if fold is None else {"fold": fold}  # pyright: ignore[reportAssignmentType]
    shown = api.post(f"/videos/{api.video()}/publish/", json=body).json()
    assert datetime.fromisoformat(shown["publish_at"]) == datetime.fromisoformat(at)
    assert datetime.fromisoformat(shown["publish_at_local"]) == datetime.fromisoformat(local)
    assert (shown["time_zone"], shown["fold"]) == (zone, fold)
    assert shown["due_at"] == shown["publish_at"]


def test_a_wall_clock_time_that_has_passed_means_now(pipeline: Pipeline) -> None:
    said: dict[str, Any] = {"publish_at_local": "2011-12-31T00:00:00", **BERLIN}
    command = scheduled(pipeline, publish_at=None, **said)
    assert command.due_at == command.accepted_at
    assert pipeline.run() == 1


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (SKIPPED, "nonexistent_time", ["2099-03-29T01:59:59", "2099-03-29T03:00:00"]),
        (TWICE, "ambiguous_time", ["2099-10-25T02:30:00+02:00", "2099-10-25T02:30:00+01:00"]),
    ],
)
def test_a_local_time_without_one_instant_is_refused_over_http(
    api: Api, body: dict[str, str], code: str, says: list[str]
) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/publish_at_local", code)
    assert all(each in error["detail"] for each in says)
    assert commands(api) == 0


def test_in_bulk_each_error_points_at_its_command(api: Api) -> None:
    bodies = [{}, SKIPPED, TWICE, {**TWICE, "fold": 1}]
    asked = [{"video_id": api.video(), **body} for body in bodies]
    answer = api.post("/publish-commands", json={"commands": asked})
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("/commands/1/publish_at_local", "nonexistent_time"),
        ("/commands/2/publish_at_local", "ambiguous_time"),
    ]
    assert commands(api) == 0


def test_on_the_command_line_it_is_one_clear_line(pipeline: Pipeline) -> None:
    local = ("--publish-at-local", "2099-03-29T02:30", "--time-zone", "Europe/Berlin")
    done = pipeline.command_line("enqueue", str(pipeline.video()), *local)
    assert done.exit_code == 1
    assert (
        "the nearest times that do are 2099-03-29T01:59:59 and 2099-03-29T03:00:00" in done.stderr
    )
    assert commands(pipeline) == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--publish-at", "2099-01-01T00:00:00"),
        ("--publish-at-local", "2099-01-01T00:00:00Z", "--time-zone", "Europe/Berlin"),
        ("--publish-at-local", "2099-01-01T00:00:00"),
        ("--publish-at-local", "2099-01-01T00:00:00", "--time-zone", "Europe/Atlantis"),
        ("--publish-at", "2099-01-01T00:00:00Z", "--fold", "1"),
    ],
)
def test_incomplete_times_are_usage_errors_on_the_command_line(
    pipeline: Pipeline, options: tuple[str, ...]
) -> None:
    assert pipeline.command_line("enqueue", str(pipeline.video()), *options).exit_code == 2
    assert commands(pipeline) == 0


def test_the_command_line_schedules(pipeline: Pipeline) -> None:
    local = (
        "--publish-at-local",
        "2099-10-25T02:30",
        "--time-zone",
        "Europe/Berlin",
        "--fold",
        "1",
    )
    done = pipeline.command_line("enqueue", str(pipeline.video()), *local, "--json")
    shown = json.loads(done.stdout)
    assert datetime.fromisoformat(shown["due_at"]) == datetime.fromisoformat("2099-10-25T01:30Z")
    assert (shown["trigger"], shown["state"]) == ("cli", "scheduled")


def test_a_queue_message_may_be_timed_and_an_invalid_one_is_quarantined(
    pipeline: Pipeline, celery: Celeries, send_task: Callable[..., object]
) -> None:
    celery.worker()
    for said in (SKIPPED, {**SKIPPED, "publish_at_local": "2099-03-29T03:30"}):
        send_task("publish.enqueue", kwargs={"video_id": pipeline.video(), **said})
    wait_until(lambda: commands(pipeline) == 1, "the one that makes sense to be accepted")
    quarantined = "SELECT error FROM publisher.quarantined_message"
    [(error,)] = wait_until(lambda: pipeline.rows(quarantined), "the other one to be quarantined")
    assert "does not exist in Europe/Berlin" in error
    [(trigger, due)] = pipeline.rows("SELECT trigger, due_at FROM publisher.publish_command")
    assert (trigger, due) == ("queue", datetime(2099, 3, 29, 1, 30, tzinfo=UTC))


# --- the deadline ---------------------------------------------------------------------------


@pytest.mark.parametrize("later", [0, -1])
def test_a_deadline_not_later_than_the_time_is_refused(pipeline: Pipeline, later: float) -> None:
    at = ahead(1)
    with pytest.raises(RequestInvalid) as refused:
        scheduled(pipeline, publish_at=at, publish_before=at + timedelta(seconds=later))
    assert [error.pointer for _, error in refused.value.errors] == ["/publish_before"]
    assert commands(pipeline) == 0


def test_after_its_deadline_it_expires_and_publishes_nothing(pipeline: Pipeline) -> None:
    command = scheduled(pipeline, hours=1, publish_before=ahead(2))
    pipeline.let_pass(hours=3)
    assert pipeline.run() == 1
    ended = pipeline.command(command.id)
    assert (ended.state, ended.reason) == ("expired", "deadline_passed")
    assert column(pipeline.engine, command.video_id, "is_draft") is True
    said = pipeline.events()[-1]
    assert (said["type"], said["data"]["trigger"]) == ("video.publish_expired", "schedule")
    assert said["data"]["first_publication"] is True


def test_a_deadline_in_the_past_expires_the_command_at_once(
    pipeline: Pipeline,
) -> None:
    [command] = pipeline.publish(
        PublishRequest(video_id=pipeline.video(), publish_before=ahead(-1))
    )
    assert command.state == "expired"


def test_until_its_deadline_it_waits_for_generation_however_long(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    command = scheduled(pipeline, video_id=video, publish_before=ahead(24 * 30))
    pipeline.let_pass(days=29)
    pipeline.run()
    assert pipeline.command(command.id).state == "waiting"
    pipeline.let_pass(days=2)
    pipeline.run()
    assert pipeline.command(command.id).state == "expired"


# --- time and readiness --------------------------------------------------------------------------


def test_it_goes_at_its_time_if_generation_ended_before(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    command = scheduled(pipeline, video_id=video)
    pipeline.execute(COMPLETED, video)
    assert pipeline.run() == 0
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert pipeline.command(command.id).state == "published"
    assert pipeline.events()[-1]["data"]["trigger"] == "schedule"


def test_it_goes_at_the_end_of_generation_if_its_time_came_before(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress", internal_status="merging")
    command = scheduled(pipeline, video_id=video)
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert pipeline.command(command.id).state == "waiting"
    pipeline.execute(COMPLETED, video)
    pipeline.run()
    assert pipeline.command(command.id).state == "published"
    assert pipeline.events()[-1]["data"]["trigger"] == "pipeline"


def test_the_patience_with_generation_counts_from_the_time(pipeline: Pipeline) -> None:
    command = scheduled(pipeline, hours=100, video_id=pipeline.video(status="in_progress"))
    pipeline.let_pass(hours=101)
    pipeline.run()
    assert pipeline.command(command.id).state == "waiting"
    pipeline.let_pass(hours=24)
    pipeline.run()
    assert pipeline.command(command.id).reason == "generation_overdue"


@pytest.mark.parametrize("door", [Trigger.API, Trigger.CLI, Trigger.QUEUE, Trigger.PIPELINE])
def test_without_a_time_the_trigger_is_the_interface(pipeline: Pipeline, door: Trigger) -> None:
    pipeline.publish(pipeline.video(), trigger=door)
    assert [event["data"]["trigger"] for event in pipeline.events()] == [door]


def test_a_published_event_has_the_requested_the_due_and_the_actual_time(
    pipeline: Pipeline,
) -> None:
    command = scheduled(pipeline)
    pipeline.let_pass(hours=2)
    pipeline.run()
    command = pipeline.command(command.id)
    said = pipeline.events()[-1]["data"]
    assert moment(said["asked_for"]) == moment(said["due_at"]) == command.asked_for
    assert moment(said["accepted_at"]) == command.accepted_at
    assert moment(said["published_at"]) > moment(said["due_at"])
    assert command.fell_due_at == command.asked_for
    assert command.claimed_at is not None
    assert command.finished_at is not None
    assert command.claimed_at <= moment(said["published_at"]) <= command.finished_at


# --- the event -----------------------------------------------------------------------------------


def test_a_scheduled_command_has_an_event_with_action_time_and_trigger(pipeline: Pipeline) -> None:
    asked = {"video_id": pipeline.video(), "publish_at_local": "2099-12-01T18:00:00", **BERLIN}
    [command] = pipeline.accept(PublishRequest.model_validate(asked), trigger=Trigger.CLI).commands
    [event] = pipeline.events()
    assert event["type"] == "video.publish_scheduled"
    assert (event["causationid"], event["subject"]) == (str(command.id), str(command.video_id))
    said = event["data"]
    expected = {
        "video_id": command.video_id,
        "workspace_id": 1,
        "action": "publish",
        "trigger": "cli",
        "first_publication": True,
        "local_time": "2099-12-01T18:00:00",
        "time_zone": "Europe/Berlin",
        "previously": None,
        "publish_before": None,
    }
    assert {key: said[key] for key in expected} == expected
    at = datetime(2099, 12, 1, 17, tzinfo=UTC)
    assert moment(said["asked_for"]) == moment(said["due_at"]) == at
    assert moment(said["accepted_at"]) == command.accepted_at


def test_of_a_video_that_was_out_it_is_not_the_first_publication(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    scheduled(pipeline, video_id=video)
    assert pipeline.events()[-1]["data"]["first_publication"] is False


def test_command_and_event_are_written_together_or_not_at_all(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("crash")

    video = pipeline.video()
    monkeypatch.setattr("db.events.outbox.append", fail)
    with pytest.raises(RuntimeError, match="crash"):
        scheduled(pipeline, video_id=video)
    assert commands(pipeline) == 0
    assert pipeline.events() == []


def test_a_request_that_comes_twice_is_scheduled_once(pipeline: Pipeline) -> None:
    asked = PublishRequest(video_id=pipeline.video(), publish_at=ahead(1))
    for _ in range(2):
        pipeline.accept(asked, idempotency_scope="k", idempotency_key="once")
    assert [event["type"] for event in pipeline.events()] == ["video.publish_scheduled"]


# --- many ----------------------------------------------------------------------------------------


def test_the_number_of_statements_does_not_grow_with_the_timed_commands(pipeline: Pipeline) -> None:
    counts: list[int] = []
    for size in (1, 300):
        with transaction(pipeline.engine) as tx:
            videos = make_ready_videos(tx, size)
        said = {"publish_at_local": "2099-12-01T18:00", "unpublish_at": "2100-01-01T00:00Z"}
        asked = [PublishRequest.model_validate({"video_id": v, **said, **BERLIN}) for v in videos]
        with counted() as statements:
            pipeline.accept(*asked)
        counts.append(len(statements))
    assert counts[0] == counts[1], statements
    assert len(pipeline.events()) == 602


def test_the_number_of_statements_does_not_grow_with_what_falls_due(pipeline: Pipeline) -> None:
    counts: list[int] = []
    for size in (1, BATCH // 2):
        with transaction(pipeline.engine) as tx:
            videos = make_ready_videos(tx, size)
        pipeline.accept(*(PublishRequest(video_id=v, publish_at=ahead(1)) for v in videos))
        pipeline.let_pass(hours=1)
        with counted() as statements:
            assert pipeline.run() == size
        counts.append(len(statements))
    assert counts[0] == counts[1], statements


def test_overdue_commands_are_carried_out_oldest_first(pipeline: Pipeline) -> None:
    hours = (3, 1, 5, 2, 4)
    by_time = {each: scheduled(pipeline, each).video_id for each in hours}
    pipeline.let_pass(hours=10)
    pipeline.run()
    out = [int(e["subject"]) for e in pipeline.events() if e["type"] == "video.published"]
    assert out == [by_time[each] for each in sorted(hours)]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute counts as now, and a wake-up stays on its way, however slow this machine is."""
    monkeypatch.setattr(claim, "LATE", timedelta(minutes=1))
    monkeypatch.setattr(wake_ups, "KEY_MS", 60_000)


def backlog(pipeline: Pipeline, late: int, fresh: int) -> tuple[list[int], list[int]]:
    """Videos whose commands are overdue since an hour, and others that fall due right now."""
    with transaction(pipeline.engine) as tx:
        videos = make_ready_videos(tx, late + fresh)
    for some in (videos[:late], videos[late:]):
        pipeline.let_pass(hours=1)
        if some:
            pipeline.accept(*some)
    return videos[:late], videos[late:]


@pytest.mark.usefixtures("patient")
def test_of_a_backlog_a_part_of_each_batch_is_for_what_falls_due_now(pipeline: Pipeline) -> None:
    late, fresh = backlog(pipeline, late=600, fresh=20)
    with transaction(pipeline.engine) as tx:
        claimed = [command.video_id for command in claim.claim_due(tx, BATCH)]
    assert claimed == late[: BATCH * 4 // 5] + fresh


@pytest.mark.usefixtures("patient")
def test_a_large_backlog_does_not_delay_commands_that_are_due_now(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MAX_BYTES", 25_000)
    pipeline.accept(*(request(pipeline.video(), description="wave " * 2_000) for _ in range(9)))
    pipeline.let_pass(hours=1)
    [fresh] = pipeline.accept(pipeline.video()).commands
    with transaction(pipeline.engine) as tx:
        assert fresh.id in {command.id for command in claim.claim_due(tx, BATCH)}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("late", "fresh"), [(600, 0), (0, 600)])
def test_a_full_batch_wakes_another_process(pipeline: Pipeline, late: int, fresh: int) -> None:
    backlog(pipeline, late, fresh)
    pipeline.waker.note_arrival()  # the wake-up that the commands sent
    pipeline.wake_ups.clear()
    assert pipeline.run() == 600
    assert pipeline.wake_ups == [1]


def test_a_backlog_is_carried_out_completely_and_once(pipeline: Pipeline) -> None:
    late, fresh = backlog(pipeline, late=900, fresh=90)
    assert pipeline.run() == 990
    assert sorted(int(event["subject"]) for event in pipeline.events()) == sorted(late + fresh)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("digits", ["2027", "20271231", "1764000000", "202712311800"])
def test_digits_are_not_a_time(api: Api, digits: str) -> None:
    """Read as seconds since 1970 they would be past, and publish the video at once."""
    video = api.video()
    answer = api.post(f"/videos/{video}/publish/", json={"publish_at": digits})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/publish_at")
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 0
