"""Edits: a client may send back what the API has answered, and nothing larger than its bound."""

from typing import Any

import pytest

from schemas.command import PublishRequest
from schemas.video import MAX_DESCRIPTION, MAX_TAGS, VideoInput
from tests.support.api import Api
from tests.support.platform import column
from worker.enqueue.refusals import EnqueueRefused, RequestInvalid

LONG = "x" * (MAX_DESCRIPTION + 1)
ODD: list[dict[str, Any]] = [
    {"cover_image": ""},
    {"cover_image": "covers/7.png"},
    {"cover_image": "/media/covers/7.png"},
    {"thumbnail": ""},
    {"thumbnail": "thumbs/7.png"},
    {"title": ""},
    {"description": LONG},
    {"description": ""},
    {"cover_image": "https://h/" + "x" * 2000},
]
"""What a row may hold, and a command may not carry (or only just)."""


def refuse(api: Api, video: int, **edits: Any) -> dict[str, str]:
    """Ask for edits; return the errors by pointer."""
    body = api.get(f"/videos/{video}/").json() | edits
    answer = api.post(f"/videos/{video}/publish/", json=body)
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("columns", ODD)
def test_a_client_may_echo_whatever_the_row_holds(api: Api, columns: dict[str, Any]) -> None:
    video = api.video(**columns)
    echo = api.get(f"/videos/{video}/").json()
    answer = api.post(f"/videos/{video}/publish/", json=echo)
    assert answer.status_code == 202, answer.text
    api.run()
    assert column(api.engine, video, "is_draft") is False
    assert {name: column(api.engine, video, name) for name in columns} == columns


def test_an_echo_of_a_subcategory_of_another_category_is_accepted(api: Api) -> None:
    video = api.video(category_id=1, subcategory_id=api.value("SELECT max(id) FROM subcategory"))
    assert api.value("SELECT category_id FROM subcategory ORDER BY id DESC LIMIT 1") != 1
    echo = api.get(f"/videos/{video}/").json()
    assert api.post(f"/videos/{video}/publish/", json=echo).status_code == 202


def test_an_echo_of_a_published_video_changes_nothing(api: Api) -> None:
    video = api.video(cover_image="", description=LONG, visibility="private")
    api.publish(video)
    echo = api.get(f"/videos/{video}/").json()
    command = api.post(f"/videos/{video}/publish/", json=echo).json()
    api.run()
    assert api.command(command["id"]).state == "unchanged"


@pytest.mark.parametrize(
    "edits",
    [
        {"cover_image": ""},
        {"cover_image": "covers/8.png"},
        {"thumbnail": "https://"},
        {"title": ""},
        {"title": "x" * 256},
        {"description": LONG},
        {"cover_image": "https://h/" + "x" * 2000},
        {"tags": list(range(1, MAX_TAGS + 2))},
    ],
)
def test_a_value_that_no_command_may_carry_is_refused_unless_the_row_has_it(
    api: Api, edits: dict[str, Any]
) -> None:
    [field] = edits
    assert f"/{field}" in refuse(api, api.video(cover_image="covers/7.png"), **edits)


def test_in_a_bulk_request_the_error_points_at_the_field_of_its_command(api: Api) -> None:
    odd, fine = api.video(cover_image=""), api.video()
    echoes = [api.get(f"/videos/{video}/").json() for video in (odd, fine)]
    commands = [
        {"video_id": odd, "video": echoes[0]},
        {"video_id": fine, "video": echoes[1] | {"cover_image": ""}},
    ]
    answer = api.post("/publish-commands", json={"commands": commands})
    assert answer.status_code == 422
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == ["/commands/1/video/cover_image"]


def test_a_python_caller_is_held_to_the_same_bounds(api: Api) -> None:
    body: dict[str, Any] = {
        "template": {},
        "owner": {},
        "title": "Light",
        "workspace": 1,
        "description": LONG,
    }
    request = PublishRequest(video_id=api.video(), video=VideoInput.model_validate(body))
    with pytest.raises(RequestInvalid, match=f"at most {MAX_DESCRIPTION}"):
        api.publish(request)


@pytest.mark.parametrize("offset", ["+16:00", "-16:00", "+23:59", "-23:59"])
def test_every_offset_that_rfc_3339_allows_is_stored(api: Api, offset: str) -> None:
    body = {"publish_before": f"2100-01-01T00:00:00{offset}"}
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["publish_before"].endswith("Z")


@pytest.mark.parametrize("field", ["correlation_id", "traceparent", "idempotency_key"])
@pytest.mark.parametrize("text", ["x" * 256, "\x00", "\ud800"])
def test_a_python_caller_cannot_store_an_origin_beyond_its_bound(
    api: Api, field: str, text: str
) -> None:
    with pytest.raises(EnqueueRefused, match=field):
        api.publish(api.video(), **{field: text})
