"""Routes of publish commands: enqueue many, list, read, change, cancel, retry."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import Body, Path, Query, Request, Response

from publish_worker_client.events.names import Trigger
from schemas.audit import AuditAction
from schemas.command import CommandChange, PublishRequest, PublishRequests
from schemas.inbox import (
    CommandFilter,
    CommandOrder,
    FailureCauses,
    PublishCommand,
    PublishCommands,
    Retried,
    RetryRequest,
)
from schemas.values.actor import Actor
from schemas.values.caller import Caller
from worker.api import problems
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime, PublishCaller, ReadCaller, RequiresKey
from worker.api.command_resource import to_publish_command, to_publish_commands_json
from worker.api.documents import commands as examples
from worker.api.documents.responses import (
    BODY_PROBLEMS,
    IDEMPOTENCY_REPLAYED,
    KEY_PROBLEMS,
    failures,
    success,
)
from worker.api.enqueue_request import LimitedErrors, RequestOrigin, RequiresJson
from worker.api.links import page_url
from worker.api.routing import Router
from worker.enqueue import changes
from worker.enqueue.accept import enqueue
from worker.enqueue.group_commit import GroupCommit
from worker.enqueue.origin import Origin
from worker.enqueue.submission import Accepted
from worker.runtime.runtime import Runtime

router = Router(tags=["publish commands"], dependencies=[RequiresKey], responses=KEY_PROBLEMS)

CommandId = Annotated[
    UUID, Path(description="The command's id.", examples=[examples.COMMAND["id"]])
]
MAX_IN_GROUP = 50
"""Commands of a request that shares a transaction with others. A larger one has a thread and a
transaction of its own: its commands would hold up the event loop, and with it every other request.
"""
CHANGED = success(200, "The command after the change.", examples.COMMAND)


@router.post(
    "/publish-commands",
    operation_id="publish-commands-create",
    summary="Publish up to 1,000 videos",
    status_code=202,
    response_model=PublishCommands,
    dependencies=[RequiresJson],
    responses=failures(*BODY_PROBLEMS, problems.VIDEO_CHANGED, problems.TOO_MANY_COMMANDS)
    | success(
        202,
        "All commands were accepted.",
        {"commands": [examples.COMMAND], "next": None},
        headers=IDEMPOTENCY_REPLAYED,
    ),
)
async def create(
    request: Request,
    runtime: CurrentRuntime,
    origin: RequestOrigin,
    body: Annotated[PublishRequests, LimitedErrors, Body(openapi_examples=examples.BULK_EXAMPLES)],
) -> Response:
    """Accept all commands, or none: each error contains the index of its command."""
    if len(body.commands) > MAX_IN_GROUP:
        return await to_thread.run_sync(_create_alone, runtime, body.commands, origin)
    group_commit: GroupCommit = request.app.state.group_commit
    accepted = await group_commit.accept(body.commands, origin)
    return _to_response(runtime, accepted)


def _create_alone(runtime: Runtime, requests: Sequence[PublishRequest], origin: Origin) -> Response:
    """Accept many commands in a transaction of their own."""
    return _to_response(runtime, enqueue(runtime.engine, runtime.waker, requests, origin))


def _to_response(runtime: Runtime, accepted: Accepted) -> Response:
    headers = {"Idempotency-Replayed": "true"} if accepted.replayed else {}
    document = to_publish_commands_json(runtime.settings.public_base_url, accepted.commands)
    return Response(document, 202, headers, media_type="application/json")


@router.get(
    "/publish-commands",
    operation_id="publish-commands-list",
    summary="List and search commands",
    responses=success(200, "A page of commands.", {"commands": [examples.COMMAND], "next": None})
    | failures(problems.NO_SUCH_COMMAND),
)
def list_commands(
    runtime: CurrentRuntime, caller: ReadCaller, query: Annotated[CommandFilter, Query()]
) -> PublishCommands:
    """Return a page of commands; `next` is the URL of the following page.

    A page ends early when it has a MiB.
    """
    page = changes.list_page(runtime.engine, query, caller.workspace_id)
    base_url, last = runtime.settings.public_base_url, page.next_after
    due_at = last.due_at if last and query.order is CommandOrder.DUE else None
    return PublishCommands(
        commands=[to_publish_command(base_url, row) for row in page.items],
        next=last
        and page_url(base_url, "/publish-commands", query, before=last.id, before_due_at=due_at),
    )


@router.get(
    "/publish-commands/causes",
    operation_id="publish-commands-causes",
    summary="See why commands failed",
    responses=success(200, "The causes.", {"causes": [examples.CAUSE]}),
)
def causes(runtime: CurrentRuntime, caller: ReadCaller) -> FailureCauses:
    """Group the failed commands by the error that ended them, the most frequent one first."""
    return FailureCauses(causes=changes.read_causes(runtime.engine, caller.workspace_id))


@router.post(
    "/publish-commands/retry",
    operation_id="publish-commands-retry-all",
    summary="Retry failed commands, at a limited rate",
    dependencies=[RequiresJson, audits(AuditAction.COMMAND_RETRY_ALL)],
    responses=failures(*BODY_PROBLEMS)
    | success(
        200,
        "How many commands will be retried, and when the last one is due.",
        {"commands": 12, "last_due_at": "2026-11-24T09:05:00.55Z"},
    ),
)
def retry_all(
    runtime: CurrentRuntime,
    caller: PublishCaller,
    by: CurrentActor,
    body: Annotated[RetryRequest, LimitedErrors, Body(openapi_examples=examples.RETRY_EXAMPLES)],
) -> Retried:
    """Give all failed commands, or those with one cause, new attempts, the oldest first.

    `per_second` commands fall due each second, from now on; one call retries at most 10,000
    commands. A call before the last one's `last_due_at` adds its rate to that one's.
    """
    return changes.retry_all(runtime.engine, runtime.waker, body, caller.workspace_id, by)


@router.get(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-retrieve",
    summary="Read a command",
    responses=failures(problems.NO_SUCH_COMMAND)
    | success(200, "The command's current state.", examples.COMMAND),
)
def retrieve(command_id: CommandId, runtime: CurrentRuntime, caller: ReadCaller) -> PublishCommand:
    """Return the command's current state."""
    row = changes.read_command(runtime.engine, command_id, caller.workspace_id)
    return to_publish_command(runtime.settings.public_base_url, row)


