"""The hot route answers as FastAPI's handler of the same route does, whatever it is sent."""

import json
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import Api
from worker.api import direct_publish

VARYING = ("id", "url", "accepted_at", "due_at", "correlation_id", "instance")
"""What differs between any two requests."""
EMPTY: dict[str, Any] = {}


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


BODIES = st.one_of(
    st.just(b""),
    st.sampled_from(
        [b"{}", b"null", b"[]", b"7", b"{", b'{"a": NaN}', b"\xef\xbb\xbf{}", b'"\\ud800"']
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "publish_at": st.sampled_from(["2100-01-01T00:00Z", "2001-01-01T00:00Z", "soon", None]),
            "unpublish_at": st.sampled_from(["2101-01-01T00:00Z", "2001-01-01T00:00Z"]),
            "publish_at_local": st.just("2100-01-01T00:00"),
            "time_zone": st.sampled_from(["Europe/Berlin", "Nowhere"]),
            "publish_before": st.just("2102-01-01T00:00Z"),
            "expected_revision": st.sampled_from([0, 1, 2.0, "0", -1]),
            "expected_etag": st.sampled_from(["x", "", None]),
            "title": st.sampled_from(["Light", "", 7]),
            "owner": st.just(EMPTY),
            "workspace": st.sampled_from([1, 2]),
            "template": st.just(EMPTY),
            "tags": st.sampled_from([[1], [77], [1, 1]]),
            "misspelt": st.just(1),
        },
    ).map(_encode),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "application/json; charset=utf-8",
                "text/plain",
                "application/x+json",
            ]
        ),
        "Idempotency-Key": st.sampled_from(["", "k" * 256, "\x07"]),
        "If-Match": st.sampled_from(['"x"', "", "*", "x" * 256]),
        "Prefer": st.sampled_from(["respond-async", "wait=0", "x"]),
        "X-Correlation-Id": st.sampled_from(["job-1", "ü", "x" * 200]),
        "traceparent": st.sampled_from(["00-" + "1" * 32 + "-" + "1" * 16 + "-01", "00-0"]),
        "Origin": st.just("https://example.org"),
    },
)
KEYS = st.sampled_from(["publish", "read", "events", "elsewhere", "pw_unknown", "pw a", None])
TARGETS = st.sampled_from(["{}/publish/", "{}/publish", "0/publish/", "007/publish/", "x/publish/"])


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=BODIES, headers=HEADERS, key=KEYS, target=TARGETS)
def test_both_ways_give_the_same_answer(
    api: Api, body: bytes, headers: dict[str, str], key: str | None, target: str
) -> None:
    path = "/videos/" + target.format(_video(api))
    sent = {name: value.encode() for name, value in headers.items()}
    direct = api.post(path, key, content=body, headers=sent)
    with patch.object(direct_publish, "_waits_by_default", return_value=True):
        framework = api.post(path, key, content=body, headers=sent)
    assert _comparable(direct) == _comparable(framework)


def test_ordinary_requests_do_not_reach_the_framework(api: Api) -> None:
    path = f"/videos/{_video(api)}/publish/"
    with patch("fastapi.FastAPI.__call__", side_effect=AssertionError("the framework was called")):
        assert api.post(path).status_code == 202
        assert api.post(path, json={"publish_at": "2100-01-01T00:00Z"}).status_code == 202
        replayed = [api.post(path, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert api.post("/videos/999999/publish/").status_code == 404
        assert api.post(path, None).status_code == 401
    assert [each.headers.get("Idempotency-Replayed") for each in replayed] == [None, "true"]
    assert replayed[0].json() == replayed[1].json()


def _video(api: Api) -> int:
    """A video that has not failed, with room for commands."""
    return api.video(status="in_progress")


def _comparable(answer: Any) -> tuple[Any, ...]:
    headers = {
        name: value
        for name, value in answer.headers.multi_items()
        if name not in ("location", "content-length")
        and (name != "x-correlation-id" or value == "job-1")
    }
    return answer.status_code, list(answer.headers), headers, _without_varying(answer.json())


def _without_varying(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    return {  # pyright: ignore[reportUnknownVariableType]
        name: "varies" if name in VARYING or (name == "counterpart" and value) else value
        for name, value in document.items()  # pyright: ignore[reportUnknownVariableType]
    }
