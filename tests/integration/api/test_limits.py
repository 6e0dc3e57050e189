"""The limits of a request: refused with a problem before its body is validated."""

import json
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.api import Api
from tests.support.raw_http import connected, exchange
from tests.support.served import Served, served
from tests.support.waiting import PATIENCE, wait_until
from worker.api import http_protocol, request_limits
from worker.api.request_limits import MAX_BODY, MAX_HEAD, MAX_ITEMS, MAX_KEYS, MAX_VALUES

JSON = {"Content-Type": "application/json"}
VIDEO: dict[str, Any] = {"title": "x", "template": {}, "owner": {}, "workspace": 1}
POST = b"POST /api/v1/publish-commands HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture
def server(platform: Engine, redis_url: str) -> Generator[Served]:
    with served(platform, redis_url) as started:
        yield started


def authorized(api: Api) -> bytes:
    return f"Authorization: Bearer {api.secret('publish')}\r\n".encode()


def assert_refused(answer: Any, status: int, kind: str) -> dict[str, Any]:
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{kind}")
    assert len(answer.content) < 50_000
    return problem


# The head


@pytest.mark.parametrize(
    "headers",
    [
        {"Prefer": 'a="' * (MAX_HEAD // 3)},
        {f"X-{number}": "x" for number in range(101)},
        {"X" * MAX_HEAD: "x"},
        {"Authorization": "Bearer " + "x" * MAX_HEAD},
    ],
)
def test_too_many_or_too_large_headers_are_refused_with_431(api: Api, headers: Any) -> None:
    answer = api.call("GET", "/api/v1/events", None, headers=headers)
    assert_refused(answer, 431, "head-too-large")


@pytest.mark.parametrize(
    "path", ["/" + "x" * 9000, "/events?type=" + "x" * 9000, "/events?" + "a&" * 100]
)
def test_a_long_url_is_refused_with_414(api: Api, path: str) -> None:
    problem = assert_refused(api.get(path), 414, "uri-too-long")
    assert len(problem["instance"]) < 400


@pytest.mark.parametrize(
    "endless",
    [
        [b"GET / HTTP/1.1\r\n", *[b"X: " + b"y" * 1000 + b"\r\n"] * 2000],
        [b"GET / HTTP/1.1\r\nX: ", *[b"y" * 10_000] * 200],
        [b"GET / HTTP/1.1\r\n", *[b"y" * 10_000] * 200],
        [b"GET /", *[b"y" * 10_000] * 200],
        [b"GET / HTTP/1.1\r\n", *[b"X:\r\n" * 1000] * 500],
    ],
)
def test_a_head_without_end_is_refused_while_it_is_received(
    server: Served, endless: list[bytes]
) -> None:
    answer = exchange(server.url, endless)
    assert answer.status == 431
    assert answer.problem["type"] == "/problems/head-too-large"


@pytest.mark.parametrize("trailer", [b"X: y\r\n", b"X: ", b"z"])
def test_trailers_without_end_are_not_kept(
    api: Api, server: Served, monkeypatch: pytest.MonkeyPatch, trailer: bytes
) -> None:
    monkeypatch.setattr(request_limits, "BODY_SECONDS", 60.0)
    head = POST + authorized(api) + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"
    answer = exchange(server.url, head, (trailer * 5_000 for _ in range(1_000)))
    assert answer.status in (0, 400, 431)
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 0


def test_a_trailer_does_not_change_the_headers(api: Api, server: Served) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n"
    answer = exchange(server.url, head + authorized(api) + b"\r\n")
    assert answer.status == 401


@contextmanager
def stopped_in_the_end(stopped: threading.Event) -> Generator[None]:
    """End what would send for ever to a server that goes on reading."""
    timer = threading.Timer(PATIENCE, stopped.set)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_arrive_ends_the_connection(
    server: Served, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    status = 408 if begun else 0  # 0, too, if this machine pauses before the beginning is sent
    wait_until(lambda: exchange(server.url, begun).status == status, f"the status {status}")


def test_a_slow_head_has_one_time_limit_for_all_its_parts(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    stopped = threading.Event()

    def drip() -> Generator[bytes]:
        yield b"GET / HTTP/1.1\r\n"
        while not stopped.wait(0.05):
            yield b"X: y\r\n"

    with stopped_in_the_end(stopped):
        assert exchange(server.url, drip()).status in (0, 408)
        assert not stopped.is_set()


def test_requests_that_are_sent_ahead_without_end_are_refused(server: Served) -> None:
    ahead = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = exchange(server.url, [ahead * 5_000])
    assert answer.received.count(b"HTTP/1.1 200") < 5_000


def test_a_few_requests_that_are_sent_ahead_are_answered(server: Served) -> None:
    ahead = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = exchange(server.url, ahead * 9 + last)
    assert answer.received.count(b"HTTP/1.1 200") == 10


# The body


def test_a_body_that_does_not_arrive_is_refused_with_408(
    api: Api, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "BODY_SECONDS", 0.2)
    head = POST + authorized(api) + b"Content-Length: 100\r\n\r\n{"
    answer = exchange(server.url, head)
    assert answer.status == 408
    assert answer.problem["type"] == "/problems/request-timeout"
    assert b"connection: close" in answer.received.lower()


def test_without_a_key_no_body_is_waited_for(server: Served) -> None:
    with connected(server.url) as connection:
        connection.sendall(POST + b"Content-Length: 100\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


def test_a_body_that_no_route_reads_ends_the_connection_in_time(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    stopped = threading.Event()

    def drip() -> Generator[bytes]:
        yield b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n"
        while not stopped.wait(0.05):
            yield b"x"

    with stopped_in_the_end(stopped):
        wait_until(lambda: exchange(server.url, drip()).status == 200, "the head to be in time")
        assert not stopped.is_set()


def test_half_a_body_is_not_a_request(api: Api, server: Served) -> None:
    """A client that breaks off must not publish the video as it is."""
    path = f"/api/v1/videos/{api.video()}/publish/".encode()
    head = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n" + authorized(api)
    with connected(server.url) as connection:
        connection.sendall(head + b"Content-Length: 2\r\n\r\n{")
    assert exchange(server.url, b"GET /healthz HTTP/1.0\r\n\r\n").status == 200
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 0


def test_an_expected_continue_is_answered_only_after_the_key(api: Api, server: Served) -> None:
    expect = b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with connected(server.url) as connection:
        connection.sendall(POST + expect)
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    with connected(server.url) as connection:
        connection.sendall(POST + authorized(api) + expect)
        assert connection.recv(100).startswith(b"HTTP/1.1 100")


# What the body contains


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({**VIDEO, **{f"k{n}": 1 for n in range(80_000)}}, "too_many_keys", ""),
        ({**VIDEO, "plan": {f"k{n}": 1 for n in range(MAX_KEYS + 1)}}, "too_many_keys", "/plan"),
        ({**VIDEO, "plan": [0] * (MAX_ITEMS + 1)}, "too_many_items", "/plan"),
        ({**VIDEO, "tags": ["x"] * (MAX_ITEMS + 1)}, "too_many_items", "/tags"),
        ({**VIDEO, "plan": [[0] * 100] * (MAX_VALUES // 100)}, "too_many_values", "/plan"),
        ({**VIDEO, "plan": json.loads("[" * 60 + "]" * 60)}, "too_deep", "/plan/0"),
    ],
)
def test_a_body_with_too_much_is_refused_before_validation(
    api: Api, body: Any, code: str, pointer: str
) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    [error] = assert_refused(answer, 422, "invalid-request")["errors"]
    assert error["code"] == code
    assert error["pointer"].startswith(pointer)


def test_a_thousand_commands_with_all_fields_are_not_too_much(api: Api) -> None:
    fields = {"description": "d", "visibility": "team", "tags": list(range(1, 10)), "category": 1}
    owner = {"id": 1, "email": "a", "full_name": "a", "username": "a", "is_verified": True}
    video = {**VIDEO, **fields, "owner": owner, "template": {"id": 1}}
    body = {"commands": [{"video_id": 10**9 + n, "video": video} for n in range(1000)]}
    answer = api.post("/publish-commands", json=body)
    assert answer.json()["errors"][0]["code"] != "too_many_values"


def test_errors_that_are_too_many_are_counted_and_not_listed(api: Api) -> None:
    command = {"video_id": 1, **{f"k{n}": 1 for n in range(40)}}
    answer = api.post("/publish-commands", json={"commands": [command] * 1000})
    [error] = assert_refused(answer, 422, "invalid-request")["errors"]
    assert (error["pointer"], error["code"]) == ("", "too_many_errors")
    assert "40000 errors" in error["detail"]


@pytest.mark.parametrize("path", ["/videos/1/publish/", "/webhook-endpoints"])
def test_the_first_wrong_element_of_a_list_is_its_only_error(api: Api, path: str) -> None:
    field = "tags" if "publish" in path else "event_types"
    body = {"url": "https://example.com", field: ["x"] * MAX_ITEMS}
    answer = api.post(path, "admin", json=body)
    errors = assert_refused(answer, 422, "invalid-request")["errors"]
    assert [e["pointer"] for e in errors if e["pointer"].startswith(f"/{field}")] == [f"/{field}/0"]


def test_a_hundred_errors_are_listed_and_the_others_counted(api: Api) -> None:
    body = {"commands": [{"video": 1}] * 600}
    problem = assert_refused(api.post("/publish-commands", json=body), 422, "invalid-request")
    assert len(problem["errors"]) == 100
    assert problem["errors"][1]["pointer"] == "/commands/0/video"
    assert problem["detail"].endswith("and 1190 more.")


@pytest.mark.parametrize(
    "body",
    [
        {**VIDEO, "k" * 900_000: 1},
        {**VIDEO, "time_zone": "z" * 900_000},
        {**VIDEO, "cover_image": "u" * 900_000},
        {**VIDEO, "visibility": "v" * 900_000},
        {**VIDEO, "plan": {"k" * 900_000: [[0] * 11_000]}},
    ],
)
def test_no_error_repeats_a_megabyte_of_input(api: Api, body: Any) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    assert len(assert_refused(answer, 422, "invalid-request")["detail"]) < 1000


def test_a_byte_order_mark_before_the_body_is_ignored(api: Api) -> None:
    path, bom = f"/videos/{api.video()}/publish/", b"\xef\xbb\xbf"
    body = bom + json.dumps({"publish_at": "2099-01-01T00:00:00Z"}).encode()
    answer = api.post(path, content=body, headers=JSON)
    assert answer.json()["publish_at"] == "2099-01-01T00:00:00Z"
    assert api.post(path, content=bom, headers=JSON).status_code == 202
    assert api.post(path, content=bom + bom + b"{}", headers=JSON).status_code == 400


def test_bodies_are_limited_however_they_are_sent(api: Api, server: Served) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head = POST + authorized(api) + b"Transfer-Encoding: chunked\r\n\r\n"
    assert exchange(server.url, head, [chunk] * (2 * MAX_BODY // 65536)).status in (413, 0)
    long = POST + authorized(api) + b"Content-Length: 9999999999\r\n\r\n"
    assert exchange(server.url, long).status == 413


# Upgrades


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_an_upgrade_is_ignored_and_the_connection_stays_usable(
    api: Api, server: Served, protocol: bytes
) -> None:
    path = f"/api/v1/videos/{api.video()}/publish/".encode()
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\nSec-WebSocket-Version: 13\r\n"
    first = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + authorized(api)
    second = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = exchange(server.url, first + upgrade + b"\r\n", second)
    assert answer.status == 202
    assert answer.received.count(b"HTTP/1.1 200") == 1


def test_many_idle_connections_do_not_disturb(server: Served) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connected(server.url)).sendall(b"POST / HTTP/1.1\r\n")
        assert exchange(server.url, b"GET /healthz HTTP/1.0\r\n\r\n").status == 200
