"""Rows as the API shows them."""

from dataclasses import asdict
from uuid import UUID

from db.commands.inbox import CommandRow
from schemas.command import PublishCommand


def command_url(base_url: str, command_id: UUID) -> str:
    """Where this command can be asked for again."""
    return f"{base_url.rstrip('/')}/api/v1/publish-commands/{command_id}"


def command_view(base_url: str, row: CommandRow) -> PublishCommand:
    """A command as callers see it: its time under the name by which it was asked for."""
    asked = asdict(row)
    at, local, other = asked.pop("asked_for"), asked.pop("local_time"), asked.pop("counterpart_id")
    name = f"{row.action}_at"
    times = dict.fromkeys(
        ("publish_at", "publish_at_local", "unpublish_at", "unpublish_at_local")
    ) | {name: at, f"{name}_local": local}
    return PublishCommand.model_validate(
        {
            **asked,
            **times,
            "url": command_url(base_url, row.id),
            "counterpart": command_url(base_url, other) if other else None,
        }
    )
