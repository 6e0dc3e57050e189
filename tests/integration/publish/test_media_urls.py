"""MEDIA_BASE_URL: files' paths in the rows are URIs in the Video and in its event."""

import pytest

from schemas.command import PublishRequest
from schemas.video import VideoInput
from tests.support.api import Api
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.platform import column
from worker.publish.run import run_due

MEDIA = "https://cdn.example.com/media"


@pytest.fixture
def media(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting, in the environment."""
    monkeypatch.setenv("MEDIA_BASE_URL", MEDIA)


def store_paths(pipeline: Pipeline) -> int:
    video = pipeline.video()
    pipeline.execute(
        "UPDATE video SET video = 'v/7.mp4', cover_image = 'c/7.png', thumbnail = NULL"
        " WHERE id = %s",
        video,
    )
    return video


def publish(pipeline: Pipeline, video: int, **fields: object) -> None:
    body = {"template": {}, "owner": {"username": "ada"}, "workspace": 1, "title": "T", **fields}
    pipeline.accept(PublishRequest(video_id=video, video=VideoInput.model_validate(body)))
    run_due(
        pipeline.engine,
        base_url=BASE_URL,
        media_base_url=MEDIA,
        wake=lambda: None,
        committed=lambda _: None,
    )


def test_the_event_has_uris(pipeline: Pipeline) -> None:
    publish(pipeline, store_paths(pipeline))
    [event] = pipeline.events()
    data = event["data"]
    assert (data["video"], data["cover_image"]) == (f"{MEDIA}/v/7.mp4", f"{MEDIA}/c/7.png")
    assert data["thumbnail"] is None


@pytest.mark.usefixtures("media")
def test_the_video_has_uris(api: Api) -> None:
    found = api.get(f"/videos/{store_paths(api)}/").json()
    assert (found["video"], found["cover_image"]) == (f"{MEDIA}/v/7.mp4", f"{MEDIA}/c/7.png")


def test_the_uri_of_the_stored_path_changes_nothing_and_another_one_is_stored_as_a_path(
    pipeline: Pipeline,
) -> None:
    video = store_paths(pipeline)
    publish(pipeline, video, cover_image=f"{MEDIA}/c/7.png")
    assert column(pipeline.engine, video, "cover_image") == "c/7.png"
    publish(pipeline, video, cover_image=f"{MEDIA}/c/8.png")
    assert column(pipeline.engine, video, "cover_image") == "c/8.png"
    assert pipeline.events()[-1]["data"]["cover_image"] == f"{MEDIA}/c/8.png"
