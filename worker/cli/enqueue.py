"""`publish-worker enqueue` and `unpublish`: accept commands and, with --wait, await them."""

import time
from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Action, Trigger
from schemas.audit import AuditAction
from schemas.command import (
    MAX_COMMANDS,
    CommandState,
    PublishOptions,
    PublishRequest,
    UnpublishOptions,
)
from schemas.values.actor import AuditRecord
from schemas.video import VideoInput
from worker.cli.audit import find_operator
from worker.cli.commands import COMMANDS
from worker.cli.connect import open_runtime
from worker.cli.options import AsJson, check_id, options_of_model, to_model
from worker.cli.output import print_rows
from worker.enqueue import changes
from worker.enqueue.accept import Origin
from worker.enqueue.accept import enqueue as accept
from worker.operations.audit import refusals_recorded
from worker.runtime.budget import Budget
from worker.runtime.errors_explained import complain

if TYPE_CHECKING:  # it imports Celery and Redis, as `connect` says
    from worker.runtime.runtime import Runtime

POLL_SECONDS = 0.05
SUCCESSES = {CommandState.PUBLISHED, CommandState.UNPUBLISHED, CommandState.UNCHANGED}
NOT_FINISHED = 3


VideoIds = Annotated[
    list[int],
    typer.Argument(metavar="VIDEO_ID", help="The ids of the videos.", callback=check_id),
]
Wait = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Wait for the outcomes, for up to SECONDS seconds. Default: do not wait.",
        min=0,
    ),
]


@options_of_model
def enqueue(
    video_ids: VideoIds,
    *,
    options: PublishOptions,
    edits_file: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            metavar="FILE",
            help="A JSON file with the documented request, applied to each video when it is "
            "published; - reads stdin.",
        ),
    ] = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Publish videos at once, or at a given time, when they are ready. All are accepted, or none.

    With --unpublish-at, each video is unpublished again at that time. Exit code 1: a video was
    refused or, with --wait, not published. Exit code 3: --wait ended before the outcomes.
    """
    video = _read_edits(edits_file) if edits_file else None
    _enqueue(video_ids, options, wait, as_json=as_json, video=video)


@options_of_model
def unpublish(
    video_ids: VideoIds,
    *,
    options: UnpublishOptions,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Unpublish videos at once, or at a given time. They become drafts and keep their URLs.

    The exit codes are those of `enqueue`.
    """
    _enqueue(video_ids, options, wait, as_json=as_json, action=Action.UNPUBLISH)


def _enqueue(
    video_ids: list[int],
    options: PublishOptions | UnpublishOptions,
    wait: float | None,
    *,
    as_json: bool,
    **fields: Any,
) -> None:
    if len(video_ids) > MAX_COMMANDS:
        raise typer.BadParameter(f"At most {MAX_COMMANDS} videos at once.")
    fields |= options.model_dump(exclude_unset=True)
    requests = [
        to_model(PublishRequest.model_validate, {**fields, "video_id": video_id})
        for video_id in video_ids
    ]
    correlation_id = str(uuid7())
    operator = find_operator(correlation_id)
    origin = Origin(
        trigger=Trigger.CLI, correlation_id=correlation_id, workspace_id=None, actor=operator
    )
    attempt = AuditRecord(actor=operator, action=AuditAction.COMMAND_CREATE)
    with open_runtime() as runtime:
        with refusals_recorded(runtime.engine, attempt):
            commands = accept(runtime.engine, runtime.waker, requests, origin).commands
        if wait is not None:
            commands = _await_outcomes(runtime, commands, wait)
    print_rows(commands, COMMANDS, as_json=as_json)
    if wait is not None:
        raise typer.Exit(_exit_code(commands))


def _read_edits(file: IO[bytes]) -> VideoInput:
    try:
        return VideoInput.model_validate_json(file.read().removeprefix(BOM_UTF8))
    except ValidationError as error:
        wrong = "; ".join(
            f"/{'/'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        complain(f"{file.name} is not the documented request: {wrong}")
        raise typer.Exit(1) from None


def _await_outcomes(
    runtime: "Runtime", accepted: Sequence[StoredCommand], seconds: float
) -> list[StoredCommand]:
    """Return the commands when all have ended or the time is over."""
    ids: list[UUID] = [command.id for command in accepted]
    budget = Budget(seconds)
    while len(changes.find_ended(runtime.engine, ids)) < len(ids) and not budget.is_spent:
        time.sleep(POLL_SECONDS)
    return [changes.read_command(runtime.engine, each, None) for each in ids]


def _exit_code(commands: Sequence[StoredCommand]) -> int:
    if any(command.finished_at is None for command in commands):
        return NOT_FINISHED
    return 0 if all(command.state in SUCCESSES for command in commands) else 1
