"""The audit log over HTTP: each route that changes something, refusals, and who sees what."""

from typing import Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from tests.support.api import Api
from worker.api import audit
from worker.api.application import create_app
from worker.api.audit import find_action

NOT_AUDITED = {
    "/videos/{video_id}/publish/",
    "/videos/{video_id}/unpublish/",
    "/publish-commands",
}
"""Commands name their key in `requested_by`."""
REPORTS = {"/videos/{video_id}/generation"}
"""The pipeline's reports change no command."""
SESSIONS = {
    "/console/sign-in",
    "/console/sign-out",
    "/console/sign-in/oidc/back-channel-logout",
}
"""They record the session themselves."""
URL = "https://1.1.1.1/hooks"


def entries(api: Api, key: str = "admin", query: str = "") -> list[dict[str, Any]]:
    """The entries that a key sees, the oldest first, without the keys that the tests make."""
    answer = api.get(f"/audit-log{query}", key)
    assert answer.status_code == 200, answer.text
    found = answer.json()["entries"][::-1]
    return [entry for entry in found if entry["action"] != "api_key.create"]


def scheduled(api: Api) -> str:
    """The path of a command that can be changed."""
    body = {"publish_at": "2100-01-01T00:00:00Z"}
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    assert answer.status_code == 202, answer.text
    return f"/publish-commands/{answer.json()['id']}"


def test_every_route_that_changes_something_is_audited_or_known() -> None:
    """So that a new route cannot be forgotten."""
    found = {
        (route.path.rstrip("/"), method)
        for context in iter_route_contexts(create_app().routes)
        for route in [context.original_route]
        if isinstance(route, APIRoute) and find_action(route.dependant) is None
        for method in route.methods or ()
        if method in ("POST", "PATCH", "PUT", "DELETE")
    }
    assert found == {(path.rstrip("/"), "POST") for path in NOT_AUDITED | REPORTS | SESSIONS}


def test_changes_of_commands_are_recorded(api: Api) -> None:
    path = scheduled(api)
    later = {"publish_at": "2100-01-02T00:00:00Z"}
    assert api.call("PATCH", f"/api/v1{path}", json=later).status_code == 200
    assert api.call("DELETE", f"/api/v1{path}").status_code == 200
    failed = scheduled(api)
    api.execute(
        "UPDATE publisher.publish_command SET state = 'failed', finished_at = now()"
        " WHERE finished_at IS NULL"
    )
    assert api.post(f"{failed}/retry").status_code == 200
    assert api.post("/publish-commands/retry", json={}).status_code == 200
    found = entries(api)
    assert [entry["action"] for entry in found] == [
        "command.reschedule",
        "command.cancel",
        "command.retry",
        "command.retry_all",
    ]
    assert [entry["subject_id"] for entry in found[:3]] == [
        path.rpartition("/")[2],
        path.rpartition("/")[2],
        failed.rpartition("/")[2],
    ]
    assert found[0]["details"]["due_at"].startswith("2100-01-02")
    assert found[0]["details"]["before"].startswith("2100-01-01")
    assert {(entry["actor_name"], entry["door"], entry["outcome"]) for entry in found} == {
        ("publish", "api", "ok")
    }


def test_changes_of_webhook_endpoints_are_recorded_without_secrets(api: Api) -> None:
    created = api.post("/webhook-endpoints", "admin", json={"url": f"{URL}?token=hidden"}).json()
    path = f"/webhook-endpoints/{created['id']}"
    api.call("PATCH", f"/api/v1{path}", "admin", json={"description": "Search"})
    rotated = api.post(f"{path}/rotate-secret", "admin").json()
    api.post(f"{path}/replay", "admin", json={"failed": True})
    api.call("DELETE", f"/api/v1{path}", "admin")
    found = entries(api)
    assert [entry["action"] for entry in found] == [
        f"webhook_endpoint.{each}" for each in ("create", "update", "rotate", "replay", "delete")
    ]
    assert {entry["subject_id"] for entry in found} == {created["id"]}
    assert found[1]["details"]["fields"] == ["description"]
    for secret in ("hidden", created["secret"], rotated["secret"], api.secret("admin")):
        assert secret not in str(found)


def test_refused_requests_are_recorded_with_the_problem(api: Api) -> None:
    path = scheduled(api)
    api.call("DELETE", f"/api/v1{path}", "read", headers={"X-Correlation-ID": "job-1"})
    api.call("DELETE", f"/api/v1{path}", "elsewhere")
    api.post(f"{path}/retry")
    api.post("/webhook-endpoints", "admin", json={"url": "https://10.0.0.1/"})
    assert [(entry["action"], entry["problem"]) for entry in entries(api)] == [
        ("command.cancel", "scope-too-low"),
        ("command.retry", "command-not-failed"),
        ("webhook_endpoint.create", "invalid-request"),
    ]
    first = entries(api)[0]
    assert (first["outcome"], first["actor_name"]) == ("refused", "read")
    assert first["correlation_id"] == "job-1"
    assert first["subject_id"] == path.rpartition("/")[2]
    assert [entry["problem"] for entry in entries(api, "elsewhere")] == ["no-such-command"]


def test_a_request_that_cannot_be_read_is_not_recorded(api: Api) -> None:
    path = f"/api/v1{scheduled(api)}"
    for body in ('{"publish_at": "soon"}', "{", "[]"):
        headers = {"Content-Type": "application/json"}
        assert api.call("PATCH", path, content=body, headers=headers).status_code in (400, 422)
    assert api.call("DELETE", path, key="pw_unknown").status_code == 401
    assert entries(api) == []


def test_refusals_of_a_key_are_recorded_at_a_limited_rate(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PER_MINUTE", 2)
    path = scheduled(api)
    for _ in range(4):
        assert api.post(f"{path}/retry").status_code == 409
    assert len(entries(api)) == 2


def test_a_command_names_the_key_that_asked_for_it(api: Api) -> None:
    path = scheduled(api)
    command = api.get(path).json()
    [(key_id,)] = api.rows("SELECT id FROM publisher.api_key WHERE name = 'publish'")
    assert command["requested_by"] == str(key_id)
    at_once = api.post(f"/videos/{api.video()}/publish/").json()
    bulk = api.post("/publish-commands", json={"commands": [{"video_id": api.video()}]}).json()
    for each in (at_once, *bulk["commands"]):
        assert each["requested_by"] == str(key_id)
    assert entries(api) == []


def test_a_key_sees_the_entries_of_its_workspace(api: Api) -> None:
    api.call("DELETE", f"/api/v1{scheduled(api)}")
    assert len(entries(api, "admin")) == len(entries(api, "everywhere")) == 1
    assert entries(api, "elsewhere") == entries(api, "admin", "?workspace_id=2") == []
    assert api.get("/audit-log", "publish").json()["type"] == "/problems/scope-too-low"


def test_pages_and_filters(api: Api) -> None:
    path = scheduled(api)
    api.post(f"{path}/retry")
    api.call("DELETE", f"/api/v1{path}")
    answer = api.get("/audit-log?limit=1&subject=command", "admin").json()
    assert [entry["action"] for entry in answer["entries"]] == ["command.cancel"]
    following = api.get(answer["next"].partition("/api/v1")[2], "admin").json()
    assert [entry["outcome"] for entry in following["entries"]] == ["refused"]
    assert following["next"] is None
    for query, count in {"outcome=ok": 1, "actor=system": 0, "action=command.retry": 1}.items():
        assert len(entries(api, query=f"?{query}")) == count
