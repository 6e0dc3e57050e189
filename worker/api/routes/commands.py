"""Publish commands: many at once, and each one afterwards."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Body, Path, Query, Response

from schemas.command import (
    CommandChange,
    CommandFilter,
    CommandOrder,
    FailureCauses,
    PublishCommand,
    PublishCommands,
    PublishRequests,
    Retried,
    RetryRequest,
    Trigger,
)
from schemas.values.caller import Caller
from worker.api.auth import Here, NeedsKey, Publisher, Reader
from worker.api.command_resource import command_view
from worker.api.documents import openapi
from worker.api.enqueue_request import From, JsonOnly, accept
from worker.api.routing import Router
from worker.enqueue import changes

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
    runtime: Here,
    origin: From,
    body: Annotated[PublishRequests, Body(openapi_examples=openapi.BULK_EXAMPLES)],
) -> PublishCommands:
    """Accept all of the commands, or none: each error says at which index."""
    accepted = accept(runtime, body.commands, origin)
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    base_url = runtime.settings.public_base_url
    return PublishCommands(commands=[command_view(base_url, row) for row in accepted.commands])


@router.get(
    "/publish-commands",
    operation_id="publish-commands-list",
    summary="List and search commands",
    responses=openapi.LIST_RESPONSES,
)
def list_commands(
    runtime: Here,
    caller: Reader,
    asked: Annotated[CommandFilter, Query()],
) -> PublishCommands:
    """List a page of commands; `next` leads to the one after."""
    page = changes.list_page(runtime.engine, asked, caller.workspace_id)
    base_url = runtime.settings.public_base_url
    last = page.commands[-1] if page.commands else None
    due_at = last.due_at if last and asked.order is CommandOrder.DUE else None
    further = asked.model_copy(update={"before": page.before, "before_due_at": due_at})
    query = urlencode(further.model_dump(mode="json", exclude_none=True))
    return PublishCommands(
        commands=[command_view(base_url, row) for row in page.commands],
        next=f"{base_url.rstrip('/')}/api/v1/publish-commands?{query}" if page.before else None,
    )


@router.get(
    "/publish-commands/causes",
    operation_id="publish-commands-causes",
    summary="See why commands failed",
    responses=openapi.CAUSES_RESPONSES,
)
def causes(runtime: Here, caller: Reader) -> FailureCauses:
    """Group the failed commands by the error that ended them, the most frequent one first."""
    return FailureCauses(causes=changes.causes(runtime.engine, caller.workspace_id))


@router.post(
    "/publish-commands/retry",
    operation_id="publish-commands-retry-all",
    summary="Retry what failed, at a bounded rate",
    dependencies=[JsonOnly],
    responses=openapi.RETRY_RESPONSES,
)
def retry_all(
    runtime: Here,
    caller: Publisher,
    body: Annotated[RetryRequest, Body(openapi_examples=openapi.RETRY_EXAMPLES)],
) -> Retried:
    """Give all failed commands new attempts, or all with the same cause, oldest first.

    So many fall due each second as `per_second` says; at most 10,000 commands in one call.
    """
    return changes.retry_all(runtime.engine, runtime.waker, body, caller.workspace_id)


@router.get(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-retrieve",
    summary="See a command",
    responses=openapi.COMMAND_RESPONSES,
)
def retrieve(command_id: CommandId, runtime: Here, caller: Reader) -> PublishCommand:
    """Return the command as it stands."""
    row = changes.show(runtime.engine, command_id, caller.workspace_id)
    return command_view(runtime.settings.public_base_url, row)


@router.patch(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-reschedule",
    summary="Change a command's time or latest moment",
    dependencies=[JsonOnly],
    responses=openapi.CHANGE_RESPONSES,
)
def reschedule(
    command_id: CommandId,
    runtime: Here,
    caller: Publisher,
    body: Annotated[CommandChange, Body(openapi_examples=openapi.CHANGE_EXAMPLES)],
) -> PublishCommand:
    """Change `publish_at` (or `unpublish_at`) or `publish_before`; `409` once it has ended.

    What is not said stays as it is. A command that waits for generation is asked again at once,
    or at its new time.
    """
    row = changes.reschedule(runtime.engine, runtime.waker, command_id, body, _changer(caller))
    return command_view(runtime.settings.public_base_url, row)


@router.delete(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-cancel",
    summary="Cancel a command",
    responses=openapi.CHANGE_RESPONSES,
)
def cancel(command_id: CommandId, runtime: Here, caller: Publisher) -> PublishCommand:
    """End the command as `cancelled`; `409` if it has ended otherwise."""
    row = changes.cancel(runtime.engine, runtime.waker, command_id, _changer(caller))
    return command_view(runtime.settings.public_base_url, row)


@router.post(
    "/publish-commands/{command_id}/retry",
    operation_id="publish-commands-retry",
    summary="Retry a failed command",
    responses=openapi.CHANGE_RESPONSES,
)
def retry(command_id: CommandId, runtime: Here, caller: Publisher) -> PublishCommand:
    """Give a `failed` command new attempts, at once; `409` if it has not failed."""
    row = changes.retry(runtime.engine, runtime.waker, command_id, caller.workspace_id)
    return command_view(runtime.settings.public_base_url, row)


def _changer(caller: Caller) -> changes.Changer:
    return changes.Changer(trigger=Trigger.API, workspace_id=caller.workspace_id)
