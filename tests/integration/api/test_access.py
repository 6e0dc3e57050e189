"""Access: no route but health, documents and addresses works without a key; a key sees its own."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from db.events.outbox import append
from db.session import transaction
from publish_worker_client.events.data import EndpointDisabled
from publish_worker_client.events.names import EventType
from schemas.values.decision import NewEvent
from tests.support.api import Api
from tests.support.waiting import wait_until
from worker.operations.api_keys import list_keys, revoke_key

NOBODYS = "019f0000-0000-7000-8000-000000000000"

ROUTES = [
    ("POST", "/videos/{video}/publish/"),
    ("GET", "/videos/{video}/publish/"),
    ("GET", "/videos/{video}/"),
    ("POST", "/publish-commands"),
    ("GET", "/publish-commands"),
    ("GET", f"/publish-commands/{NOBODYS}"),
    ("PATCH", f"/publish-commands/{NOBODYS}"),
    ("DELETE", f"/publish-commands/{NOBODYS}"),
    ("POST", f"/publish-commands/{NOBODYS}/retry"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("key", [None, "nonsense"])
def test_without_a_key_nothing_works(api: Api, method: str, path: str, key: str | None) -> None:
    answer = api.call(method, "/api/v1" + path.format(video=api.video()), key)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "bearer  ", "Token x"])
def test_another_kind_of_credentials_is_none(api: Api, header: str) -> None:
    answer = api.get(f"/videos/{api.video()}/", None, headers={"Authorization": header})
    assert answer.status_code == 401


def test_a_revoked_key_is_refused(api: Api) -> None:
    path = f"/videos/{api.video()}/"
    assert api.get(path, "read").status_code == 200
    [key] = [key for key in list_keys(api.engine) if key.name == "read"]
    revoke_key(api.engine, key.id)
    wait_until(lambda: api.get(path, "read").status_code == 401, "the key to be refused")
    assert [api.get(path, "read").status_code for _ in range(20)] == [401] * 20
    assert api.get(path, "publish").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in ROUTES if method != "GET"]
)
def test_a_key_that_may_only_read_changes_nothing(api: Api, method: str, path: str) -> None:
    body = {"publish_before": "2100-01-01T00:00:00Z"} if method == "PATCH" else None
    if path == "/publish-commands":
        body = {"commands": [{"video_id": 1}]}  # pyright: ignore[reportAssignmentType]
    answer = api.call(method, "/api/v1" + path.format(video=api.video()), "read", json=body)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *ROUTES,
        ("GET", "/publish-commands/causes"),
        ("GET", "/videos"),
        ("GET", "/videos/{video}/story"),
        ("GET", "/punctuality"),
        ("GET", "/webhook-endpoints"),
        ("POST", "/webhook-endpoints"),
        ("GET", f"/webhook-endpoints/{NOBODYS}"),
        ("GET", f"/webhook-endpoints/{NOBODYS}/deliveries"),
        ("POST", "/videos/{video}/generation"),
    ],
)
def test_a_key_for_events_reads_nothing_else(api: Api, method: str, path: str) -> None:
    answer = api.call(method, "/api/v1" + path.format(video=api.video()), "events")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/scope-too-low")
    assert "'events'" in answer.json()["detail"]


def test_a_key_for_events_reads_the_feed_without_webhook_urls(api: Api) -> None:
    api.publish(api.video())
    record_disabled_endpoint(api)
    seen = {key: [e["type"] for e in api.get("/events", key).json()] for key in ("events", "read")}
    assert seen["events"] == ["video.published"]
    assert seen["read"] == ["video.published", "webhook.endpoint_disabled"]
    asked = api.get("/events?type=webhook.endpoint_disabled", "events")
    assert (asked.status_code, asked.json()["type"]) == (403, "/problems/scope-too-low")
    assert api.get("/events?type=video.published", "events").json() != []


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in ROUTES if "{video}" in path]
)
def test_videos_of_another_workspace_do_not_exist(api: Api, method: str, path: str) -> None:
    answer = api.call(method, "/api/v1" + path.format(video=api.video()), "elsewhere")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/no-such-video"


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/retry")]
)
def test_a_command_of_another_workspace_does_not_exist(api: Api, method: str, suffix: str) -> None:
    command = api.post(f"/videos/{api.video()}/publish/").json()["id"]
    body = {"publish_before": "2100-01-01T00:00:00Z"} if method == "PATCH" else None
    path = f"/api/v1/publish-commands/{command}{suffix}"
    assert api.call(method, path, "elsewhere", json=body).status_code == 404
    assert api.get(f"/publish-commands/{command}").json()["state"] == "scheduled"


def test_a_list_shows_only_the_callers_workspace(api: Api) -> None:
    api.post(f"/videos/{api.video()}/publish/")
    api.post(f"/videos/{api.video(workspace_id=2)}/publish/", "elsewhere")
    seen = {
        key: [c["workspace_id"] for c in api.get("/publish-commands", key).json()["commands"]]
        for key in ("publish", "elsewhere", "everywhere")
    }
    assert seen == {"publish": [1], "elsewhere": [2], "everywhere": [2, 1]}


def test_the_same_idempotency_key_of_two_callers_is_two_keys(api: Api) -> None:
    video, headers = api.video(), {"Idempotency-Key": "once"}
    first = api.post(f"/videos/{video}/publish/", headers=headers)
    second = api.post(f"/videos/{video}/publish/", "everywhere", headers=headers)
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/openapi.json", "/docs", "/api/v1/schemas/video.published/1"],
)
def test_health_and_documents_need_no_key(api: Api, path: str) -> None:
    assert api.call("GET", path, None).status_code == 200


def test_no_answer_repeats_a_key(api: Api) -> None:
    answer: Any = api.get("/videos/7/", "pw_secret_that_is_wrong")
    assert "pw_secret" not in answer.text


def record_disabled_endpoint(api: Api) -> None:
    endpoint_id, now = UUID(NOBODYS), datetime.now(UTC)
    data = EndpointDisabled(
        endpoint_id=endpoint_id,
        workspace_id=1,
        url="https://hooks.example.com/secret",
        reason="gone",
        detail="It answered 410.",
        disabled_at=now,
    )
    event = NewEvent(
        id=str(endpoint_id),
        type=EventType.ENDPOINT_DISABLED,
        video_id=None,
        subject=str(endpoint_id),
        workspace_id=1,
        occurred_at=now,
        revision=None,
        command_id=None,
        correlation_id=str(endpoint_id),
        traceparent=None,
        data=data,
    )
    with transaction(api.engine) as tx:
        append(tx, [event])
