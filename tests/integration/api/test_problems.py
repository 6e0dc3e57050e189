"""Bad input: a clear problem (RFC 9457), and nothing half done."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from db.session import connect, transaction
from tests.support.api import Api, serving
from tests.support.platform import make_ready_videos
from worker.api.request_limits import MAX_BODY

JSON = {"Content-Type": "application/json"}


def assert_problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"/problems/{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["correlation_id"] == answer.headers["X-Correlation-ID"]
    return problem


@pytest.mark.parametrize("video_id", ["999999", "0", "-1", str(2**63), str(10**30), "seven", "1.5"])
def test_a_video_that_is_not_there_is_not_found(api: Api, video_id: str) -> None:
    for method in ("GET", "POST"):
        answer = api.call(method, f"/api/v1/videos/{video_id}/publish/")
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_address_that_is_not_there_is_not_found(api: Api) -> None:
    assert_problem(api.get("/nonsense"), 404, "no-such-page")


def test_a_method_that_is_not_there_is_not_allowed(api: Api) -> None:
    answer = api.call("PUT", f"/api/v1/videos/{api.video()}/publish/")
    assert_problem(answer, 405, "method-not-allowed")


@pytest.mark.parametrize("content", [b"{", b"{'a': 1}", b"\xff\xfe", b"{}{}", b'"\\ud8"'])
def test_a_body_that_is_not_json_is_malformed(api: Api, content: bytes) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", content=content, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["type"] in ("/problems/malformed-json", "/problems/malformed-request")


@pytest.mark.parametrize(
    "content",
    [b"[]", b"7", b'"x"', b"true", b"[[1]]"],
)
def test_a_body_that_is_not_an_object_is_invalid(api: Api, content: bytes) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", content=content, headers=JSON)
    assert_problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    "content",
    [
        b'{"title": "\\u0000", "template": {}, "owner": {}, "workspace": 1}',
        b'{"title": "\\ud800", "template": {}, "owner": {}, "workspace": 1}',
        b'{"title": "x", "template": {}, "owner": {}, "workspace": NaN}',
        b'{"title": "x", "template": {}, "owner": {}, "workspace": 1e400}',
        b'{"title": "x", "template": {}, "owner": {}, "workspace": ' + b"9" * 4000 + b"}",
        b'{"title": "x", "template": {}, "owner": {}, "workspace": ' + b"9" * 5000 + b"}",
        b'{"title": "x", "template": {}, "owner": {}, "workspace": 1, "plan": '
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}",
        b'{"title": "x", "template": {}, "owner": {"email": "\\u0000"}, "workspace": 1}',
    ],
)
def test_text_that_postgres_cannot_store_is_refused_with_422(api: Api, content: bytes) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", content=content, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 0


def test_a_body_of_another_media_type_is_refused_with_415(api: Api) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", data={"title": "x"})
    assert_problem(answer, 415, "not-json")


def test_a_body_over_a_mebibyte_is_too_large(api: Api) -> None:
    answer = api.post("/publish-commands", content=b" " * (MAX_BODY + 1), headers=JSON)
    assert_problem(answer, 413, "body-too-large")


def test_a_body_without_a_content_length_is_limited_too(api: Api) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(2 * MAX_BODY // 4096):
            yield b" " * 4096

    answer = api.post("/publish-commands", content=endless(), headers=JSON)
    assert_problem(answer, 413, "body-too-large")


def test_a_body_of_just_a_mebibyte_is_read(api: Api) -> None:
    body = json.dumps({"commands": [{"video_id": api.video()}]}).encode()
    padded = body + b" " * (MAX_BODY - len(body))
    assert api.post("/publish-commands", content=padded, headers=JSON).status_code == 202


def test_a_thousand_commands_are_accepted_and_one_more_is_not(api: Api) -> None:
    with transaction(api.engine) as tx:
        commands = [{"video_id": each} for each in make_ready_videos(tx, 1000)]
    assert api.post("/publish-commands", json={"commands": commands}).status_code == 202
    answer = api.post("/publish-commands", json={"commands": [*commands, commands[0]]})
    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "/commands"
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 1000


NO_COMMANDS: list[dict[str, Any]] = [
    {},
    {"commands": []},
    {"commands": [{}]},
    {"command": []},
]


@pytest.mark.parametrize("body", NO_COMMANDS)
def test_a_bulk_without_commands_is_invalid(api: Api, body: Any) -> None:
    assert_problem(api.post("/publish-commands", json=body), 422, "invalid-request")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=done", "before=7"])
def test_an_invalid_query_is_named(api: Api, query: str) -> None:
    problem = assert_problem(api.get(f"/publish-commands?{query}"), 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == f"query {query.partition('=')[0]}"


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/videos/7/publish/", "If-Match", ""),
        ("/videos/7/publish/", "Idempotency-Key", ""),
        ("/events/stream", "Last-Event-ID", "x"),
    ],
)
def test_an_invalid_header_has_in_the_problem_the_name_that_the_document_has(
    api: Api, path: str, name: str, value: str
) -> None:
    call = api.get if path == "/events/stream" else api.post
    problem = assert_problem(call(path, headers={name.lower(): value}), 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == f"header {name}"
    assert name in {each["name"] for each in list_headers(api)}


def list_headers(api: Api) -> list[dict[str, Any]]:
    """Return the headers that the OpenAPI document describes."""
    paths = api.call("GET", "/openapi.json", None).json()["paths"]
    operations = [each for path in paths.values() for each in path.values()]
    parameters = [each for operation in operations for each in operation.get("parameters", [])]
    return [each for each in parameters if each["in"] == "header"]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_idempotency_key_that_is_none_is_refused(api: Api, key: str) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", headers={"Idempotency-Key": key})
    assert_problem(answer, 422, "invalid-request")


def test_of_many_unknown_videos_each_is_named_once(api: Api) -> None:
    commands = [{"video_id": 10**18 + n} for n in range(1000)]
    answer = api.post("/publish-commands", json={"commands": commands})
    assert len(answer.content) < 200_000
    assert answer.json()["errors"][17]["detail"] == f"There is no video {10**18 + 17}."


def test_a_body_with_invalid_text_is_not_a_server_error(api: Api) -> None:
    body = b'{"template": {"a": "\\ud800"}, "owner": {}, "title": "x", "workspace": 1}'
    headers = {**JSON, "Idempotency-Key": "k"}
    answer = api.post(f"/videos/{api.video()}/publish/", content=body, headers=headers)
    assert answer.status_code < 500


def test_a_read_only_database_answers_503(api: Api) -> None:
    path = f"/videos/{api.video()}/publish/"
    name = api.value("SELECT current_database()")
    assert api.get("/publish-commands").status_code == 200
    api.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    api.end_other_sessions()
    api.engine.dispose()
    assert_problem(api.post(path), 503, "database-away")


def test_an_unreachable_database_answers_503(redis: Redis, redis_url: str) -> None:
    nowhere = connect("postgresql://nobody@127.0.0.1:1/nothing")
    with serving(nowhere, redis, redis_url) as api:
        answer = api.get("/videos/7/", "pw_any")
        assert_problem(answer, 503, "database-away")
        assert answer.headers["Retry-After"] == "5"
        assert "127.0.0.1" not in answer.text


def test_an_internal_error_shows_only_its_correlation_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: Any) -> None:
        raise RuntimeError("SELECT secret")

    monkeypatch.setattr("worker.api.routes.videos.read_video", buggy)
    answer = api.get(f"/videos/{api.video()}/")
    assert_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text


def test_health_answers_without_any_engine(redis: Redis, redis_url: str) -> None:
    nowhere: Engine = connect("postgresql://nobody@127.0.0.1:1/nothing")
    with serving(nowhere, redis, redis_url) as api:
        assert api.call("GET", "/healthz", None).json() == {"status": "ok"}


def test_readiness_names_the_worker_when_there_is_none(api: Api) -> None:
    answer = api.call("GET", "/readyz", None)
    assert answer.status_code == 503
    checks = {check["name"]: check["ok"] for check in answer.json()["checks"]}
    assert checks == {
        "database": True,
        "redis": True,
        "broker": True,
        "worker": False,
        "queues": False,
        "beat": False,
        "schedule": True,  # no canary has flown yet
        "inbox": True,
        "stream": True,
    }