@router.patch(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-reschedule",
    summary="Change a command's time or deadline",
    dependencies=[RequiresJson, audits(AuditAction.COMMAND_RESCHEDULE)],
    responses=failures(*BODY_PROBLEMS, problems.NO_SUCH_COMMAND, problems.COMMAND_ENDED) | CHANGED,
)
def reschedule(
    command_id: CommandId,
    runtime: CurrentRuntime,
    caller: PublishCaller,
    by: CurrentActor,
    body: Annotated[CommandChange, LimitedErrors, Body(openapi_examples=examples.CHANGE_EXAMPLES)],
) -> PublishCommand:
    """Change `publish_at` (or `unpublish_at`) or `publish_before`; `409` once it has ended.

    Fields that are absent stay as they are. A command that waits for generation is tried again at
    once, or at its new time.
    """
    changer = _changer(caller, by)
    row = changes.reschedule(runtime.engine, runtime.waker, command_id, body, changer)
    return to_publish_command(runtime.settings.public_base_url, row)


@router.delete(
    "/publish-commands/{command_id}",
    operation_id="publish-commands-cancel",
    summary="Cancel a command",
    dependencies=[audits(AuditAction.COMMAND_CANCEL)],
    responses=failures(*BODY_PROBLEMS, problems.NO_SUCH_COMMAND, problems.COMMAND_ENDED) | CHANGED,
)
def cancel(
    command_id: CommandId, runtime: CurrentRuntime, caller: PublishCaller, by: CurrentActor
) -> PublishCommand:
    """End the command as `cancelled`; `409` if it has ended otherwise."""
    row = changes.cancel(runtime.engine, runtime.waker, command_id, _changer(caller, by))
    return to_publish_command(runtime.settings.public_base_url, row)


@router.post(
    "/publish-commands/{command_id}/retry",
    operation_id="publish-commands-retry",
    summary="Retry a failed command",
    dependencies=[audits(AuditAction.COMMAND_RETRY)],
    responses=failures(*BODY_PROBLEMS, problems.NO_SUCH_COMMAND, problems.COMMAND_NOT_FAILED)
    | CHANGED,
)
def retry(
    command_id: CommandId, runtime: CurrentRuntime, caller: PublishCaller, by: CurrentActor
) -> PublishCommand:
    """Give a `failed` command new attempts, at once; `409` if it has not failed."""
    row = changes.retry(runtime.engine, runtime.waker, command_id, caller.workspace_id, by)
    return to_publish_command(runtime.settings.public_base_url, row)


def _changer(caller: Caller, by: Actor) -> changes.Changer:
    return changes.Changer(trigger=Trigger.API, workspace_id=caller.workspace_id, actor=by)
