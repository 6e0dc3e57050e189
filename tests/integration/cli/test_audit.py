"""The audit log and the command line: what it records, and what `publish-worker audit` prints."""

import json
from typing import Any
from uuid import uuid4

from tests.support.command_line import Run
from tests.support.pipeline import Pipeline


def entries(run: Run) -> list[dict[str, Any]]:
    """All entries, the oldest first."""
    done = run("audit", "--json")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()][::-1]


def test_a_published_video_has_an_entry_with_the_operator(run: Run, here: Pipeline) -> None:
    video = here.video()
    assert run("enqueue", str(video)).code == 0
    [(command_id, requested_by)] = here.rows(
        "SELECT id, requested_by FROM publisher.publish_command"
    )
    [entry] = entries(run)
    assert (entry["action"], entry["subject_id"]) == ("command.create", str(command_id))
    assert entry["details"] == {"action": "publish", "video_id": video}
    assert (entry["actor"], entry["door"], requested_by) == ("operator", "cli", None)
    user, _, host = entry["actor_name"].partition("@")
    assert user
    assert host


def test_each_change_by_the_command_line_has_an_entry(run: Run, here: Pipeline) -> None:
    run("enqueue", str(here.video()), "--publish-at", "2100-01-01T00:00:00Z")
    command_id = str(here.value("SELECT id FROM publisher.publish_command"))
    run("commands", "reschedule", command_id, "--publish-at", "2100-01-02T00:00:00Z")
    run("commands", "cancel", command_id)
    run("commands", "retry", "--all")
    run("webhooks", "create", "--workspace", "1", "--url", "https://1.1.1.1/")
    endpoint_id = str(here.value("SELECT id FROM publisher.webhook_endpoint"))
    run("webhooks", "update", endpoint_id, "--description", "Search")
    run("webhooks", "rotate", endpoint_id)
    run("webhooks", "replay", endpoint_id, "--failed")
    run("webhooks", "delete", endpoint_id)
    run("keys", "create", "--workspace", "1", "--scope", "read", "--name", "ci")
    run("keys", "revoke", str(here.value("SELECT id FROM publisher.api_key")))
    run("events", "rebuild")
    run("events", "dead", "redrive", "--group", "search", "--all")
    assert [entry["action"] for entry in entries(run)] == [
        "command.create",
        "command.reschedule",
        "command.cancel",
        "command.retry_all",
        "webhook_endpoint.create",
        "webhook_endpoint.update",
        "webhook_endpoint.rotate",
        "webhook_endpoint.replay",
        "webhook_endpoint.delete",
        "api_key.create",
        "api_key.revoke",
        "stream.rebuild",
        "dead_letter.retry",
    ]
    assert {entry["outcome"] for entry in entries(run)} == {"ok"}


def test_a_refused_change_has_an_entry_with_the_problem(run: Run, here: Pipeline) -> None:
    unknown = str(uuid4())
    assert here
    assert run("enqueue", "404404").code == 1
    assert run("commands", "cancel", unknown).code == 1
    assert run("webhooks", "delete", unknown).code == 1
    assert [(entry["action"], entry["problem"]) for entry in entries(run)] == [
        ("command.create", "no-such-video"),
        ("command.cancel", "no-such-command"),
        ("webhook_endpoint.delete", "no-such-endpoint"),
    ]
    shown = run("audit", "--action", "command.cancel", "--subject", unknown)
    assert "refused: no-such-command" in shown.out
    assert "webhook_endpoint" not in shown.out
