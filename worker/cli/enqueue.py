"""`publish-worker enqueue` and `unpublish`: accept commands and, with --wait, await them."""

from codecs import BOM_UTF8
from typing import IO, Annotated, Any

import typer
from pydantic import ValidationError

from publish_worker_client.events.names import Action
from schemas.command import PublishOptions, PublishRequest, UnpublishOptions
from schemas.fields import MAX_NAME
from schemas.video import VideoInput
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, check_id, options_of_model, to_model
from worker.runtime.printing import complain

with late_imports():
    from worker.cli import enqueue_pages

SUFFIX_LENGTH = 20
"""Characters that the number of a page may add to an idempotency key."""

VideoIds = Annotated[
    list[int] | None,
    typer.Argument(metavar="VIDEO_ID", help="The ids of the videos.", callback=check_id),
]
IdsFile = Annotated[
    typer.FileText | None,
    typer.Option(
        metavar="FILE",
        help="A file with ids of videos, separated by white space; - reads stdin.",
    ),
]
EditsFile = Annotated[
    typer.FileBinaryRead | None,
    typer.Option(
        metavar="FILE",
        help="A JSON file with the documented request, applied to each video when it is "
        "published; - reads stdin.",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="A command line with the same ids and KEY is accepted once: repeat it to go on after "
        "an interruption.",
    ),
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
    video_ids: VideoIds = None,
    *,
    options: PublishOptions,
    edits_file: EditsFile = None,
    ids_file: IdsFile = None,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Publish videos at once, or at a given time, when they are ready. All are accepted, or none.

    More than 1,000 are accepted in pages of 1,000: if a page is refused, those before it stay
    accepted. With --unpublish-at, each video is unpublished again at that time. Exit code 1: a
    video was refused or, with --wait, not published. Exit code 3: --wait ended before the outcomes.
    """
    ids = _collect_ids(video_ids, ids_file)
    video = read_edits(edits_file) if edits_file else None
    requests = _to_requests(ids, options, video=video)
    enqueue_pages.enqueue_in_pages(requests, _check_key(idempotency_key), wait, as_json=as_json)


@options_of_model
def unpublish(
    video_ids: VideoIds = None,
    *,
    options: UnpublishOptions,
    ids_file: IdsFile = None,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Unpublish videos at once, or at a given time. They become drafts and keep their URLs.

    Pages and exit codes are those of `enqueue`.
    """
    ids = _collect_ids(video_ids, ids_file)
    requests = _to_requests(ids, options, action=Action.UNPUBLISH)
    enqueue_pages.enqueue_in_pages(requests, _check_key(idempotency_key), wait, as_json=as_json)


def read_edits(file: IO[bytes]) -> VideoInput:
    """Read the documented request from a file; end the process if it is not valid."""
    try:
        return VideoInput.model_validate_json(file.read().removeprefix(BOM_UTF8))
    except ValidationError as error:
        wrong = "; ".join(
            f"/{'/'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        complain(f"{file.name} is not the documented request: {wrong}")
        raise typer.Exit(1) from None


def to_request(video_id: int, options: PublishOptions | UnpublishOptions, **more: Any) -> Any:
    """Return the request for one video; a usage error if its options contradict each other."""
    fields = {**more, **options.model_dump(exclude_unset=True), "video_id": video_id}
    return to_model(PublishRequest.model_validate, fields)


def _to_requests(
    ids: list[int], options: PublishOptions | UnpublishOptions, **more: Any
) -> list[PublishRequest]:
    return [to_request(video_id, options, **more) for video_id in ids]


def _collect_ids(given: list[int] | None, file: IO[str] | None) -> list[int]:
    ids = [*(given or ()), *(_read_ids(file) if file else ())]
    if not ids:
        raise typer.BadParameter("Give a VIDEO_ID, or several, or --ids-file with at least one.")
    return ids


def _read_ids(file: IO[str]) -> list[int]:
    """Read ids, of which a line may have several. A usage error names the line of a wrong one."""
    ids: list[int] = []
    for number, line in enumerate(file, 1):
        for text in line.removeprefix("\ufeff").split():
            if not (text.isascii() and text.isdigit()):
                where = f"{file.name}, line {number}"
                raise typer.BadParameter(
                    f"{where}: '{text[:40]}' is not an id. Nothing was enqueued."
                )
            ids.append(int(text))
    check_id(ids)
    return ids


def _check_key(key: str | None) -> str | None:
    if key is not None and not 1 <= len(key) <= MAX_NAME - SUFFIX_LENGTH:
        raise typer.BadParameter(
            f"It must have 1 to {MAX_NAME - SUFFIX_LENGTH} characters.",
            param_hint="'--idempotency-key'",
        )
    return key
