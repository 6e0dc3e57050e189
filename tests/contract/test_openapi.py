"""The OpenAPI 3.1 document: valid, complete, and kept to by the API itself."""

from collections.abc import Generator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import ValidationError
from schemathesis import checks as general
from schemathesis.specs.openapi import checks as by_the_document

from schemas.command import CommandChange
from tests.support.api import Api
from worker.api.application import create_app
from worker.api.documents import commands

NOT_TRIED = ("/readyz", "/api/v1/events/stream")
METHODS = {"get", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app().openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_of_the_design_is_there_once(document: dict[str, Any]) -> None:
    assert {(path, method) for path, method, _ in operations(document)} == {
        ("/api/v1/videos/{video_id}/publish/", "post"),
        ("/api/v1/videos/{video_id}/publish/", "get"),
        ("/api/v1/videos", "get"),
        ("/api/v1/videos/{video_id}/", "get"),
        ("/api/v1/videos/{video_id}/story", "get"),
        ("/api/v1/videos/{video_id}/unpublish/", "post"),
        ("/api/v1/videos/{video_id}/generation", "post"),
        ("/api/v1/publish-commands", "post"),
        ("/api/v1/publish-commands", "get"),
        ("/api/v1/publish-commands/causes", "get"),
        ("/api/v1/publish-commands/retry", "post"),
        ("/api/v1/publish-commands/{command_id}", "get"),
        ("/api/v1/publish-commands/{command_id}", "patch"),
        ("/api/v1/publish-commands/{command_id}", "delete"),
        ("/api/v1/publish-commands/{command_id}/retry", "post"),
        ("/api/v1/events", "get"),
        ("/api/v1/events/stream", "get"),
        ("/api/v1/punctuality", "get"),
        ("/api/v1/audit-log", "get"),
        ("/api/v1/webhook-endpoints", "post"),
        ("/api/v1/webhook-endpoints", "get"),
        ("/api/v1/webhook-endpoints/{endpoint_id}", "get"),
        ("/api/v1/webhook-endpoints/{endpoint_id}", "patch"),
        ("/api/v1/webhook-endpoints/{endpoint_id}", "delete"),
        ("/api/v1/webhook-endpoints/{endpoint_id}/rotate-secret", "post"),
        ("/api/v1/webhook-endpoints/{endpoint_id}/test", "post"),
        ("/api/v1/webhook-endpoints/{endpoint_id}/replay", "post"),
        ("/api/v1/webhook-endpoints/{endpoint_id}/deliveries", "get"),
        ("/api/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}", "get"),
        ("/api/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery_id}/replay", "post"),
        ("/api/v1/schemas/{event_type}/{version}", "get"),
        ("/v/{path}", "get"),
        ("/asyncapi.json", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    }


def test_every_operation_has_a_description_and_its_own_id(document: dict[str, Any]) -> None:
    found = [operation for _, _, operation in operations(document)]
    assert all(operation["summary"] and operation["description"] for operation in found)
    assert len({operation["operationId"] for operation in found}) == len(found)


def test_every_error_is_a_problem_with_an_example(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        errors = {
            status: response
            for status, response in operation["responses"].items()
            if status >= "400" and path != "/readyz"
        }
        assert errors or path in ("/healthz", "/readyz"), (path, method)
        for status, response in errors.items():
            problem = response["content"]["application/problem+json"]
            assert problem["example"]["status"] == int(status)
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}


def list_examples(node: Any, place: str = "") -> Generator[tuple[str, dict[str, Any], Any]]:
    """Find the examples of a part of the document: the place, the schema and the value of each."""
    match node:
        case {"schema": schema, "example": example}:
            yield place, schema, example
        case {"schema": schema, "examples": {**named}}:
            yield from ((f"{place} {name}", schema, each["value"]) for name, each in named.items())
        case {"examples": [*values]}:
            yield from ((place, node, value) for value in values)
        case _:
            pass
    match node:
        case {**parts}:
            for name in parts.keys() - {"example", "examples"}:
                yield from list_examples(parts[name], f"{place}/{name}")
        case [*parts]:
            for nth, part in enumerate(parts):
                yield from list_examples(part, f"{place}/{nth}")
        case _:
            pass


def test_each_example_is_whole_and_valid_by_its_schema(document: dict[str, Any]) -> None:
    examples = [*list_examples(document["paths"]), *list_examples(document["components"])]
    assert {
        place: error.message
        for place, schema, value in examples
        for error in Draft202012Validator(
            {**schema, "components": document["components"]},
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        ).iter_errors(value)
    } == {}
    changes = document["paths"]["/api/v1/publish-commands/{command_id}"]["patch"]["requestBody"]
    assert changes["content"]["application/json"]["examples"] == commands.CHANGE_EXAMPLES
    assert len(examples) > 400


def test_every_process_writes_the_same_document(document: dict[str, Any]) -> None:
    conditions = document["components"]["schemas"]["PublishBody"]["dependentRequired"]
    assert conditions["tags"] == ["owner", "template", "title", "workspace"]


def test_every_route_of_the_api_requires_a_key(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if path.startswith("/api/v1/") and "schemas" not in path:
            assert operation["security"] == [{"HTTPBearer": []}], (path, method)
            assert "401" in operation["responses"]


def test_an_address_needs_no_key(document: dict[str, Any]) -> None:
    assert {} in document["paths"]["/v/{path}"]["get"]["security"]


def test_the_publish_endpoint_is_called_as_the_platform_calls_it(
    document: dict[str, Any],
) -> None:
    publish = document["paths"]["/api/v1/videos/{video_id}/publish/"]["post"]
    assert publish["operationId"] == "publish-create"
    assert {"200", "202", "400", "401", "403", "404", "409", "413", "415", "422", "503"} <= set(
        publish["responses"]
    )
    assert {"Location", "Idempotency-Replayed", "Preference-Applied"} == set(
        publish["responses"]["202"]["headers"]
    )


def operations_of(schema: Any) -> list[Any]:
    """What schemathesis found in the document, but for readiness: no worker runs here; and for the
    stream, which would not end.
    """
    found = [each.ok() for each in schema.get_all_operations()]
    return [operation for operation in found if operation.path not in NOT_TRIED]


@pytest.fixture
def closed_api(api: Api) -> Api:
    """The API with a document that allows in answers only what is listed."""
    assert api.client is not None
    app: Any = api.client.app
    schemas: dict[str, dict[str, Any]] = app.openapi()["components"]["schemas"]
    for name, schema in schemas.items():
        if "properties" in schema and name != "CloudEvent":
            schema.setdefault("additionalProperties", False)
    return api


@pytest.mark.parametrize("examples", [4, pytest.param(25, marks=pytest.mark.slow)])
def test_the_api_keeps_to_its_own_document(closed_api: Api, examples: int) -> None:
    """Schemathesis makes requests from the document, valid and not, and checks every answer."""
    api = closed_api
    assert api.client is not None
    for columns in ({}, {"status": "failed"}, {"status": "not_started"}):
        api.publish(api.video(**columns))
    schema = schemathesis.openapi.from_asgi("/openapi.json", api.client.app)
    headers = {"Authorization": f"Bearer {api.secret('admin')}"}
    checks: list[Any] = [
        general.not_a_server_error,
        by_the_document.status_code_conformance,
        by_the_document.content_type_conformance,
        by_the_document.response_schema_conformance,
    ]

    for operation in operations_of(schema):

        @given(case=operation.as_strategy())
        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        def try_out(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=checks)

        try_out()


def test_a_change_of_a_command_has_no_default_and_no_null_time(document: Any) -> None:
    """What is left out is kept, and generated clients must not send it."""
    fields = document["components"]["schemas"]["CommandChange"]["properties"]
    times = {"publish_at", "publish_at_local", "unpublish_at", "unpublish_at_local"}
    assert [name for name, field in fields.items() if "default" in field] == []
    assert {name for name, field in fields.items() if "anyOf" not in field} == times


@pytest.mark.parametrize("body", [{}, {"time_zone": None}, {"publish_before": None}])
def test_a_change_of_a_command_is_valid_by_the_schema_if_the_code_accepts_it(
    document: dict[str, Any], body: dict[str, Any]
) -> None:
    by_the_schema = Draft202012Validator(document["components"]["schemas"]["CommandChange"])
    try:
        CommandChange.model_validate(body)
    except ValidationError:
        assert not by_the_schema.is_valid(body)
    else:
        assert by_the_schema.is_valid(body)


def validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(schema)


def test_each_event_matches_the_schema_of_its_type_and_version(
    api: Api, document: dict[str, Any]
) -> None:
    failed, video = api.video(status="failed"), api.video()
    api.publish(failed, video)
    names = [
        reference["$ref"].rpartition("/")[2]
        for reference in document["components"]["schemas"]["PublisherEvent"]["anyOf"]
    ]
    matches = {
        event["type"]: [name for name in names if validator(document, name).is_valid(event)]
        for event in api.get("/events").json()
    }
    assert matches == {
        "video.published": ["VideoPublishedEvent", "CloudEvent"],
        "video.publish_rejected": ["VideoPublishRejectedEvent", "CloudEvent"],
    }


@pytest.mark.parametrize(
    "later",
    [
        {"type": "video.exploded", "data": {"pieces": 2}, "shard": "a-later-attribute"},
        {"dataschema": "https://videos.example/api/v1/schemas/video.published/2", "data": {}},
    ],
    ids=["type", "version"],
)
def test_an_event_that_is_added_later_is_valid(
    api: Api, document: dict[str, Any], later: dict[str, Any]
) -> None:
    api.publish(api.video())
    [event] = api.get("/events").json()
    assert validator(document, "PublisherEvent").is_valid(event | later)


def list_closed(document: dict[str, Any], schema: Any, place: str) -> list[str]:
    """Return the places of a schema, and of those that it refers to, that allow no more values."""
    schemas = document["components"]["schemas"]
    match schema:
        case {"enum": _} | {"additionalProperties": False}:
            return [place]
        case {"anyOf": [{"$ref": _}, {"type": "string"}]}:
            return []
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return (
                []
                if name in place.split("/")
                else list_closed(document, schemas[name], f"{place}/{name}")
            )
        case {**parts}:
            return [each for name in parts for each in list_closed(document, parts[name], place)]
        case [*parts]:
            return [each for part in parts for each in list_closed(document, part, place)]
        case _:
            return []


def test_answers_may_have_more_fields_and_values_later(document: dict[str, Any]) -> None:
    """But for the data of events, whose schemas have versions."""
    closed = [
        place
        for path, method, operation in operations(document)
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
        for place in list_closed(document, content.get("schema"), f"{method} {path}")
    ]
    assert {place for place in closed if "PublisherEvent" not in place} == set()


def test_requests_stay_closed(document: dict[str, Any]) -> None:
    for name in ("PublishBody", "PublishRequests", "CommandChange", "WebhookRegistration"):
        assert document["components"]["schemas"][name]["additionalProperties"] is False
    assert not validator(document, "PublishRequest").is_valid({"video_id": 7, "action": "explode"})
