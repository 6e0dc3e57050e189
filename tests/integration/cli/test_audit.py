"""The audit log and the command line: what it records, and what `publish-worker audit` prints."""

import json
from typing import Any
from uuid import uuid4

import pytest

from schemas.values.caller import Scope
from tests.support.command_line import Run, find_commands
from tests.support.pipeline import Pipeline
from tests.support.receiver import receiver
from worker.operations.api_keys import create_key
from worker.operations.console_sessions import create_session

READ = {
    ("audit",),
    ("config",),
    ("doctor",),
    ("env",),
    ("plan",),
    ("status",),
    ("punctuality",),
    ("commands", "causes"),
    ("commands", "list"),
    ("commands", "show"),
    ("events", "dead", "list"),
    ("events", "tail"),
    ("keys", "list"),
    ("sessions", "list"),
    ("videos", "list"),
    ("videos", "show"),
    ("videos", "story"),
    ("webhooks", "deliveries"),
    ("webhooks", "list"),
    ("webhooks", "show"),
}
"""Commands that change nothing."""
OTHER = {("demo",), ("migrate",), ("up",)}
"""They start servers, or make the tables that the audit log is in."""
BERLIN = ("--time-zone", "Europe/Berlin")


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


def test_each_change_by_the_command_line_has_an_entry(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command but those that only read, so that a new one cannot be forgotten."""
    monkeypatch.setenv("WEBHOOKS_ALLOW_PRIVATE", "true")
    done: list[tuple[tuple[str, ...], list[str]]] = []

    def change(command: str, *arguments: str) -> None:
        before = len(entries(run))
        run(*command.split(), *arguments)
        new = entries(run)[before:]
        assert {entry["outcome"] for entry in new} == {"ok"}, command
        done.append((tuple(command.split()), [entry["action"] for entry in new]))

    change("enqueue", str(here.video()), "--publish-at", "2100-01-01T00:00:00Z")
    command_id = str(here.value("SELECT id FROM publisher.publish_command"))
    change("commands reschedule", command_id, "--publish-at-local", "2100-01-02T00:00", *BERLIN)
    here.execute(
        "UPDATE publisher.publish_command SET zone_digest = '2000a:0', asked_for = now(),"
        " due_at = now()"
    )
    change("commands recompute")
    change("commands cancel", command_id)
    here.execute("UPDATE publisher.publish_command SET state = 'failed', due_at = now()")
    change("commands retry", command_id)
    change("commands retry", "--all")
    change("unpublish", str(here.video()))
    with receiver() as there:
        change("webhooks create", "--workspace", "1", "--url", there.url())
        endpoint_id = str(here.value("SELECT id FROM publisher.webhook_endpoint"))
        change("webhooks update", endpoint_id, "--description", "Search")
        change("webhooks test", endpoint_id)
    change("webhooks rotate", endpoint_id)
    change("webhooks replay", endpoint_id, "--failed")
    change("webhooks delete", endpoint_id)
    change("keys create", "--workspace", "1", "--scope", "read", "--name", "ci")
    change("keys revoke", str(here.value("SELECT id FROM publisher.api_key")))
    secret = create_key(here.engine, name="ci", scope=Scope.READ, workspace_id=1)
    create_session(here.engine, secret, user_agent=None, client=None, correlation_id="c-1")
    change("sessions end", str(here.value("SELECT id FROM publisher.console_session")))
    change("events rebuild")
    change("events dead redrive", "--group", "search", "--all")
    assert [action for _, actions in done for action in actions] == [
        "command.create",
        "command.reschedule",
        "command.recompute",
        "command.cancel",
        "command.retry",
        "command.retry_all",
        "command.create",
        "webhook_endpoint.create",
        "webhook_endpoint.update",
        "webhook_endpoint.test",
        "webhook_endpoint.rotate",
        "webhook_endpoint.replay",
        "webhook_endpoint.delete",
        "api_key.create",
        "api_key.revoke",
        "session.end",
        "stream.rebuild",
        "dead_letter.retry",
    ]
    commands = {path for path, each in find_commands().items() if not hasattr(each, "commands")}
    assert commands == {command for command, _ in done} | READ | OTHER


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
