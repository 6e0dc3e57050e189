"""A video and a workspace have a limited number of open commands."""

from typing import Any

import pytest

from db.commands import limits
from schemas.command import PublishRequest
from tests.support.api import Api
from tests.support.pipeline import Pipeline
from worker.enqueue.refusals import TooManyCommands

COUNT = "SELECT count(*) FROM publisher.publish_command"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a workspace have at most six open commands; its count is kept from four on."""
    monkeypatch.setattr(limits, "PER_WORKSPACE", 6)
    monkeypatch.setattr(limits, "KEPT_FROM", 4)


def test_a_video_has_a_limited_number_of_open_commands(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    pipeline.accept(*[video] * 99)
    with pytest.raises(TooManyCommands, match=f"Video {video} may have 100 open commands"):
        pipeline.accept(video, video)
    pipeline.accept(video, pipeline.video())
    assert pipeline.value(COUNT) == 101


def test_a_window_counts_as_two_commands(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    pipeline.accept(*[video] * 99)
    window = {"video_id": video, "publish_at": "2100-01-01T00:00Z"}
    with pytest.raises(TooManyCommands):
        pipeline.accept(
            PublishRequest.model_validate({**window, "unpublish_at": "2101-01-01T00:00Z"})
        )


def test_commands_that_have_ended_do_not_count(pipeline: Pipeline) -> None:
    video = pipeline.video()
    for _ in range(2):
        pipeline.publish(*[video] * 100)


@pytest.mark.usefixtures("few")
def test_a_workspace_has_a_limited_number_of_open_commands(pipeline: Pipeline) -> None:
    pipeline.accept(*(pipeline.video() for _ in range(6)))
    with pytest.raises(TooManyCommands, match="Workspace 1 may have 6 open commands"):
        pipeline.accept(pipeline.video())
    pipeline.accept(pipeline.video(workspace_id=2))


@pytest.mark.usefixtures("few")
def test_a_large_workspace_is_counted_again_after_a_while(pipeline: Pipeline) -> None:
    pipeline.accept(*(pipeline.video() for _ in range(6)))
    with pytest.raises(TooManyCommands):
        pipeline.accept(pipeline.video())
    pipeline.run()
    with pytest.raises(TooManyCommands):
        pipeline.accept(pipeline.video())
    pipeline.execute(
        "UPDATE publisher.open_command_count SET counted_at = now() - '11 s'::interval"
    )
    pipeline.accept(pipeline.video())


def test_a_repeated_request_is_answered_although_the_video_is_full(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    key = {"idempotency_scope": "s", "idempotency_key": "k"}
    first = pipeline.accept(*[video] * 100, **key)
    again = pipeline.accept(*[video] * 100, **key)
    assert [each.id for each in again.commands] == [each.id for each in first.commands]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/videos/{}/publish/", None),
        ("/videos/{}/unpublish/", None),
        ("/publish-commands", {"commands": [{"video_id": 1}]}),
    ],
)
def test_the_api_refuses_more_with_429(api: Api, path: str, body: dict[str, Any] | None) -> None:
    video = api.video(status="in_progress")
    api.accept(*[video] * 100)
    answer = api.post(path.format(video), json=body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
    assert answer.json()["type"] == "/problems/too-many-commands"
    assert f"Video {video} may have 100 open commands" in answer.json()["detail"]
