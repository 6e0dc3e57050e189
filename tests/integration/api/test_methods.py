"""Methods: HEAD wherever GET, and `Allow` names the methods of the address."""

from collections.abc import Generator

import pytest
from sqlalchemy import Engine

from schemas.values.caller import Scope
from tests.support.api import Api
from tests.support.raw_http import exchange
from tests.support.served import Served, served
from worker.operations.api_keys import create_key

COMMAND = "/api/v1/publish-commands/019f0000-0000-7000-8000-000000000000"


@pytest.fixture
def server(platform: Engine, redis_url: str) -> Generator[Served]:
    with served(platform, redis_url) as started:
        yield started


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/readyz",
        "/docs",
        "/openapi.json",
        "/asyncapi.json",
        "/v/no-such-video",
        "/nonsense",
        "/api/v1/events",
        "/api/v1/events/",
        "/api/v1/publish-commands?order=due",
        "/api/v1/publish-commands/causes",
        COMMAND,
        "/api/v1/punctuality",
        "/api/v1/schemas/video.published/1",
        "/api/v1/videos",
        "/api/v1/videos/{video}/",
        "/api/v1/videos/{video}/story",
        "/api/v1/videos/{video}/publish",
        "/api/v1/webhook-endpoints",
    ],
)
def test_head_is_answered_like_get_without_the_body(api: Api, path: str) -> None:
    path = path.format(video=api.video())
    head = api.call("HEAD", path, follow_redirects=False)
    get = api.call("GET", path, follow_redirects=False)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert head.headers.get("ETag") == get.headers.get("ETag")
    assert head.headers["X-Correlation-ID"]


def test_head_of_the_stream_ends_after_the_headers(platform: Engine, server: Served) -> None:
    key = create_key(platform, name="page", scope=Scope.EVENTS, workspace_id=1)
    head = f"HEAD /api/v1/events/stream?access_token={key} HTTP/1.1\r\nHost: a\r\n\r\n"
    after = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = exchange(server.url, (head + after).encode())
    assert answer.status == 200
    assert b"text/event-stream" in answer.received
    assert answer.received.endswith(b'{"status":"ok"}')
    assert server.live_readers == 0


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/healthz", "GET, HEAD"),
        ("POST", "/api/v1/events/stream", "GET, HEAD"),
        ("PUT", "/api/v1/publish-commands", "GET, HEAD, POST"),
        ("PUT", "/api/v1/publish-commands/", "GET, HEAD, POST"),
        ("POST", COMMAND, "DELETE, GET, HEAD, PATCH"),
        ("GET", f"{COMMAND}/retry", "POST"),
        ("HEAD", "/api/v1/videos/7/unpublish/", "POST"),
        ("PATCH", "/api/v1/videos/7/publish/", "GET, HEAD, POST"),
        ("DELETE", "/api/v1/videos/7/publish", "GET, HEAD, POST"),
        ("BREW", "/api/v1/videos/7/", "GET, HEAD"),
        ("POST", "/v/x", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(
    api: Api, method: str, path: str, allowed: str
) -> None:
    answer = api.call(method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed
