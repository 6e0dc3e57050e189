"""The story of a video: what happened to it, in order, with times, errors and deliveries."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.commands import attempts
from db.session import transaction
from db.videos import story as rows
from publish_worker_client.events.names import Action
from schemas.command import PublishRequest
from schemas.story import Omission, StoryEntry, StoryKind, VideoStory
from tests.support.api import Api
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.receiver import Receiver, endpoint, receiver, says
from tests.support.statements import counted
from worker.enqueue import changes
from worker.operations.story import read_story
from worker.webhooks.courier import Courier, CourierOptions
from worker.webhooks.fan_out import fan_out


@pytest.fixture
def there() -> Generator[Receiver]:
    with receiver() as started:
        yield started


def tell(pipeline: Pipeline, video_id: int) -> VideoStory:
    found = read_story(pipeline.engine, video_id, None, BASE_URL)
    assert found
    return found


def steps(story: VideoStory, *kinds: StoryKind) -> list[StoryEntry]:
    """The steps of these kinds, the oldest first."""
    return [entry for entry in reversed(story.entries) if not kinds or entry.kind in kinds]


def test_a_publication_is_shown_step_by_step(pipeline: Pipeline) -> None:
    video = pipeline.video()
    [command] = pipeline.publish(video)
    story = tell(pipeline, video)
    assert {step.kind for step in story.entries} == {
        StoryKind.VIDEO_CREATED,
        StoryKind.COMMAND_ACCEPTED,
        StoryKind.COMMAND_DUE,
        StoryKind.COMMAND_CLAIMED,
        StoryKind.COMMAND_ENDED,
        StoryKind.EVENT_RECORDED,
    }
    assert [step.at for step in story.entries] == sorted(
        (step.at for step in story.entries), reverse=True
    )
    [ended] = steps(story, StoryKind.COMMAND_ENDED)
    assert (ended.command_id, ended.state, ended.at) == (
        command.id,
        "published",
        command.finished_at,
    )
    assert ended.duration_seconds is not None
    assert command.claimed_at
    assert command.finished_at
    assert ended.duration_seconds == (command.finished_at - command.claimed_at).total_seconds()
    [event] = steps(story, StoryKind.EVENT_RECORDED)
    assert (event.position, event.event_type, event.command_id) == (
        1,
        "video.published",
        command.id,
    )
    assert story.omitted == []


def test_the_story_has_what_the_video_has_public(pipeline: Pipeline) -> None:
    video = pipeline.video(title="First")
    pipeline.publish(video)
    first = tell(pipeline, video)
    assert first.custom_url == f"research/first-{first.short_id}"
    assert first.url == f"{BASE_URL}/{first.custom_url}"
    assert (first.revision, first.is_redirected, first.former_urls) == (1, True, [])
    assert first.metrics is not None
    pipeline.publish(PublishRequest(video_id=video, action=Action.UNPUBLISH))
    pipeline.execute("UPDATE video SET title = 'Second' WHERE id = %s", video)
    withdrawn = tell(pipeline, video)
    assert withdrawn.withdrawn_at is not None
    assert not withdrawn.is_redirected
    pipeline.publish(video)
    second = tell(pipeline, video)
    assert second.custom_url == f"research/second-{first.short_id}"
    assert second.former_urls == [first.custom_url]


@pytest.mark.usefixtures("long_pauses")
def test_a_failure_is_shown_with_its_attempts_and_its_error(pipeline: Pipeline) -> None:
    video = pipeline.video()
    [command] = pipeline.accept(video).commands
    pipeline.execute("ALTER TABLE video ADD CONSTRAINT drafts_only CHECK (is_draft)")
    pipeline.run()
    [accepted] = steps(tell(pipeline, video), StoryKind.COMMAND_ACCEPTED)
    assert (accepted.attempts, accepted.reason, accepted.state) == (1, "error", "scheduled")
    assert accepted.detail is not None
    pipeline.execute("ALTER TABLE video RENAME CONSTRAINT drafts_only TO still_drafts_only")
    for _ in range(4):
        pipeline.make_due()
        pipeline.run()
    failed = steps(tell(pipeline, video), StoryKind.COMMAND_ATTEMPT_FAILED)
    assert [step.text for step in failed] == [
        f"Attempt {n} at the publish command failed." for n in range(1, 6)
    ]
    assert ['"drafts_only"' in (step.detail or "") for step in failed] == [True] + 4 * [False]
    [ended] = steps(tell(pipeline, video), StoryKind.COMMAND_ENDED)
    assert (ended.state, ended.attempts, ended.command_id) == ("failed", 5, command.id)
    assert ended.detail is not None
    assert "drafts_only" in ended.detail


@pytest.mark.usefixtures("long_pauses")
def test_the_last_ten_failed_attempts_are_shown(pipeline: Pipeline) -> None:
    """Retries begin another round, and attempts of a round before are kept."""
    video = pipeline.video()
    [command] = pipeline.accept(video).commands
    pipeline.execute("ALTER TABLE video ADD CONSTRAINT drafts_only CHECK (is_draft)")
    for _ in range(2):
        for _ in range(5):
            pipeline.make_due()
            pipeline.run()
        changes.retry(pipeline.engine, pipeline.waker, command.id, None)
    pipeline.run()
    story = tell(pipeline, video)
    failed = steps(story, StoryKind.COMMAND_ATTEMPT_FAILED)
    assert [step.text.split()[1] for step in failed] == [*"2345", *"12345", "1"]
    assert story.omitted == [Omission.EARLIER_ATTEMPTS]


def test_scheduling_is_found_among_many_other_events(pipeline: Pipeline) -> None:
    """Of other videos, before and after."""
    video = pipeline.video()
    pipeline.publish(*(pipeline.video() for _ in range(20)))
    pipeline.publish(
        PublishRequest(video_id=video, publish_at=datetime.now(UTC) + timedelta(days=1))
    )
    pipeline.publish(*(pipeline.video() for _ in range(20)))
    [event] = steps(tell(pipeline, video), StoryKind.EVENT_RECORDED)
    assert (event.event_type, event.position) == ("video.publish_scheduled", 21)


def test_events_are_found_by_bisection(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10,000 others, of which few are read."""
    monkeypatch.setattr(rows, "SLACK", 2)
    fill = (
        "INSERT INTO publisher.outbox_event"
        " (position, id, type, video_id, workspace_id, occurred_at, correlation_id, data)"
        " SELECT position + n, gen_random_uuid(), 'video.published', 1, 1,"
        " now() + %s * interval '1 ms' * (5001 - n), 'c-1', '{}'"
        " FROM publisher.event_position, generate_series(1, 5000) n"
    )
    pipeline.execute(fill, -1)
    pipeline.execute("UPDATE publisher.event_position SET position = position + 5000")
    video = pipeline.video()
    pipeline.publish(video)
    pipeline.execute(fill.replace("(5001 - n)", "n * 10"), 1)
    pipeline.execute("UPDATE publisher.event_position SET position = position + 5000")
    [event] = steps(tell(pipeline, video), StoryKind.EVENT_RECORDED)
    assert event.position == 5001


