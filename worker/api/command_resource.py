"""The command resource: from a row to the JSON that callers get."""

from collections.abc import Iterable
from dataclasses import asdict

from pydantic_core import to_json

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Action
from schemas.inbox import PublishCommand
from worker.api.links import command_url


def to_publish_command(base_url: str, row: StoredCommand) -> PublishCommand:
    """The command as callers see it; its time is in the field by which it was requested."""
    fields = asdict(row)
    time, local_time = fields.pop("asked_for"), fields.pop("local_time")
    counterpart = fields.pop("counterpart_id")
    times = dict.fromkeys(
        ("publish_at", "publish_at_local", "unpublish_at", "unpublish_at_local")
    ) | {f"{row.action}_at": time, f"{row.action}_at_local": local_time}
    return PublishCommand.model_validate(
        {
            **fields,
            **times,
            "url": command_url(base_url, row.id),
            "counterpart": command_url(base_url, counterpart) if counterpart else None,
        }
    )


def to_publish_command_json(base_url: str, row: StoredCommand) -> bytes:
    """Return the JSON of `to_publish_command`, without a model: it is built for each publish."""
    publishes = row.action == Action.PUBLISH
    counterpart = row.counterpart_id
    return to_json(
        {
            "id": row.id,
            "url": command_url(base_url, row.id),
            "action": row.action,
            "video_id": row.video_id,
            "workspace_id": row.workspace_id,
            "state": row.state,
            "reason": row.reason,
            "detail": row.detail,
            "trigger": row.trigger,
            "edits": row.edits,
            "accepted_at": row.accepted_at,
            "publish_at": row.asked_for if publishes else None,
            "publish_at_local": row.local_time if publishes else None,
            "unpublish_at": None if publishes else row.asked_for,
            "unpublish_at_local": None if publishes else row.local_time,
            "time_zone": row.time_zone,
            "fold": row.fold,
            "publish_before": row.publish_before,
            "expected_revision": row.expected_revision,
            "expected_etag": row.expected_etag,
            "counterpart": command_url(base_url, counterpart) if counterpart else None,
            "due_at": row.due_at,
            "is_due": row.is_due,
            "fell_due_at": row.fell_due_at,
            "claimed_at": row.claimed_at,
            "attempts": row.attempts,
            "finished_at": row.finished_at,
            "correlation_id": row.correlation_id,
            "requested_by": row.requested_by,
        }
    )


def to_publish_commands_json(base_url: str, rows: Iterable[StoredCommand]) -> bytes:
    """Return the JSON of a page without another one after it."""
    commands = b",".join(to_publish_command_json(base_url, row) for row in rows)
    return b'{"commands":[' + commands + b'],"next":null}'
