"""`publish-worker enqueue`: accept videos for publication, and wait for them if asked to."""

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from db.inbox import CommandRow
from schemas.command import MAX_COMMANDS, CommandState, PublishRequest, Trigger
from schemas.video import VideoInput
from worker import commands
from worker.app import Process
from worker.cli.commands import LATEST_MOMENT, AsJson, print_commands
from worker.cli.opening import everything
from worker.enqueue import EnqueueRefused, Origin
from worker.enqueue import enqueue as accept
from worker.preflight import complain

LOOK_EVERY_SECONDS = 0.05
GOOD = {CommandState.PUBLISHED, CommandState.UNCHANGED}
NOT_FINISHED = 3


def enqueue(
    video_ids: Annotated[list[int], typer.Argument(metavar="VIDEO_ID...", min=1)],
    *,
    publish_before: Annotated[datetime | None, LATEST_MOMENT] = None,
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
    wait: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Wait for the outcomes, but no longer.", min=0),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish videos as soon as they are ready: all of them are accepted, or none.

    Exit code 1 if they are refused or (with --wait) one of them was not published; 3 if --wait
    was not long enough.
    """
    if len(video_ids) > MAX_COMMANDS:
        raise typer.BadParameter(f"At most {MAX_COMMANDS} videos at once.")
    video = _edits(edits_file) if edits_file else None
    requests = [
        PublishRequest(video_id=video_id, video=video, publish_before=publish_before)
        for video_id in video_ids
    ]
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


def _outcomes(here: Process, accepted: Sequence[CommandRow], seconds: float) -> list[CommandRow]:
    """The commands once they have ended, or as they stand when the time is up."""
    ids: list[UUID] = [command.id for command in accepted]
    deadline = time.monotonic() + seconds
    while len(commands.finished(here.engine, ids)) < len(ids) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
    return [commands.show(here.engine, each, None) for each in ids]


def _exit_code(ended: Sequence[CommandRow]) -> int:
    if any(command.finished_at is None for command in ended):
        return NOT_FINISHED
    return 0 if all(command.state in GOOD for command in ended) else 1
