"""`--json`: every command that prints results has it, and its documents are the API's."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from schemas.inbox import Retried
from schemas.webhook import Replayed, WebhookEndpointWithSecret
from tests.support.api import Api, serving
from tests.support.command_line import Run, find_commands
from tests.support.pipeline import BASE_URL, Pipeline

PRINTS_NO_RESULTS = {("demo",), ("env",), ("migrate",), ("up",)}
"""`env` prints for a shell."""
LATER = "2100-01-01T00:00:00Z"


@pytest.fixture
def api(here: Pipeline, redis: Redis, redis_url: str) -> Iterator[Api]:
    with serving(here.engine, redis, redis_url) as served:
        yield served


def test_every_command_that_prints_results_has_json() -> None:
    without = {
        words
        for words, command in find_commands().items()
        if not hasattr(command, "commands")
        if not any("--json" in option.opts for option in command.params)
    }
    assert without == PRINTS_NO_RESULTS


def drop_times(document: Any) -> Any:
    """Drop what is the time of the request."""
    if isinstance(document, dict):
        left_out = ("computed_at", "since")
        items = document.items()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return {name: drop_times(value) for name, value in items if name not in left_out}  # pyright: ignore[reportUnknownVariableType]
    return document


def test_documents_that_are_read_are_those_of_the_api(
    run: Run, here: Pipeline, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", BASE_URL)
    video = here.video()
    here.publish(video)
    here.publish(here.video(status="failed"))
    assert run("enqueue", str(here.video()), "--publish-at", LATER).code == 0
    here.execute(
        "UPDATE publisher.publish_command SET state = 'failed', detail = 'Error: no'"
        " WHERE state = 'rejected'"
    )
    assert run("webhooks", "create", "--workspace", "1", "--url", "https://1.1.1.1/").code == 0
    endpoint = str(here.value("SELECT id FROM publisher.webhook_endpoint"))
    here.execute(
        "INSERT INTO publisher.webhook_delivery"
        " (id, endpoint_id, position, event_id, event_type, video_id, state, finished_at)"
        " VALUES (%s, %s, 1, gen_random_uuid(), 'video.published', 1, 'failed', now())",
        uuid4(),
        endpoint,
    )
    delivery = str(here.value("SELECT id FROM publisher.webhook_delivery"))
    command = str(here.value("SELECT id FROM publisher.publish_command LIMIT 1"))
    api.get("/audit-log", "everywhere")  # makes the key
    same = {
        f"commands show {command}": f"/publish-commands/{command}",
        "commands list": "/publish-commands commands",
        "commands list --by-due --limit 2": "/publish-commands?order=due&limit=2 commands",
        "commands list --state failed": "/publish-commands?state=failed commands",
        "commands causes": "/publish-commands/causes causes",
        f"plan {video}": f"/videos/{video}/publish/",
        "videos list": "/videos videos",
        "videos list --state scheduled": "/videos?state=scheduled videos",
        "videos list --title i --workspace 1": "/videos?title=i&workspace_id=1 videos",
        f"videos show {video}": f"/videos/{video}/",
        f"videos story {video}": f"/videos/{video}/story",
        "punctuality": "/punctuality",
        "audit": "/audit-log entries",
        "webhooks list": "/webhook-endpoints endpoints",
        f"webhooks show {endpoint}": f"/webhook-endpoints/{endpoint}",
        f"webhooks deliveries {endpoint}": f"/webhook-endpoints/{endpoint}/deliveries deliveries",
        f"webhooks deliveries {endpoint} {delivery}": (
            f"/webhook-endpoints/{endpoint}/deliveries/{delivery}"
        ),
    }
    for words, where in same.items():
        path, _, members = where.partition(" ")
        answer = api.get(path, "everywhere").json()
        expected = answer[members] if members else [answer]
        printed = [json.loads(line) for line in run(*words.split(), "--json").out.splitlines()]
        assert printed, words
        assert list(map(drop_times, printed)) == list(map(drop_times, expected)), words


def test_documents_of_changes_are_those_of_the_api(
    run: Run, here: Pipeline, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", BASE_URL)

    def change(*words: str) -> dict[str, Any]:
        done = run(*words, "--json")
        assert done.code == 0, done.err
        [line] = done.out.splitlines()
        return json.loads(line)

    def check_command(*words: str) -> dict[str, Any]:
        document = change(*words)
        shown = api.get(f"/publish-commands/{document['id']}", "everywhere").json()
        assert document == {**shown, "is_due": document["is_due"]}, words
        return document

    command = check_command("enqueue", str(here.video()), "--publish-at", LATER)["id"]
    check_command("unpublish", str(here.video()), "--unpublish-at", LATER)
    check_command("commands", "reschedule", command, "--publish-at", "2090-01-01T00:00:00Z")
    check_command("commands", "cancel", command)
    here.execute("UPDATE publisher.publish_command SET state = 'failed', finished_at = now()")
    check_command("commands", "retry", command)
    assert change("commands", "retry", "--all").keys() == Retried.model_fields.keys()
    created = change("webhooks", "create", "--workspace", "1", "--url", "https://1.1.1.1/")
    assert created.keys() == WebhookEndpointWithSecret.model_fields.keys()
    endpoint = created["id"]
    updated = change("webhooks", "update", endpoint, "--description", "Search")
    assert updated == api.get(f"/webhook-endpoints/{endpoint}", "everywhere").json()
    assert change("webhooks", "rotate", endpoint).keys() == created.keys()
    replayed = change("webhooks", "replay", endpoint, "--failed")
    assert replayed.keys() == Replayed.model_fields.keys()
    assert change("webhooks", "delete", endpoint) == {"id": endpoint}
    key = change("keys", "create", "--workspace", "1", "--scope", "read", "--name", "ci")
    [listed] = [
        each
        for each in map(json.loads, run("keys", "list", "--json").out.splitlines())
        if each["id"] == key["id"]
    ]
    assert key == {**listed, "secret": key["secret"]}
    revoked = change("keys", "revoke", key["id"])
    assert revoked == {**listed, "revoked_at": revoked["revoked_at"]}
    assert change("events", "rebuild") == {
        "events": here.value("SELECT max(position) FROM publisher.outbox_event")
    }
    assert change("events", "dead", "redrive", "--group", "search", "--all") == {"events": 0}
    assert run("commands", "recompute", "--json").out == ""


def test_the_status_has_the_fields_of_readyz(run: Run, here: Pipeline, api: Api) -> None:
    assert here
    seen = json.loads(run("status", "--json").out)
    ready = api.call("GET", "/readyz").json()
    assert seen["ready"] is ready["ready"]
    assert [check["name"] for check in seen["checks"]] == [
        check["name"] for check in ready["checks"]
    ]
    assert {*seen["checks"][0]} == {*ready["checks"][0]}
