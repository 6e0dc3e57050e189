"""Publish: what becomes of a command, and what is written with it."""

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from db.commands import claim
from db.session import transaction
from schemas.command import PublishRequest
from tests.support.pipeline import BASE_URLS, Pipeline
from tests.support.platform import column, make_ready_videos
from tests.support.requests import request
from tests.support.statements import counted
from worker.publish.run import BATCH, publish_batch


def test_a_ready_video_is_published(pipeline: Pipeline) -> None:
    video = pipeline.video()
    [command] = pipeline.publish(video)
    assert command.state == "published"
    assert column(pipeline.engine, video, "is_draft") is False


def test_the_release_has_url_metrics_revision_and_times(pipeline: Pipeline) -> None:
    video = pipeline.video(generated_script="one two three", duration=60)
    pipeline.publish(video)
    [(url, metrics, revision, first, last)] = pipeline.rows(
        "SELECT custom_url, metrics, revision, first_published_at, published_at"
        " FROM publisher.video_release WHERE video_id = %s",
        video,
    )
    assert url.startswith("research/what-is-light-")
    assert (metrics["script_words"], metrics["words_per_minute"]) == (3, 3.0)
    assert revision == 1
    assert first == last


def test_updated_at_moves(pipeline: Pipeline) -> None:
    video = pipeline.video(updated_at=datetime(2020, 1, 1, tzinfo=UTC))
    pipeline.publish(video)
    assert column(pipeline.engine, video, "updated_at").year >= 2026


def test_nothing_but_what_is_ours_is_written(pipeline: Pipeline) -> None:
    video = pipeline.video(created_by="ada", plan={"sections": 2}, generation_progress=100)
    before = pipeline.value("SELECT to_jsonb(v) FROM video v WHERE id = %s", video)
    pipeline.publish(video)
    after = pipeline.value("SELECT to_jsonb(v) FROM video v WHERE id = %s", video)
    assert {key for key in before if before[key] != after[key]} == {"is_draft", "updated_at"}


def test_a_video_whose_generation_failed_is_rejected(pipeline: Pipeline) -> None:
    video = pipeline.video(status="failed")
    [command] = pipeline.publish(video)
    assert (command.state, command.reason) == ("rejected", "generation_failed")
    assert column(pipeline.engine, video, "is_draft") is True


def test_a_video_that_is_gone_is_rejected(pipeline: Pipeline) -> None:
    video = pipeline.video()
    accepted = pipeline.accept(video)
    pipeline.execute("DELETE FROM video WHERE id = %s", video)
    pipeline.run()
    command = pipeline.command(accepted.commands[0].id)
    assert (command.state, command.reason) == ("rejected", "no_such_video")


def test_while_generation_runs_the_command_waits(pipeline: Pipeline) -> None:
    [command] = pipeline.publish(pipeline.video(status="in_progress", internal_status="rendering"))
    assert (command.state, command.reason) == ("waiting", "generation_in_progress")
    assert command.attempts == 0


