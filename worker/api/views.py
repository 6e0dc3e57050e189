"""Rows as the API shows them."""

from dataclasses import asdict

from db.inbox import CommandRow
from schemas.command import PublishCommand


def command_url(base_url: str, row: CommandRow) -> str:
    """Where this command can be asked for again."""
    return f"{base_url.rstrip('/')}/api/v1/publish-commands/{row.id}"


def command_view(base_url: str, row: CommandRow) -> PublishCommand:
    """A command as callers see it."""
    return PublishCommand.model_validate({**asdict(row), "url": command_url(base_url, row)})
