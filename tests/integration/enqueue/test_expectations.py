"""Expectations: only the version that was reviewed is published."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Action
from schemas.command import PublishRequest
from tests.support.api import Api
from tests.support.pipeline import Pipeline
from tests.support.platform import column
from tests.support.requests import request
from worker.enqueue.refusals import VideoChanged

LATER = "2099-01-01T00:00:00Z"
CHANGED = "UPDATE video SET title = 'Unseen', updated_at = now() WHERE id = %s"


def tag(api: Api, video: int) -> str:
    """The ETag of the video as it is now."""
    return api.get(f"/videos/{video}/").headers["ETag"]


def publish(api: Api, video: int, if_match: str, **body: Any) -> Any:
    headers = {"If-Match": if_match}
    return api.post(f"/videos/{video}/publish/", headers=headers, json=body or None)


def commands(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM publisher.publish_command")


def scheduled(pipeline: Pipeline, video: int, **said: Any) -> StoredCommand:
    at = datetime.now(UTC) + timedelta(hours=1)
    return pipeline.accept(PublishRequest(video_id=video, publish_at=at, **said)).commands[0]


def test_the_version_that_was_seen_is_published(api: Api) -> None:
    video = api.video()
    seen = tag(api, video)
    answer = publish(api, video, seen)
    assert (answer.status_code, answer.json()["expected_etag"]) == (202, seen)
    api.run()
    assert column(api.engine, video, "is_draft") is False


def test_another_version_than_expected_is_refused_at_once(api: Api) -> None:
    video = api.video()
    seen = tag(api, video)
    api.execute(CHANGED, video)
    answer = publish(api, video, seen)
    assert (answer.status_code, answer.json()["type"]) == (412, "/problems/video-changed")
    assert commands(api) == 0


def test_a_command_whose_video_changes_before_its_time_is_rejected_with_an_event(api: Api) -> None:
    video = api.video()
    answer = publish(api, video, tag(api, video), publish_at=LATER)
    assert answer.status_code == 202
    api.execute(CHANGED, video)
    api.let_pass(days=40_000)
    api.run()
    shown = api.get(answer.json()["url"].removeprefix("https://videos.example/api/v1")).json()
    assert (shown["state"], shown["reason"]) == ("rejected", "video_changed")
    assert column(api.engine, video, "is_draft") is True
    said = api.events()[-1]
    assert (said["type"], said["data"]["reason"]) == ("video.publish_rejected", "video_changed")


def test_the_end_of_generation_does_not_make_a_revision(api: Api) -> None:
    video = api.video(status="in_progress")
    [command] = api.accept(PublishRequest(video_id=video, expected_revision=0)).commands
    api.run()
    api.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    api.run()
    assert api.states(command) == ["published"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("*", 202),
        ("{tag}", 202),
        (' "other" , {tag} ', 202),
        ('"other", "another"', 412),
        ("W/{tag}", 202),
        ('"*"', 412),
    ],
)
def test_if_match_is_a_tag_a_list_of_tags_or_any(api: Api, header: str, status: int) -> None:
    video = api.video()
    answer = publish(api, video, header.format(tag=tag(api, video)))
    assert answer.status_code == status
    assert commands(api) == (1 if status == 202 else 0)


def test_any_version_will_do_for_a_star_at_its_time_too(api: Api) -> None:
    video = api.video()
    publish(api, video, "*")
    api.execute(CHANGED, video)
    api.run()
    assert column(api.engine, video, "is_draft") is False


def test_the_tag_of_a_release_changes_with_each_publication(api: Api) -> None:
    video = api.video()
    seen = [tag(api, video)]
    for action in (Action.PUBLISH, Action.UNPUBLISH, Action.PUBLISH):
        api.publish(PublishRequest(video_id=video, action=action))
        seen.append(tag(api, video))
    assert len(set(seen)) == 4
    assert [publish(api, video, each).status_code for each in seen] == [412, 412, 412, 202]


@pytest.mark.parametrize(("expected", "status"), [(0, 412), (1, 202), (2, 412)])
def test_a_revision_may_be_expected_instead(api: Api, expected: int, status: int) -> None:
    video = api.video()
    api.publish(video)
    body = {"expected_revision": expected}
    assert api.post(f"/videos/{video}/publish/", json=body).status_code == status


def test_a_revision_does_not_change_with_the_platforms_edits(pipeline: Pipeline) -> None:
    video = pipeline.video()
    command = scheduled(pipeline, video, expected_revision=0)
    pipeline.execute(CHANGED, video)
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert pipeline.states(command) == ["published"]


def test_a_publication_by_another_caller_rejects_a_command_that_expected_none(
    pipeline: Pipeline,
) -> None:
    video = pipeline.video()
    edits = request(video, title="Mine").model_copy(
        update={"publish_at": datetime.now(UTC) + timedelta(hours=1), "expected_revision": 0}
    )
    [command] = pipeline.accept(edits).commands
    pipeline.publish(video)
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert pipeline.command(command.id).reason == "video_changed"
    assert column(pipeline.engine, video, "title") == "What is light?"


def test_in_one_batch_only_the_first_of_two_that_expect_the_same_is_carried_out(
    pipeline: Pipeline,
) -> None:
    video = pipeline.video()
    asked = [
        request(video, title=title).model_copy(update={"expected_revision": 0})
        for title in ("First", "Second")
    ]
    ended = pipeline.publish(*asked)
    assert [(c.state, c.reason) for c in ended] == [
        ("published", None),
        ("rejected", "video_changed"),
    ]
    assert column(pipeline.engine, video, "title") == "First"


def test_in_bulk_the_refusal_names_the_command_and_nothing_is_written(api: Api) -> None:
    kept, changed, other = api.video(), api.video(), api.video()
    tags = {video: tag(api, video) for video in (kept, changed)}
    api.execute(CHANGED, changed)
    asked = [
        {"video_id": kept, "expected_etag": tags[kept]},
        {"video_id": changed, "expected_etag": tags[changed]},
        {"video_id": other, "expected_revision": 3},
    ]
    answer = api.post("/publish-commands", json={"commands": asked})
    assert answer.status_code == 412
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
        ("/commands/1", "video_changed"),
        ("/commands/2", "video_changed"),
    ]
    assert commands(api) == 0


def test_the_end_of_a_window_is_not_refused_for_its_own_beginning(api: Api) -> None:
    video = api.video()
    begin, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 3))
    body = {"publish_at": begin.isoformat(), "unpublish_at": end.isoformat()}
    assert publish(api, video, tag(api, video), **body).status_code == 202
    for _ in range(2):
        api.let_pass(hours=2)
        api.run()
    states = "SELECT state FROM publisher.publish_command ORDER BY id"
    assert api.rows(states) == [("published",), ("unpublished",)]


def test_a_withdrawal_may_expect_a_version_too(api: Api) -> None:
    video = api.video()
    api.publish(video)
    seen = tag(api, video)
    api.execute(CHANGED, video)
    path = f"/videos/{video}/unpublish/"
    assert api.post(path, headers={"If-Match": seen}).status_code == 412
    assert api.post(path, headers={"If-Match": tag(api, video)}).status_code == 202
    api.run()
    assert column(api.engine, video, "is_draft") is True


def test_the_command_line_may_expect_a_revision(pipeline: Pipeline) -> None:
    video = pipeline.video()
    done = pipeline.command_line("enqueue", str(video), "--expected-revision", "1")
    assert done.exit_code == 1
    assert "was changed since the version that was expected" in done.stderr
    assert pipeline.command_line("enqueue", str(video), "--expected-revision", "0").exit_code == 0


def test_a_refused_expectation_uses_up_no_idempotency_key(pipeline: Pipeline) -> None:
    video = pipeline.video()
    keyed = {"idempotency_scope": "k", "idempotency_key": "once"}
    with pytest.raises(VideoChanged):
        pipeline.accept(PublishRequest(video_id=video, expected_revision=1), **keyed)
    assert not pipeline.accept(video, **keyed).replayed


def test_a_repeated_call_gets_the_same_answer_after_the_video_has_changed(
    api: Api,
) -> None:
    video = api.video()
    headers = {"If-Match": tag(api, video), "Idempotency-Key": "once"}
    first = api.post(f"/videos/{video}/publish/", headers=headers)
    api.run()
    again = api.post(f"/videos/{video}/publish/", headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("header", ["", "x" * 256])
def test_an_if_match_that_is_none_is_refused(api: Api, header: str) -> None:
    assert publish(api, api.video(), header).status_code == 422
