"""Publish commands: many at once, and each one afterwards."""

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Body, Path, Query, Response

from schemas.command import (
    CommandChange,
    CommandFilter,
    PublishCommand,
    PublishCommands,
    PublishRequests,
)
from schemas.problem import FieldError
from worker import commands, relay
from worker.api import openapi
from worker.api.access import Here, NeedsKey, Publisher, Reader
from worker.api.intake import From, JsonOnly, accept
from worker.api.problems import invalid
from worker.api.routing import Router
from worker.api.views import command_view

router = Router(tags=["publish commands"], dependencies=[NeedsKey])

CommandId = Annotated[UUID, Path(description="The command's id.", examples=[openapi.COMMAND["id"]])]


@router.post(
    "/publish-commands",
    operation_id="publish-commands-create",
    summary="Publish up to 1,000 videos",
    status_code=202,
    dependencies=[JsonOnly],
    responses=openapi.BULK_RESPONSES,
)
def create(
    response: Response,
    process: Here,
    origin: From,
    body: Annotated[PublishRequests, Body(openapi_examples=openapi.BULK_EXAMPLES)],
) -> PublishCommands:
    """Accept all of the commands, or none: each error says at which index."""
    accepted = accept(process, body.commands, origin)
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    base_url = process.settings.public_base_url
    return PublishCommands(commands=[command_view(base_url, row) for row in accepted.commands])


@router.get(
    "/publish-commands",
    operation_id="publish-commands-list",
    summary="List commands, newest first",
    responses=openapi.LIST_RESPONSES,
)
def list_commands(
    process: Here,
    caller: Reader,
    asked: Annotated[CommandFilter, Query()],
) -> PublishCommands:
    """List a page of commands; `next` leads to the one after."""
    page = commands.list_page(
        process.engine,
        workspace_id=caller.workspace_id,
        video_id=asked.video_id,
        state=asked.state,
        before=asked.before,
        limit=asked.limit,
    )
    base_url = process.settings.public_base_url
    further = asked.model_copy(update={"before": page.before})
    query = urlencode(further.model_dump(mode="json", exclude_none=True))
    return PublishCommands(
        commands=[command_view(base_url, row) for row in page.commands],
        next=f"{base_url.rstrip('/')}/api/v1/publish-commands?{query}" if page.before else None,
    )


@router.get(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-retrieve",
    summary="See a command",
    responses=openapi.COMMAND_RESPONSES,
)
def retrieve(command_id: CommandId, process: Here, caller: Reader) -> PublishCommand:
    """Return the command as it stands."""
    row = commands.show(process.engine, command_id, caller.workspace_id)
    return command_view(process.settings.public_base_url, row)


@router.patch(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-reschedule",
    summary="Change a command's latest moment",
    dependencies=[JsonOnly],
    responses=openapi.CHANGE_RESPONSES,
)
def reschedule(
    command_id: CommandId,
    process: Here,
    caller: Publisher,
    body: Annotated[CommandChange, Body(openapi_examples=openapi.CHANGE_EXAMPLES)],
) -> PublishCommand:
    """Change `publish_before`, and ask the command again at once; `409` once it has ended."""
    if body.publish_before <= datetime.now(UTC):
        detail = "must not have passed; to give the command up, cancel it"
        raise invalid([FieldError(pointer="/publish_before", code="past", detail=detail)])
    row = commands.reschedule(
        process.engine, process.waker, command_id, caller.workspace_id, body.publish_before
    )
    return command_view(process.settings.public_base_url, row)


@router.delete(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-cancel",
    summary="Cancel a command",
    responses=openapi.CHANGE_RESPONSES,
)
def cancel(command_id: CommandId, process: Here, caller: Publisher) -> PublishCommand:
    """End the command as `cancelled`; `409` if it has ended otherwise."""
    row = commands.cancel(process.engine, command_id, caller.workspace_id)
    base_url = process.settings.public_base_url
    relay.relay_or_later(process.engine, process.waker.redis, base_url)
    return command_view(base_url, row)


@router.post(
    "/publish-commands/{command_id}/retry",
    operation_id="publish-commands-retry",
    summary="Retry a failed command",
    responses=openapi.CHANGE_RESPONSES,
)
def retry(command_id: CommandId, process: Here, caller: Publisher) -> PublishCommand:
    """Give a `failed` command new attempts, at once; `409` if it has not failed."""
    row = commands.retry(process.engine, process.waker, command_id, caller.workspace_id)
    return command_view(process.settings.public_base_url, row)
