"""`publish-worker enqueue` and `unpublish`: accept commands, and wait for them if asked to."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from db.commands.inbox import CommandRow
from schemas.command import MAX_COMMANDS, Action, CommandState, PublishRequest, Trigger
from schemas.video import VideoInput
from worker.cli.commands import AsJson, print_commands
from worker.cli.connect import everything
from worker.cli.time_options import (
    ExpectedRevision,
    Fold,
    PublishAt,
    PublishAtLocal,
    PublishBefore,
    TimeZone,
    UnpublishAt,
    UnpublishAtLocal,
    understood,
)
from worker.enqueue import changes
from worker.enqueue.accept import Origin
from worker.enqueue.accept import enqueue as accept
from worker.enqueue.new_commands import EnqueueRefused
from worker.runtime.errors_explained import complain
from worker.runtime.runtime import Runtime

LOOK_EVERY_SECONDS = 0.05
GOOD = {CommandState.PUBLISHED, CommandState.UNPUBLISHED, CommandState.UNCHANGED}
NOT_FINISHED = 3


VideoIds = Annotated[list[int], typer.Argument(metavar="VIDEO_ID...", min=1)]
Wait = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Wait for the outcomes, but no longer.", min=0),
]


def enqueue(  # noqa: PLR0913 - each option is one of the request's fields
    video_ids: VideoIds,
    *,
    publish_at: PublishAt = None,
    publish_at_local: PublishAtLocal = None,
    unpublish_at: UnpublishAt = None,
    unpublish_at_local: UnpublishAtLocal = None,
    time_zone: TimeZone = None,
    fold: Fold = None,
    publish_before: PublishBefore = None,
    expected_revision: ExpectedRevision = None,
    edits_file: Annotated[
        Path | None,
        typer.Option(
            help="The documented request as JSON, applied to each of the videos as it is "
            "published; - for stdin.",
            exists=True,
            dir_okay=False,
            allow_dash=True,
        ),
    ] = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Publish videos as soon as they are ready, or at a time: all are accepted, or none.

    With --unpublish-at too, each is published for that long. Exit code 1 if they are refused or
    (with --wait) one of them was not published; 3 if --wait was not long enough.
    """
    _enqueue(
        video_ids,
        wait,
        as_json=as_json,
        video=_edits(edits_file) if edits_file else None,
        publish_at=publish_at,
        publish_at_local=publish_at_local,
        unpublish_at=unpublish_at,
        unpublish_at_local=unpublish_at_local,
        time_zone=time_zone,
        fold=fold,
        publish_before=publish_before,
        expected_revision=expected_revision,
    )


def unpublish(
    video_ids: VideoIds,
    *,
    unpublish_at: UnpublishAt = None,
    unpublish_at_local: UnpublishAtLocal = None,
    time_zone: TimeZone = None,
    fold: Fold = None,
    expected_revision: ExpectedRevision = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw videos at once, or at a time: they become drafts again, their URLs are kept.

    Exit codes as those of `enqueue`.
    """
    _enqueue(
        video_ids,
        wait,
        as_json=as_json,
        action=Action.UNPUBLISH,
        unpublish_at=unpublish_at,
        unpublish_at_local=unpublish_at_local,
        time_zone=time_zone,
        fold=fold,
        expected_revision=expected_revision,
    )


def _enqueue(video_ids: list[int], wait: float | None, *, as_json: bool, **said: Any) -> None:
    if len(video_ids) > MAX_COMMANDS:
        raise typer.BadParameter(f"At most {MAX_COMMANDS} videos at once.")
    requests = [understood(PublishRequest, video_id=video_id, **said) for video_id in video_ids]
    origin = Origin(trigger=Trigger.CLI, correlation_id=str(uuid7()))
    with everything() as here:
        try:
            accepted = accept(here.engine, here.waker, requests, origin).commands
        except EnqueueRefused as refused:
            complain(str(refused))
            raise typer.Exit(1) from None
        ended = accepted if wait is None else _outcomes(here, accepted, wait)
    print_commands(ended, as_json=as_json)
    if wait is not None:
        raise typer.Exit(_exit_code(ended))


def _edits(file: Path) -> VideoInput:
    text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    try:
        return VideoInput.model_validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(
            f"/{'/'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        complain(f"{file} is not the documented request: {wrong}")
        raise typer.Exit(1) from None


def _outcomes(here: Runtime, accepted: Sequence[CommandRow], seconds: float) -> list[CommandRow]:
    """The commands once they have ended, or as they stand when the time is up."""
    ids: list[UUID] = [command.id for command in accepted]
    deadline = time.monotonic() + seconds
    while len(changes.finished(here.engine, ids)) < len(ids) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
    return [changes.show(here.engine, each, None) for each in ids]


def _exit_code(ended: Sequence[CommandRow]) -> int:
    if any(command.finished_at is None for command in ended):
        return NOT_FINISHED
    return 0 if all(command.state in GOOD for command in ended) else 1
