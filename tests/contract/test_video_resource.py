"""The Video resource and the publish request, field by field as the platform documents them."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from tests.support.api import Api

NOTE = "for the team only"
URI = "https://cdn.example.com/x.jpg"
DATETIME, UID, NULL = "datetime", "uuid", "null"

RESPONSE: dict[str, tuple[Any, ...]] = {
    "id": (int,),
    "sections": (list,),
    "template": (dict,),
    "video": (str,),
    "owner": (dict,),
    "owner_username": (str,),
    "metrics": (str,),
    "tag_names": (list,),
    "category_name": (str,),
    "subcategory_name": (str,),
    "custom_url": (str,),
    "uid": (UID,),
    "created_at": (DATETIME,),
    "updated_at": (DATETIME,),
    "title": (str,),
    "workspace": (int,),
    "deleted_at": (DATETIME, NULL),
    "is_active": (bool,),
    "created_by": (str, NULL),
    "updated_by": (str, NULL),
    "deleted_by": (str, NULL),
    "description": (str, NULL),
    "cover_image": (str, NULL),
    "thumbnail": (str, NULL),
    "generated_script": (str, NULL),
    "generation_progress": (int,),
    "status": (str,),
    "internal_status": (str,),
    "is_regenerating": (bool,),
    "duration": (int, NULL),
    "visibility": (str,),
    "is_draft": (bool,),
    "plan": (dict, list, str, NULL),
    "source_experience": (int, NULL),
    "category": (int, NULL),
    "subcategory": (int, NULL),
    "tags": (list,),
}
"""Every response field of the platform's page on the publish endpoint, with its types."""

SECTION: dict[str, tuple[Any, ...]] = {
    "id": (int,),
    "uid": (UID,),
    "created_at": (DATETIME,),
    "updated_at": (DATETIME,),
    "deleted_at": (DATETIME, NULL),
    "is_active": (bool,),
    "created_by": (str, NULL),
    "updated_by": (str, NULL),
    "deleted_by": (str, NULL),
    "alignment_data": (dict, list, NULL),
    "audio_ready": (bool,),
    "visuals_ready": (bool,),
    "is_assembling": (bool,),
    "order": (int,),
    "title": (str, NULL),
    "content": (list,),
    "duration": (int,),
    "video_file": (str, NULL),
    "audio_file": (str, NULL),
    "thumbnail": (str, NULL),
    "section_summary": (str, NULL),
}
OWNER = {"id", "email", "full_name", "username", "is_verified", "profile_picture"}


def is_of(value: Any, kind: Any) -> bool:
    match kind:
        case "null":
            return value is None
        case "datetime":
            return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
        case "uuid":
            return isinstance(value, str) and str(UUID(value)) == value
        case _:
            return type(value) is kind


def assert_shape(thing: dict[str, Any], shape: dict[str, tuple[Any, ...]]) -> None:
    assert thing.keys() == shape.keys()
    for field, kinds in shape.items():
        assert any(is_of(thing[field], kind) for kind in kinds), (field, thing[field])


@pytest.fixture
def full(api: Api) -> int:
    """A video with everything filled in."""
    video = api.video(
        created_by="ada",
        updated_by="ada",
        description="Waves",
        cover_image=URI,
        thumbnail=URI,
        generated_script="one two",
        duration=60,
        plan={"sections": 1},
        source_experience_id=4,
        category_id=1,
        subcategory_id=1,
    )
    api.execute("INSERT INTO video_tag VALUES (%s, 2), (%s, 1)", video, video)
    api.execute("INSERT INTO iam_user_detail (user_id, profile_picture) VALUES (1, %s)", URI)
    api.execute(
        'INSERT INTO section (video_id, "order", title, content, duration, section_summary,'
        " internal_notes) VALUES (%s, 1, 'Start', '[{\"text\": \"hi\"}]', 60, 'Sum', %s)",
        video,
        NOTE,
    )
    return video


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_draft_has_every_documented_field(api: Api, full: int, slash: str) -> None:
    video = api.get(f"/videos/{full}{slash}").json()
    assert_shape(video, RESPONSE)
    assert (video["custom_url"], video["metrics"]) == ("", "{}")