def test_an_event_that_is_not_stored_any_more_is_named_as_left_out(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    pipeline.execute("DELETE FROM publisher.outbox_event")
    story = tell(pipeline, video)
    assert steps(story, StoryKind.EVENT_RECORDED) == []
    assert story.omitted == [Omission.EVENTS]


def test_webhook_deliveries_are_shown_with_their_attempts(
    pipeline: Pipeline, there: Receiver
) -> None:
    there.answers["/hook"] = says(503)
    made = endpoint(pipeline, there.url("/hook"))
    video = pipeline.video()
    pipeline.publish(video)
    fan_out(pipeline.engine)
    courier = Courier(pipeline.engine, CourierOptions(base_url=BASE_URL, allow_private=True))
    courier.send_due()
    there.answers["/hook"] = says(204)
    pipeline.execute("UPDATE publisher.webhook_delivery SET due_at = now()")
    courier.send_due()
    courier.close()
    attempts = steps(tell(pipeline, video), StoryKind.DELIVERY_ATTEMPTED)
    assert [attempt.status for attempt in attempts] == [503, 204]
    assert all(attempt.duration_seconds is not None for attempt in attempts)
    [ended] = steps(tell(pipeline, video), StoryKind.DELIVERY_ENDED)
    assert (ended.delivery_state, ended.position) == ("delivered", 1)
    assert (ended.endpoint_id, ended.endpoint_url) == (made, there.url("/hook"))


def test_only_the_last_report_of_generation_is_known(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.execute(
        "INSERT INTO publisher.video_generation"
        " (video_id, run, is_final, reported_at, progress, completed, detail)"
        " VALUES (%s, 2, true, now(), 40, false, 'out of memory')",
        video,
    )
    story = tell(pipeline, video)
    [report] = steps(story, StoryKind.GENERATION_REPORTED)
    assert report.detail == "out of memory"
    assert story.generation is not None
    assert (story.generation.run, story.generation.completed) == (2, False)
    assert story.omitted == [Omission.EARLIER_REPORTS]


def test_a_long_story_says_what_it_leaves_out(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_COMMANDS", 3)
    monkeypatch.setattr(rows, "MAX_FOLLOWED", 2)
    video = pipeline.video()
    commands = [pipeline.publish(video)[0] for _ in range(4)]
    story = tell(pipeline, video)
    assert [step.command_id for step in steps(story, StoryKind.COMMAND_ACCEPTED)] == [
        command.id for command in commands[1:]
    ]
    assert story.omitted == [Omission.OLDER_COMMANDS]


def test_a_long_story_takes_as_many_statements_as_a_short_one(pipeline: Pipeline) -> None:
    one, many = pipeline.video(), pipeline.video()
    for video in (one, *[many] * 5):
        pipeline.publish(video, PublishRequest(video_id=video, action=Action.UNPUBLISH))
    used: list[int] = []
    for video in (one, many):
        with counted() as statements:
            tell(pipeline, video)
        used.append(len(statements))
    assert used[0] == used[1] <= 8


def test_the_story_is_a_route_for_the_videos_workspace_only(api: Api) -> None:
    video = api.video()
    api.publish(video)
    answer: Any = api.get(f"/videos/{video}/story", "read")
    assert answer.status_code == 200
    assert VideoStory.model_validate(answer.json()).video_id == video
    for key, path in (("elsewhere", video), ("read", video + 1)):
        refused = api.get(f"/videos/{path}/story", key)
        assert (refused.status_code, refused.json()["type"]) == (404, "/problems/no-such-video")


def test_attempts_are_pruned_as_the_commands_are(pipeline: Pipeline) -> None:
    [command] = pipeline.accept(pipeline.video()).commands
    pipeline.execute("ALTER TABLE video ADD CONSTRAINT drafts_only CHECK (is_draft)")
    for _ in range(2):
        pipeline.make_due()
        pipeline.run()
    pipeline.execute(
        "UPDATE publisher.command_attempt SET failed_at = now() - interval '8 days'"
        " WHERE attempt = 1"
    )
    with transaction(pipeline.engine) as tx:
        assert attempts.prune(tx, age=timedelta(days=7), limit=10) == 1
        [left] = attempts.read_last(tx, [command.id])
    assert left.attempt == 2
