"""The published schemas and the code agree: what one accepts, the other accepts as well."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ValidationError

from schemas.command import (
    CommandChange,
    PublishBody,
    PublishRequest,
    PublishRequests,
    UnpublishOptions,
)
from schemas.generation import GenerationReport
from schemas.inbox import CommandFilter, RetryRequest
from schemas.times import INSTANT, LOCAL
from schemas.video import VideoInput
from schemas.webhook import ReplayRequest, WebhookEndpointChange, WebhookRegistration
from tests.support.json_bodies import bodies
from worker.api.application import create_app
from worker.api.documents.asyncapi import document as asyncapi_document

REQUESTS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (
        CommandChange,
        GenerationReport,
        WebhookRegistration,
        PublishBody,
        PublishRequest,
        PublishRequests,
        ReplayRequest,
        RetryRequest,
        UnpublishOptions,
        WebhookEndpointChange,
    )
}
"""Every model of a request's body, and the one of a command in a bulk request."""
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]
DOCUMENTED: dict[str, Any] = {"template": {}, "owner": {}, "title": "Light", "workspace": 1}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", **document})


def is_accepted(model: type[BaseModel], body: Any) -> bool:
    """Whether the code accepts a body, with its editorial fields."""
    try:
        accepted = model.model_validate(body)
    except ValidationError:
        return False
    return not any(video.find_errors() for video in find_videos(accepted))


def find_videos(body: BaseModel) -> Iterator[VideoInput]:
    match body:
        case PublishBody():
            videos = [body.to_video()]
        case PublishRequest():
            videos = [body.video]
        case PublishRequests():
            videos = [command.video for command in body.commands]
        case _:
            videos = []
    yield from filter(None, videos)


def test_every_body_of_a_request_is_one_of_these_models(document: dict[str, Any]) -> None:
    found = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for item in document["paths"].values()
        for operation in item.values()
        if "requestBody" in operation
    }
    assert found == {
        f"#/components/schemas/{name}" for name in REQUESTS if name != "PublishRequest"
    }


@pytest.mark.parametrize("examples", [50, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", REQUESTS)
def test_the_code_accepts_what_the_schema_allows_and_nothing_else(
    document: dict[str, Any], name: str, examples: int
) -> None:
    by_the_schema = validator(document, name)

    @given(body=bodies(document["components"]["schemas"][name], document))
    @settings(max_examples=examples, database=None, suppress_health_check=CHECKS)
    def compare(body: dict[str, Any]) -> None:
        assert by_the_schema.is_valid(body) == is_accepted(REQUESTS[name], body), body

    compare()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("PublishBody", {}),
        ("UnpublishOptions", {}),
        ("PublishBody", DOCUMENTED),
        ("PublishBody", DOCUMENTED | {"workspace": 1.0, "tags": [2.0]}),
        ("PublishBody", DOCUMENTED | {"tags": [1] * 1001}),
        ("PublishBody", {"title": "Light"}),
        ("PublishBody", {"publish_at": "2026-12-01T18:00:00+23:59"}),
        ("CommandChange", {"publish_at": "2026-12-01T18:00:00Z", "time_zone": "Europe/Berlin"}),
        ("CommandChange", {"time_zone": "Europe/Berlin"}),
        (
            "PublishBody",
            {
                "publish_at_local": "2026-10-25T02:30:00.123456789",
                "time_zone": "Europe/Berlin",
                "fold": 1.0,
            },
        ),
        ("PublishRequest", {"video_id": 7, "action": "unpublish", "publish_before": None}),
        ("GenerationReport", {"kind": "failed", "run": 2.0, "video": "https://h/7.mp4"}),
        ("ReplayRequest", {"failed": False}),
    ],
)
def test_schema_and_code_agree_on(document: dict[str, Any], name: str, body: Any) -> None:
    assert validator(document, name).is_valid(body) == is_accepted(REQUESTS[name], body)


@pytest.mark.parametrize(("pattern", "field"), [(INSTANT, "publish_at"), (LOCAL, "local")])
def test_every_time_of_the_pattern_is_accepted(pattern: str, field: str) -> None:
    @given(text=st.from_regex(pattern.replace("$", r"\Z"), fullmatch=True))
    @example(text="9000-12-31T23:59:59.999999999" + ("-23:59" if field == "publish_at" else ""))
    @settings(database=None)
    def accept(text: str) -> None:
        zone = {"publish_at_local": text, "time_zone": "UTC"}
        assert is_accepted(PublishBody, {"publish_at": text} if field == "publish_at" else zone)

    accept()


