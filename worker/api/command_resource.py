"""The command resource: from a row to the JSON that callers get."""

from dataclasses import asdict

from db.commands.inbox import StoredCommand
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