def test_a_published_video_has_every_documented_field(api: Api, full: int) -> None:
    api.publish(full)
    video = api.get(f"/videos/{full}/").json()
    assert_shape(video, RESPONSE)
    assert json.loads(video["metrics"])["tag_count"] == 2
    assert " " not in video["metrics"]


def test_a_video_with_nothing_optional_has_every_documented_field(api: Api) -> None:
    assert_shape(api.get(f"/videos/{api.video(video=None)}/").json(), RESPONSE)


def test_a_section_has_every_documented_field(api: Api, full: int) -> None:
    [section] = api.get(f"/videos/{full}/").json()["sections"]
    assert_shape(section, SECTION)


def test_the_owner_has_the_documented_fields(api: Api, full: int) -> None:
    owner = api.get(f"/videos/{full}/").json()["owner"]
    assert owner.keys() == OWNER
    assert owner["profile_picture"] == URI


def test_tag_names_are_in_the_order_of_the_tag_ids(api: Api, full: int) -> None:
    video = api.get(f"/videos/{full}/").json()
    assert (video["tags"], video["tag_names"]) == ([1, 2], ["light", "waves"])
    assert (video["category"], video["category_name"]) == (1, "Science")
    assert (video["subcategory"], video["subcategory_name"]) == (1, "Physics")


def test_the_teams_notes_are_in_no_answer_and_no_event(api: Api, full: int) -> None:
    api.publish(full)
    answers = [api.get(f"/videos/{full}/").text, api.get(f"/videos/{full}/publish/").text]
    assert not any(NOTE in text for text in [*answers, json.dumps(api.events())])


def test_the_etag_changes_with_the_video(api: Api, full: int) -> None:
    before = api.get(f"/videos/{full}/").headers["ETag"]
    assert api.get(f"/videos/{full}/").headers["ETag"] == before
    api.publish(full)
    assert api.get(f"/videos/{full}/").headers["ETag"] != before


REQUIRED: dict[str, Any] = {"template": {}, "owner": {}, "title": "Light", "workspace": 1}