@pytest.mark.parametrize("text", ["9000-12-31T23:59:59-23:59", "1900-01-01T00:00:00+23:59"])
def test_a_time_in_another_year_in_utc_is_accepted_wherever_it_goes(text: str) -> None:
    body = PublishBody.model_validate({"publish_at": text})
    request = PublishRequest(video_id=7, publish_at=body.publish_at)
    shown = request.model_dump(mode="json")["publish_at"]
    wanted = CommandFilter.model_validate(
        {"order": "due", "before": UUID(int=1)} | {"before_due_at": shown}
    )
    assert wanted.before_due_at == request.publish_at == datetime.fromisoformat(text)


# Defaults: a client that is generated from the schema sends them.


EMPTY: dict[str, Any] = {"array": [], "object": {}}


def add_defaults(
    schema: dict[str, Any], document: dict[str, Any], body: dict[str, Any]
) -> dict[str, Any]:
    """The body with the defaults of the schema, as a generated client fills them in.

    Clients in Java also fill in an empty list or map, where null is not valid.
    """
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        body = add_defaults(choice, document, body)
    for field, part in schema.get("properties", {}).items():
        if isinstance(body.get(field), dict):
            body = body | {field: add_defaults(part, document, body[field])}
        elif "default" in part:
            body = {field: part["default"]} | body
        elif part.get("type") in EMPTY:
            body = {field: EMPTY[part["type"]]} | body
    return body


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("PublishBody", {}),
        ("PublishBody", DOCUMENTED),
        ("PublishRequest", {"video_id": 7}),
        ("PublishRequest", {"video_id": 7, "video": DOCUMENTED}),
        ("UnpublishOptions", {}),
        ("CommandChange", {"publish_before": "2026-12-01T18:00:00Z"}),
        ("RetryRequest", {}),
        ("GenerationReport", {"kind": "completed"}),
        ("WebhookRegistration", {"url": "https://hooks.example.com/"}),
        ("WebhookEndpointChange", {"state": "enabled"}),
        ("ReplayRequest", {"since_position": 5}),
        ("ReplayRequest", {"failed": True}),
    ],
)
def test_a_body_with_all_defaults_means_the_same(
    document: dict[str, Any], name: str, body: dict[str, Any]
) -> None:
    filled = add_defaults({"$ref": name}, document, body)
    given, wanted = (REQUESTS[name].model_validate(each) for each in (filled, body))
    assert given == wanted
    assert [video.to_edits().model_fields_set for video in find_videos(given)] == [
        video.to_edits().model_fields_set for video in find_videos(wanted)
    ]


def test_tags_that_are_null_are_kept() -> None:
    video = PublishBody.model_validate(DOCUMENTED | {"tags": None}).to_video()
    assert video
    assert "tags" not in video.to_edits().model_fields_set


@pytest.mark.parametrize("name", ["PublishBody", "VideoInput", "CommandChange"])
def test_a_field_that_is_kept_when_it_is_absent_has_no_default(
    document: dict[str, Any], name: str
) -> None:
    fields = document["components"]["schemas"][name]["properties"]
    assert [field for field, part in fields.items() if "default" in part] == []


def test_no_document_has_a_default_of_null(document: dict[str, Any]) -> None:
    for each in (document, asyncapi_document("http://localhost:8000")):
        for model, schema in each["components"]["schemas"].items():
            for field, part in schema.get("properties", {}).items():
                assert part.get("default", ...) is not None, (model, field)


def find_integers(schema: Any) -> Iterator[dict[str, Any]]:
    match schema:
        case {"type": "integer"}:
            yield schema
        case {**parts}:
            for part in parts.values():
                yield from find_integers(part)
        case [*parts]:
            for part in parts:
                yield from find_integers(part)
        case _:
            pass


def test_an_integer_that_may_exceed_32_bits_says_so(document: dict[str, Any]) -> None:
    """Generated clients in Java and Go read an integer without a format into 32 bits."""
    for each in (document, asyncapi_document("http://localhost:8000")):
        found = list(find_integers(each))
        assert len(found) > 20
        for integer in found:
            is_small = integer.get("maximum", 2**63) < 2**31
            assert is_small or integer["format"] == "int64"