def test_a_waiting_command_is_carried_out_once_generation_completes(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress", internal_status="merging")
    [command] = pipeline.publish(video)
    pipeline.execute(
        "UPDATE video SET status = 'completed', internal_status = 'completed' WHERE id = %s", video
    )
    pipeline.make_due()
    pipeline.run()
    assert pipeline.command(command.id).state == "published"


def test_the_pauses_of_a_waiting_command_grow(pipeline: Pipeline) -> None:
    [command] = pipeline.accept(pipeline.video(status="not_started")).commands
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        pipeline.make_due()
        before = pipeline.value("SELECT clock_timestamp()")
        publish_batch(pipeline.engine, BASE_URLS, partial(claim.claim_due, limit=1))
        after = pipeline.value("SELECT clock_timestamp()")
        asked_again_at = pipeline.command(command.id).due_at
        assert before <= asked_again_at - timedelta(seconds=seconds) <= after
    assert pipeline.command(command.id).state == "waiting"


def test_a_command_past_its_deadline_expires_and_publishes_nothing(pipeline: Pipeline) -> None:
    video = pipeline.video()
    accepted = pipeline.accept(PublishRequest(video_id=video, publish_before=soon()))
    pipeline.execute("UPDATE publisher.publish_command SET publish_before = now() - interval '1 s'")
    pipeline.run()
    assert pipeline.command(accepted.commands[0].id).state == "expired"
    assert column(pipeline.engine, video, "is_draft") is True


def test_a_command_without_a_deadline_waits_a_day_for_generation(
    pipeline: Pipeline,
) -> None:
    [waiting] = pipeline.publish(pipeline.video(status="in_progress"))
    pipeline.execute(
        "UPDATE publisher.publish_command SET due_at = now(), "
        "patient_until = patient_until - interval '24 hours'"
    )
    pipeline.run()
    given_up = pipeline.command(waiting.id)
    assert (given_up.state, given_up.reason) == ("expired", "generation_overdue")


def test_a_command_without_a_deadline_is_carried_out_however_late(pipeline: Pipeline) -> None:
    [command] = pipeline.accept(pipeline.video()).commands
    pipeline.execute(
        "UPDATE publisher.publish_command SET due_at = now() - interval '9 days', "
        "patient_until = now() - interval '8 days'"
    )
    pipeline.run()
    assert pipeline.command(command.id).state == "published"


@pytest.mark.usefixtures("long_pauses")
def test_a_waiting_command_is_checked_by_its_deadline(pipeline: Pipeline) -> None:
    video = pipeline.video(status="not_started")
    latest = soon()
    [command] = pipeline.publish(PublishRequest(video_id=video, publish_before=latest))
    assert command.due_at <= latest


def test_publishing_what_is_published_changes_nothing(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    [again] = pipeline.publish(video)
    assert again.state == "unchanged"
    assert len(pipeline.events()) == 1


def test_two_commands_for_one_video_in_one_batch_publish_it_once(pipeline: Pipeline) -> None:
    video = pipeline.video()
    assert [command.state for command in pipeline.publish(video, video)] == [
        "published",
        "unchanged",
    ]


def test_the_editorial_fields_of_a_command_are_applied(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(
        request(
            video,
            title="Light, again",
            description="Waves.",
            visibility="team",
            category=1,
            subcategory=1,
            tags=[2, 1],
            cover_image="https://cdn.example.com/c.jpg",
            thumbnail=None,
        )
    )
    [row] = pipeline.rows(
        "SELECT title, description, visibility, category_id, subcategory_id, cover_image"
        " FROM video WHERE id = %s",
        video,
    )
    assert row == ("Light, again", "Waves.", "team", 1, 1, "https://cdn.example.com/c.jpg")
    assert pipeline.rows("SELECT tag_id FROM video_tag ORDER BY 1") == [(1,), (2,)]


def test_an_absent_field_keeps_and_an_explicit_null_clears(pipeline: Pipeline) -> None:
    video = pipeline.video(description="old", thumbnail="https://cdn.example.com/t.jpg")
    pipeline.publish(request(video, description=None))
    assert column(pipeline.engine, video, "description") is None
    assert column(pipeline.engine, video, "thumbnail") == "https://cdn.example.com/t.jpg"


def test_tags_that_the_command_no_longer_has_are_taken_away(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(request(video, tags=[1, 2]))
    pipeline.publish(request(video, tags=[2, 3]))
    assert pipeline.rows("SELECT tag_id FROM video_tag ORDER BY 1") == [(2,), (3,)]


def test_fields_that_the_pipeline_owns_are_not_written(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress", internal_status="planning")
    echo = request(
        video, status="completed", internal_status="completed", is_draft=False, duration=5
    )
    [command] = pipeline.publish(echo)
    assert command.state == "waiting"
    assert column(pipeline.engine, video, "status") == "in_progress"
    assert column(pipeline.engine, video, "duration") is None


def test_republishing_with_a_change_makes_url_and_metrics_follow(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    [command] = pipeline.publish(request(video, title="Light, again", tags=[1]))
    assert command.state == "published"
    [(url, metrics, revision)] = pipeline.rows(
        "SELECT custom_url, metrics, revision FROM publisher.video_release"
    )
    assert url.startswith("research/light-again-")
    assert (metrics["tag_count"], revision) == (1, 2)


def test_the_first_publication_stays_on_record(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    pipeline.publish(request(video, title="Light, again"))
    first, last = pipeline.rows(
        "SELECT first_published_at, published_at FROM publisher.video_release"
    )[0]
    assert first < last
    flags = [event["data"]["first_publication"] for event in pipeline.events()]
    assert flags == [True, False]


def test_echoing_the_video_unchanged_changes_nothing(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    [command] = pipeline.publish(request(video))
    assert command.state == "unchanged"


def test_edits_of_two_commands_in_one_batch_apply_in_order(pipeline: Pipeline) -> None:
    video = pipeline.video()
    states = pipeline.publish(request(video, title="First"), request(video, title="Second"))
    assert [command.state for command in states] == ["published", "published"]
    assert column(pipeline.engine, video, "title") == "Second"
    assert [event["videorevision"] for event in pipeline.events()] == [1, 2]


def test_a_locked_video_does_not_delay_the_others(pipeline: Pipeline) -> None:
    held, free = pipeline.video(), pipeline.video()
    first, second = pipeline.accept(held, free).commands
    with pipeline.holding("SELECT FROM video WHERE id = %s FOR UPDATE", held):
        pipeline.run()
        assert pipeline.command(first.id).state == "scheduled"
        assert pipeline.command(second.id).state == "published"
    pipeline.make_due()
    pipeline.run()
    assert pipeline.command(first.id).state == "published"


def test_a_section_may_be_added_while_its_video_is_being_published(pipeline: Pipeline) -> None:
    """The claim holds the row against changes only, not against rows that refer to it."""
    video = pipeline.video()
    with pipeline.holding("SELECT FROM video WHERE id = %s FOR NO KEY UPDATE", video):
        pipeline.execute('INSERT INTO section (video_id, "order") VALUES (%s, 1)', video)


def test_a_batch_of_many_megabytes_goes_through(pipeline: Pipeline) -> None:
    """More than the pipe to the server holds: neither side may wait for the other."""
    videos = [pipeline.video(description="wave " * 8_000) for _ in range(200)]
    pipeline.accept(*videos)
    running = threading.Thread(target=pipeline.run, daemon=True)
    running.start()
    running.join(timeout=60)
    assert not running.is_alive()
    assert pipeline.value("SELECT count(*) FROM video WHERE is_draft") == 0


def test_a_batch_is_bounded_by_the_size_of_its_edits(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MAX_BYTES", 25_000)
    pipeline.accept(*(request(pipeline.video(), description="wave " * 2_000) for _ in range(9)))
    with transaction(pipeline.engine) as tx:
        assert len(claim.claim_due(tx, 500)) == 3
    assert pipeline.run() == 9


def test_a_video_that_has_moved_to_another_workspace_is_left_alone(pipeline: Pipeline) -> None:
    video = pipeline.video()
    [command] = pipeline.accept(request(video, title="Hijacked")).commands
    pipeline.execute("UPDATE video SET workspace_id = 2 WHERE id = %s", video)
    pipeline.run()
    assert (pipeline.command(command.id).state, column(pipeline.engine, video, "title")) == (
        "rejected",
        "What is light?",
    )


@pytest.mark.parametrize("edits", [False, True])
def test_the_number_of_statements_does_not_grow_with_the_batch(
    pipeline: Pipeline, edits: bool
) -> None:
    counts: list[int] = []
    for size in (1, 10, BATCH - 1):
        with transaction(pipeline.engine) as tx:
            videos = make_ready_videos(tx, size)
        pipeline.accept(
            *(request(v, title=f"New {v}", tags=[1, 2]) if edits else v for v in videos)
        )
        with counted() as statements:
            pipeline.run()
        counts.append(len(statements))
        assert pipeline.value("SELECT count(*) FROM video WHERE is_draft") == 0
    assert 4 <= counts[0] == counts[1] == counts[2], statements


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def test_an_event_is_short_whatever_the_platform_has_written(pipeline: Pipeline) -> None:
    video = pipeline.video(description="\U0001f600" * 1_250_000)
    pipeline.publish(video)
    [event] = pipeline.events()
    assert event["data"]["omitted"] == ["description"]
    entries: Any = pipeline.redis.xrange("video.events")
    assert len(entries[0][1][b"event"]) < 64 * 1024
    assert pipeline.value("SELECT length(description) FROM video WHERE id = %s", video) == 1_250_000


def test_a_batch_is_one_log_line_and_each_other_outcome_has_its_own(pipeline: Pipeline) -> None:
    pipeline.accept(pipeline.video(), pipeline.video(), pipeline.video(status="failed"))
    with capture_logs() as logs:
        pipeline.run()
    lines = [(line["event"], line.get("commands"), line.get("state")) for line in logs]
    assert ("batch.published", 2, None) in lines
    assert ("command.ended", None, "rejected") in lines