ACCEPTED: list[dict[str, Any]] = [
    {"template": None},
    {"tags": None},
    {},
    {"title": "x" * 255},
    {"title": "😀" * 255},
    {"deleted_at": None},
    {"deleted_at": "2026-11-24T10:00:00+01:00"},
    {"is_active": False},
    {"created_by": None, "updated_by": "x" * 255, "deleted_by": ""},
    {"description": None},
    {"description": ""},
    {"cover_image": None, "thumbnail": URI},
    {"generated_script": None},
    {"generation_progress": -2147483648},
    {"generation_progress": 2147483647},
    {"duration": -2147483648},
    {"duration": None},
    *({"status": s} for s in ("not_started", "in_progress", "completed", "failed")),
    *(
        {"internal_status": s}
        for s in (
            "planning",
            "scripting",
            "audio_sync",
            "visuals",
            "rendering",
            "merging",
            "completed",
            "failed",
        )
    ),
    *({"visibility": s} for s in ("public", "private", "team", "org")),
    {"is_regenerating": True, "is_draft": False},
    {"plan": None},
    {"plan": [1, {"a": "b"}]},
    {"plan": "anything"},
    {"source_experience": None, "category": None, "subcategory": None},
    {"category": 1, "subcategory": 1},
    {"tags": []},
    {"tags": [1, 2, 3]},
    {"owner": {"id": 1, "email": "ada@example.com", "username": "ada"}},
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"title": ""}, "/title"),
    ({"title": "x" * 256}, "/title"),
    ({"title": None}, "/title"),
    ({"title": 7}, "/title"),
    ({"title": "NUL \x00 inside"}, "/title"),
    ({"workspace": "1"}, "/workspace"),
    ({"workspace": None}, "/workspace"),
    ({"workspace": 1.5}, "/workspace"),
    ({"workspace": 2}, "/workspace"),
    ({"template": "Explainer"}, "/template"),
    ({"owner": "ada"}, "/owner"),
    ({"owner": {"id": "1"}}, "/owner/id"),
    ({"owner": {"id": 2}}, "/owner/id"),
    ({"owner": {"shoe_size": 38}}, "/owner/shoe_size"),
    ({"deleted_at": "2026-11-24T10:00:00"}, "/deleted_at"),
    ({"deleted_at": "yesterday"}, "/deleted_at"),
    ({"deleted_at": 1700000000}, "/deleted_at"),
    ({"is_active": "yes"}, "/is_active"),
    ({"is_active": 1}, "/is_active"),
    ({"is_active": None}, "/is_active"),
    ({"created_by": "x" * 256}, "/created_by"),
    ({"updated_by": "x" * 256}, "/updated_by"),
    ({"deleted_by": "x" * 256}, "/deleted_by"),
    ({"description": 7}, "/description"),
    ({"cover_image": "not a uri"}, "/cover_image"),
    ({"cover_image": ""}, "/cover_image"),
    ({"thumbnail": "/relative.jpg"}, "/thumbnail"),
    ({"thumbnail": "javascript:alert(1)"}, "/thumbnail"),
    ({"generation_progress": 2147483648}, "/generation_progress"),
    ({"generation_progress": -2147483649}, "/generation_progress"),
    ({"generation_progress": None}, "/generation_progress"),
    ({"duration": 2147483648}, "/duration"),
    ({"duration": "60"}, "/duration"),
    ({"status": "done"}, "/status"),
    ({"status": None}, "/status"),
    ({"internal_status": "finished"}, "/internal_status"),
    ({"visibility": "secret"}, "/visibility"),
    ({"is_regenerating": "no"}, "/is_regenerating"),
    ({"is_draft": 0}, "/is_draft"),
    ({"source_experience": "4"}, "/source_experience"),
    ({"category": 0}, "/category"),
    ({"category": 99}, "/category"),
    ({"category": 2**63}, "/category"),
    ({"subcategory": 2, "category": 1}, "/subcategory"),
    ({"tags": [1, "2"]}, "/tags/1"),
    ({"tags": [77]}, "/tags"),
    ({"titel": "misspelt"}, "/titel"),
    ({"publish_before": "soon"}, "/publish_before"),
    ({"publish_before": "2026-11-24T10:00:00"}, "/publish_before"),
    ({"publish_before": "0001-01-01T00:00:00+14:00"}, "/publish_before"),
    ({"publish_before": "9999-12-31T23:59:59-14:00"}, "/publish_before"),
]


def test_every_documented_value_is_accepted(api: Api) -> None:
    video = api.video()
    for fields in ACCEPTED:
        answer = api.post(f"/videos/{video}/publish/", json={**REQUIRED, **fields})
        assert answer.status_code == 202, (fields, answer.text)


def test_every_other_value_is_refused_by_the_name_of_its_field(api: Api) -> None:
    video = api.video()
    for fields, pointer in REFUSED:
        answer = api.post(f"/videos/{video}/publish/", json={**REQUIRED, **fields})
        assert answer.status_code == 422, (fields, answer.text)
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], answer.text
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 0


@pytest.mark.parametrize("missing", REQUIRED)
def test_each_required_field_is_missed_by_its_name(api: Api, missing: str) -> None:
    body = {field: value for field, value in REQUIRED.items() if field != missing}
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0] == {
        "pointer": f"/{missing}",
        "code": "missing",
        "detail": "Field required",
    }


@pytest.mark.parametrize("content", [b"", b"{}", b"null"])
@pytest.mark.parametrize("action", ["publish", "unpublish"])
def test_an_empty_object_is_as_valid_as_no_body(api: Api, action: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    path = f"/videos/{api.video(is_draft=action == 'publish')}/{action}/"
    answer = api.post(path, content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["edits"] is None


def test_a_field_of_the_video_requires_the_documented_request(api: Api) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", json={"visibility": "private"})
    assert answer.status_code == 422
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert pointers == {f"/{field}" for field in REQUIRED}
