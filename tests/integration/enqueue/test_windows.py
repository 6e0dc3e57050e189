"""Windows and withdrawals: a video is published, withdrawn, and keeps its address."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Action, Trigger
from schemas.command import CommandChange, PublishRequest
from tests.support.api import Api
from tests.support.pipeline import Pipeline
from tests.support.platform import column
from tests.support.requests import request
from worker.enqueue import new_commands
from worker.enqueue.changes import Changer, cancel, reschedule
from worker.enqueue.refusals import RequestInvalid

SOMEBODY = Changer(trigger=Trigger.API, workspace_id=None)


def ahead(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def window(pipeline: Pipeline, **said: Any) -> tuple[StoredCommand, StoredCommand]:
    """A video that is to be out from in one hour to in three."""
    asked = {"video_id": pipeline.video(), "publish_at": ahead(1), "unpublish_at": ahead(3), **said}
    beginning, end = pipeline.accept(PublishRequest.model_validate(asked)).commands
    return beginning, end


def withdrawal(video: int, **said: Any) -> PublishRequest:
    return PublishRequest(video_id=video, action=Action.UNPUBLISH, **said)


def published(pipeline: Pipeline, **columns: Any) -> int:
    """A video that is out."""
    video = pipeline.video(**columns)
    pipeline.publish(video)
    return video


def types(pipeline: Pipeline) -> list[str]:
    return [event["type"].removeprefix("video.") for event in pipeline.events()]


# --- windows -------------------------------------------------------------------------------------


def test_a_window_is_two_commands_each_the_counterpart_of_the_other(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline)
    assert (beginning.action, end.action) == ("publish", "unpublish")
    assert (beginning.counterpart_id, end.counterpart_id) == (end.id, beginning.id)
    assert types(pipeline) == ["publish_scheduled", "publish_scheduled"]


def test_over_http_the_answer_leads_to_the_other_command(api: Api) -> None:
    body = {"publish_at": ahead(1).isoformat(), "unpublish_at": ahead(3).isoformat()}
    shown = api.post(f"/videos/{api.video()}/publish/", json=body).json()
    other = api.get(shown["counterpart"].removeprefix("https://videos.example/api/v1")).json()
    assert (shown["action"], other["action"]) == ("publish", "unpublish")
    assert other["counterpart"] == shown["url"]
    assert other["publish_at"] is shown["unpublish_at"] is None
    assert datetime.fromisoformat(other["unpublish_at"]).isoformat() == body["unpublish_at"]


def test_the_video_is_out_for_as_long_as_the_window(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline)
    seen: list[tuple[list[str], bool]] = []
    for _ in range(3):
        pipeline.run()
        is_draft = column(pipeline.engine, beginning.video_id, "is_draft")
        seen.append((pipeline.states(beginning, end), is_draft))
        pipeline.let_pass(hours=1.5)
    assert seen == [
        (["scheduled", "scheduled"], True),
        (["published", "scheduled"], False),
        (["published", "unpublished"], True),
    ]
    assert types(pipeline) == ["publish_scheduled"] * 2 + ["published", "unpublished"]


def test_a_window_may_begin_at_once(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline, publish_at=None)
    pipeline.run()
    assert pipeline.states(beginning, end) == ["published", "scheduled"]
    pipeline.let_pass(hours=4)
    pipeline.run()
    assert pipeline.states(beginning, end) == ["published", "unpublished"]


def test_a_publication_that_comes_after_the_windows_end_expires(pipeline: Pipeline) -> None:
    """A downtime over the whole window: nothing flashes up."""
    beginning, end = window(pipeline)
    pipeline.let_pass(hours=5)
    assert pipeline.run() == 2
    assert pipeline.states(beginning, end) == ["expired", "unchanged"]
    assert pipeline.command(end.id).reason == "window_never_opened"
    assert column(pipeline.engine, beginning.video_id, "is_draft") is True
    said = pipeline.events()[-1]
    assert (said["type"], said["data"]["trigger"]) == ("video.publish_expired", "schedule")


@pytest.mark.parametrize("fate", ["cancelled", "rejected"])
def test_a_window_that_never_opened_has_no_end_either(pipeline: Pipeline, fate: str) -> None:
    """The video was out before, by another command: that is nothing for this window to end."""
    beginning, end = window(pipeline)
    pipeline.publish(PublishRequest(video_id=beginning.video_id))
    pipeline.execute(
        "UPDATE publisher.publish_command SET state = %s, finished_at = now() WHERE id = %s",
        fate,
        beginning.id,
    )
    pipeline.let_pass(hours=5)
    pipeline.run()
    assert pipeline.command(end.id).reason == "window_never_opened"
    assert column(pipeline.engine, beginning.video_id, "is_draft") is False


def test_generation_that_ends_after_the_windows_end_publishes_nothing(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline, video_id=pipeline.video(status="in_progress"))
    pipeline.let_pass(hours=2)
    pipeline.run()
    assert pipeline.states(beginning, end) == ["waiting", "scheduled"]
    pipeline.let_pass(hours=2)
    pipeline.execute("UPDATE video SET status = 'completed'")
    pipeline.run()
    assert pipeline.states(beginning, end) == ["expired", "unchanged"]


def test_a_cancelled_end_leaves_the_publication_free(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline)
    cancel(pipeline.engine, pipeline.waker, end.id, SOMEBODY)
    pipeline.let_pass(hours=5)
    pipeline.run()
    assert pipeline.states(beginning, end) == ["published", "cancelled"]


def test_a_later_end_leaves_the_publication_longer(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline)
    move(pipeline, end, unpublish_at=ahead(10))
    pipeline.let_pass(hours=5)
    pipeline.run()
    assert pipeline.states(beginning, end) == ["published", "scheduled"]


@pytest.mark.parametrize(
    ("begin", "end"), [(ahead(3), ahead(1)), (ahead(2), ahead(-1)), (None, ahead(-1))]
)
def test_a_window_that_ends_before_it_begins_is_refused(
    api: Api, begin: datetime | None, end: datetime
) -> None:
    body = {"unpublish_at": end.isoformat()}
    body |= {"publish_at": begin.isoformat()} if begin else {}
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/unpublish_at"
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 0


def test_a_window_of_no_length_is_refused(pipeline: Pipeline) -> None:
    at = ahead(1)
    with pytest.raises(RequestInvalid, match="later than publish_at"):
        window(pipeline, publish_at=at, unpublish_at=at)


def test_a_window_must_not_end_before_it_begins(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline)
    with pytest.raises(RequestInvalid, match="window ends before"):
        move(pipeline, beginning, publish_at=ahead(4))
    with pytest.raises(RequestInvalid, match="window begins later"):
        move(pipeline, end, unpublish_at=ahead(0.5))
    with pytest.raises(RequestInvalid, match="window begins later"):
        move(pipeline, end, unpublish_at=ahead(-1))
    assert [pipeline.command(each.id) for each in (beginning, end)] == [beginning, end]
    assert types(pipeline) == ["publish_scheduled"] * 2


def test_a_window_is_moved_one_end_after_the_other(pipeline: Pipeline) -> None:
    beginning, end = window(pipeline)
    move(pipeline, end, unpublish_at=ahead(6))
    move(pipeline, beginning, publish_at=ahead(4))
    pipeline.let_pass(hours=5)
    pipeline.run()
    assert pipeline.states(beginning, end) == ["published", "scheduled"]


def test_a_window_whose_keys_request_comes_again_after_its_end_is_the_same_window(
    pipeline: Pipeline,
) -> None:
    """A repeated request gets the same answer, however late: its times are not checked again."""
    asked = PublishRequest(video_id=pipeline.video(), unpublish_at=ahead(-1))
    keyed = {"idempotency_scope": "k", "idempotency_key": "once"}
    plan = getattr(new_commands, "_plan")  # noqa: B009 - the moment in which the times are checked

    def plan_before_the_end(request: PublishRequest, _now: datetime) -> object:
        return plan(request, ahead(-2))

    with patch.object(new_commands, "_plan", plan_before_the_end):
        first = pipeline.accept(asked, **keyed)
    again = pipeline.accept(asked, **keyed)
    with pytest.raises(RequestInvalid):
        pipeline.accept(asked)
    assert [c.id for c in again.commands] == [c.id for c in first.commands]


# --- withdrawals ---------------------------------------------------------------------------------


def test_an_unpublished_video_is_a_draft_again_and_has_an_event(pipeline: Pipeline) -> None:
    video = published(pipeline)
    [command] = pipeline.publish(withdrawal(video))
    assert command.state == "unpublished"
    assert column(pipeline.engine, video, "is_draft") is True
    out, back = pipeline.events()
    assert (back["type"], back["subject"]) == ("video.unpublished", str(video))
    assert back["data"]["custom_url"] == out["data"]["custom_url"]
    assert back["data"]["published_at"] == out["data"]["published_at"]
    assert back["data"]["unpublished_at"] > out["data"]["published_at"]
    assert back["data"]["first_publication"] is False
    assert [out["videorevision"], back["videorevision"]] == [1, 2]


def test_the_release_keeps_its_times_and_knows_when_it_was_withdrawn(pipeline: Pipeline) -> None:
    video = published(pipeline)
    pipeline.publish(withdrawal(video))
    read = "SELECT revision, first_published_at = published_at, withdrawn_at > published_at"
    [row] = pipeline.rows(f"{read} FROM publisher.video_release WHERE video_id = %s", video)
    assert row == (2, True, True)


def test_a_video_comes_back_at_its_old_address(api: Api) -> None:
    video = published(api)
    path = api.value("SELECT custom_url FROM publisher.video_release")
    old = f"/v/{path}"
    assert leads(api, old) == (308, f"https://videos.example/{path}")
    api.publish(withdrawal(video))
    assert leads(api, old) == (404, None)
    api.publish(video)
    assert leads(api, old) == (308, f"https://videos.example/{path}")
    assert [event["videorevision"] for event in api.events()] == [1, 2, 3]
    assert [event["data"]["first_publication"] for event in api.events()] == [True, False, False]


def test_withdrawing_a_draft_changes_nothing(pipeline: Pipeline) -> None:
    [command] = pipeline.publish(withdrawal(pipeline.video()))
    assert (command.state, command.reason) == ("unchanged", "not_published")
    assert pipeline.value("SELECT count(*) FROM publisher.video_release") == 0
    assert types(pipeline) == []


def test_withdrawing_twice_is_withdrawing_once(pipeline: Pipeline) -> None:
    video = published(pipeline)
    states = pipeline.publish(withdrawal(video), withdrawal(video))
    assert [command.state for command in states] == ["unpublished", "unchanged"]
    assert types(pipeline) == ["published", "unpublished"]


def test_a_video_that_the_platform_published_before_us_is_withdrawn(api: Api) -> None:
    video = api.video(is_draft=False)
    [command] = api.publish(withdrawal(video))
    assert command.state == "unpublished"
    [event] = api.events()
    assert (event["type"], event["videorevision"]) == ("video.unpublished", 1)
    [again] = api.publish(video)
    assert again.state == "published"
    assert api.events()[-1]["data"]["custom_url"] == event["data"]["custom_url"]


@pytest.mark.parametrize("columns", [{"is_regenerating": True}, {"status": "failed"}])
def test_a_withdrawal_waits_for_no_generation(pipeline: Pipeline, columns: dict[str, Any]) -> None:
    video = pipeline.video(is_draft=False, **columns)
    assert [command.state for command in pipeline.publish(withdrawal(video))] == ["unpublished"]


def test_publication_and_withdrawal_in_one_batch_happen_in_order(pipeline: Pipeline) -> None:
    video = pipeline.video()
    ended = pipeline.publish(video, withdrawal(video), video, withdrawal(video))
    assert [c.state for c in ended] == ["published", "unpublished", "published", "unpublished"]
    assert [event["videorevision"] for event in pipeline.events()] == [1, 2, 3, 4]
    assert types(pipeline) == ["published", "unpublished"] * 2
    assert column(pipeline.engine, video, "is_draft") is True
    read = "SELECT revision, withdrawn_at IS NOT NULL FROM publisher.video_release"
    assert pipeline.rows(read) == [(4, True)]


def test_withdrawal_and_publication_with_a_new_title_in_one_batch(pipeline: Pipeline) -> None:
    video = published(pipeline)
    ended = pipeline.publish(withdrawal(video), request(video, title="Light, again"))
    assert [command.state for command in ended] == ["unpublished", "published"]
    [url, withdrawn] = pipeline.rows(
        "SELECT custom_url, withdrawn_at FROM publisher.video_release"
    )[0]
    assert url.startswith("research/light-again-")
    assert withdrawn is None
    assert column(pipeline.engine, video, "is_draft") is False


def test_a_withdrawal_does_not_go_before_its_time(pipeline: Pipeline) -> None:
    video = published(pipeline)
    [command] = pipeline.publish(withdrawal(video, unpublish_at=ahead(1)))
    assert command.state == "scheduled"
    pipeline.let_pass(hours=1)
    pipeline.run()
    assert pipeline.states(command) == ["unpublished"]
    assert pipeline.events()[-1]["data"]["trigger"] == "schedule"


# --- every door ----------------------------------------------------------------------------------


def test_a_caller_that_waits_gets_the_withdrawn_video(api: Api) -> None:
    video = published(api)
    with api.working():
        answer = api.post(f"/videos/{video}/unpublish/", headers={"Prefer": "wait=10"})
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["is_draft"]) == (video, True)
    assert answer.headers["ETag"] == api.get(f"/videos/{video}/").headers["ETag"]


def test_a_caller_that_does_not_wait_gets_the_command(api: Api) -> None:
    answer = api.post(
        f"/videos/{published(api)}/unpublish", json={"unpublish_at": "2099-01-01T00:00:00Z"}
    )
    assert answer.status_code == 202
    shown = answer.json()
    assert (shown["action"], shown["state"]) == ("unpublish", "scheduled")
    assert shown["unpublish_at"] == shown["due_at"] == "2099-01-01T00:00:00Z"
    assert answer.headers["Location"] == shown["url"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"publish_at": "2099-01-01T00:00:00Z"}, "/publish_at"),
        ({"publish_before": "2099-01-01T00:00:00Z"}, "/publish_before"),
        ({"title": "New"}, "/title"),
        (
            {"unpublish_at_local": "2099-03-29T02:30", "time_zone": "Europe/Berlin"},
            "/unpublish_at_local",
        ),
    ],
)
def test_an_invalid_withdrawal_is_refused(api: Api, body: dict[str, str], pointer: str) -> None:
    answer = api.post(f"/videos/{published(api)}/unpublish/", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert types(api) == ["published"]


def test_a_video_of_another_workspace_cannot_be_withdrawn(api: Api) -> None:
    video = published(api)
    assert api.post(f"/videos/{video}/unpublish/", "elsewhere").status_code == 404
    assert api.post(f"/videos/{video}/unpublish/", "read").status_code == 403


def test_a_bulk_call_publishes_withdraws_and_opens_windows(api: Api) -> None:
    out, draft, later = published(api), api.video(), api.video()
    window = {"publish_at": "2099-01-01T00:00:00Z", "unpublish_at": "2099-02-01T00:00:00Z"}
    commands = [
        {"video_id": out, "action": "unpublish"},
        {"video_id": draft},
        {"video_id": later, **window},
    ]
    body = {"commands": commands}
    shown = api.post("/publish-commands", json=body).json()["commands"]
    assert [(c["video_id"], c["action"]) for c in shown] == [
        (out, "unpublish"),
        (draft, "publish"),
        (later, "publish"),
        (later, "unpublish"),
    ]
    api.run()
    assert column(api.engine, out, "is_draft") is True
    assert column(api.engine, draft, "is_draft") is False


def test_a_bulk_withdrawal_does_not_accept_edits(api: Api) -> None:
    body = {
        "video_id": published(api),
        "action": "unpublish",
        "publish_before": "2099-01-01T00:00Z",
    }
    answer = api.post("/publish-commands", json={"commands": [body]})
    assert answer.status_code == 422
    assert "publish_before" in answer.json()["errors"][0]["detail"]


def test_the_command_line_withdraws(pipeline: Pipeline) -> None:
    video = published(pipeline)
    done = pipeline.command_line("unpublish", str(video), "--json")
    assert (done.exit_code, json.loads(done.stdout)["action"]) == (0, "unpublish")
    pipeline.run()
    assert pipeline.events()[-1]["data"]["trigger"] == "cli"
    assert column(pipeline.engine, video, "is_draft") is True


def test_the_command_line_opens_a_window(pipeline: Pipeline) -> None:
    times = ("--publish-at", "2099-01-01T00:00:00Z", "--unpublish-at", "2099-02-01T00:00:00Z")
    done = pipeline.command_line("enqueue", str(pipeline.video()), *times, "--json")
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [command["action"] for command in shown] == ["publish", "unpublish"]
    assert shown[0]["counterpart"] == shown[1]["url"]


def move(pipeline: Pipeline, command: StoredCommand, **said: datetime) -> None:
    change = CommandChange.model_validate(said)
    reschedule(pipeline.engine, pipeline.waker, command.id, change, SOMEBODY)


def leads(api: Api, path: str) -> tuple[int, str | None]:
    answer = api.call("GET", path, None, follow_redirects=False)
    return answer.status_code, answer.headers.get("Location")
