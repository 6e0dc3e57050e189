"""Routes of videos: list them, publish one, unpublish it, see the plan, read it, see its story."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import Body, Header, Query, Request, Response
from pydantic import BeforeValidator

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Action
from schemas.command import (
    CommandState,
    PublishBody,
    PublishOptions,
    PublishRequest,
    UnpublishOptions,
)
from schemas.inbox import PublishCommand
from schemas.plan import PublishPlan
from schemas.problem import FieldError
from schemas.story import VideoStory
from schemas.video import Video
from schemas.video_list import VideoFilter, Videos
from worker.api import problems
from worker.api.admission import current_turn
from worker.api.auth import CurrentRuntime, ReadCaller, RequiresKey
from worker.api.command_resource import to_publish_command_json
from worker.api.documents import videos as examples
from worker.api.documents.commands import COMMAND
from worker.api.documents.responses import (
    BODY_PROBLEMS,
    IDEMPOTENCY_REPLAYED,
    KEY_PROBLEMS,
    PREFERENCE_APPLIED,
    Responses,
    failures,
    header,
    success,
)
from worker.api.enqueue_request import LimitedErrors, RequestOrigin, RequiresJson, VideoId
from worker.api.links import command_url, page_url
from worker.api.prefer_wait import parse_prefer_wait, wants_no_wait
from worker.api.problems import ApiProblem, ProblemKind, invalid_request, no_such_video
from worker.api.routing import Router
from worker.api.video_resource import VideoResource, read_video
from worker.enqueue.changes import read_command
from worker.enqueue.group_commit import GroupCommit
from worker.enqueue.origin import Origin
from worker.operations.story import read_story
from worker.operations.video_list import list_videos
from worker.publish.plan import plan
from worker.runtime.runtime import Runtime

router = Router(tags=["videos"], dependencies=[RequiresKey], responses=KEY_PROBLEMS)

SUCCEEDED = (CommandState.PUBLISHED, CommandState.UNPUBLISHED, CommandState.UNCHANGED)
_OPTIONS = PublishOptions.model_fields.keys()

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The Video's ETag: refused if the video was changed since. It names a version,"
        " so `W/` and a coding such as `-gzip`, which proxies add, are ignored. RFC 9110.",
        min_length=1,
        max_length=255,
        examples=['"3f5a9c0d1e2b4a6f8c7d"'],
    ),
]


def _read_null(body: Any) -> Any:
    """Read null as no body: clients of earlier versions send it."""
    return {} if body is None else body


Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: wait up to N seconds for the command to end; `respond-async`: do not"
        " wait. RFC 7240.",
    ),
]


def _enqueue_responses(done: str) -> Responses:
    """The answers of publish and unpublish; `done` describes the one with the whole Video."""
    etag = header("ETag", "Changes with the video.", '"3f5a9c0d1e2b4a6f8c7d"')
    location = header("Location", "The URL of the command.", COMMAND["url"])
    return {
        200: {"model": Video, "description": done, "headers": {**etag, **PREFERENCE_APPLIED}},
        **success(
            202,
            "Accepted: the command is carried out once the video is ready.",
            COMMAND,
            headers={**location, **IDEMPOTENCY_REPLAYED, **PREFERENCE_APPLIED},
        ),
        **failures(
            *BODY_PROBLEMS,
            problems.NO_SUCH_VIDEO,
            problems.PUBLISH_REJECTED,
            problems.VIDEO_CHANGED,
            problems.TOO_MANY_COMMANDS,
        ),
    }


@router.post(
    "/videos/{video_id}/publish/",
    operation_id="publish-create",
    summary="Publish a video",
    status_code=202,
    response_model=PublishCommand,
    dependencies=[RequiresJson],
    responses=_enqueue_responses("Published within the time of `Prefer: wait`: the whole Video."),
)
async def publish(
    request: Request,
    response: Response,
    video_id: VideoId,
    runtime: CurrentRuntime,
    origin: RequestOrigin,
    body: Annotated[
        PublishBody,
        BeforeValidator(_read_null),
        LimitedErrors,
        Body(default_factory=PublishBody, openapi_examples=examples.PUBLISH_EXAMPLES),
    ],
    prefer: Prefer = None,  # noqa: ARG001 - read from the request, which may have several
    if_match: IfMatch = None,
) -> Response:
    """Accept the command and answer `202`. It is carried out once the video is ready, and not
    before `publish_at`.

    Without a body, or with `{}`, the video is published as it is. A body is the platform's
    documented request: title, description, visibility, category, subcategory, tags, cover_image and
    thumbnail are applied as the video is published; what is left out is kept. Fields that the
    pipeline owns may be present; they are never written.

    With `unpublish_at` the video is public for a limited time: a second command, the answer's
    `counterpart`, unpublishes it again.

    With `If-Match`, or `expected_revision`, the video is published only in the expected version:
    `412` if it was changed already, and `rejected` if it changes before the command is due.

    With `Prefer: wait=N` the answer is the whole Video once it is published, or `202` after N
    seconds. Without it, the operator's setting `PUBLISH_WAIT_SECONDS` is N; `Prefer: respond-async`
    asks for `202` at once.
    """
    publish_request = to_publish_request(body, if_match, video_id)
    return await _enqueue(request, response, runtime, publish_request, origin)


@router.post(
    "/videos/{video_id}/unpublish/",
    operation_id="unpublish-create",
    summary="Unpublish a video",
    status_code=202,
    response_model=PublishCommand,
    dependencies=[RequiresJson],
    responses=_enqueue_responses("Unpublished within the time of `Prefer: wait`: the whole Video."),
)
async def unpublish(
    request: Request,
    response: Response,
    video_id: VideoId,
    runtime: CurrentRuntime,
    origin: RequestOrigin,
    body: Annotated[
        UnpublishOptions,
        BeforeValidator(_read_null),
        LimitedErrors,
        Body(default_factory=UnpublishOptions, openapi_examples=examples.UNPUBLISH_EXAMPLES),
    ],
    prefer: Prefer = None,  # noqa: ARG001 - read from the request, which may have several
    if_match: IfMatch = None,
) -> Response:
    """Accept the command and answer `202`. It is carried out at once, or at `unpublish_at`.

    The video becomes a draft again. Its URL is reserved for it, and answered with `404` until the
    video is published again.
    """
    publish_request = _to_request(body, if_match, video_id, action=Action.UNPUBLISH)
    return await _enqueue(request, response, runtime, publish_request, origin)


def to_publish_request(body: PublishBody, if_match: str | None, video_id: int) -> PublishRequest:
    """Return the request to publish. Raises ApiProblem."""
    if not body.model_fields_set and if_match is None:  # most requests
        return PublishRequest(video_id=video_id)
    return _to_request(body, if_match, video_id, video=body.to_video())


def _to_request(
    body: PublishOptions | UnpublishOptions,
    if_match: str | None,
    video_id: int,
    **more: Any,
) -> PublishRequest:
    """One request from the path, the options in the body, and `If-Match`."""
    options = body.model_dump(include=set(_OPTIONS), exclude_unset=True)
    if if_match is not None:
        if options.get("expected_etag", if_match) != if_match:
            detail = "differs from If-Match; send only one of them"
            raise invalid_request(
                FieldError(pointer="/expected_etag", code="mismatch", detail=detail)
            )
        options["expected_etag"] = if_match
    return PublishRequest(video_id=video_id, **options, **more)


async def _enqueue(
    request: Request,
    response: Response,
    runtime: Runtime,
    publish_request: PublishRequest,
    origin: Origin,
) -> Response:
    """Enqueue, and answer the command, or the Video if it is done within `Prefer: wait`."""
    group_commit: GroupCommit = request.app.state.group_commit
    accepted = await group_commit.accept([publish_request], origin)
    command = accepted.commands[0]
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    seconds = _choose_wait(request, response, runtime.settings.publish_wait_seconds, command)
    if seconds is not None:
        async with current_turn(request).waiting():
            has_ended = await request.app.state.outcome_watcher.wait(command.id, seconds)
        if has_ended:
            found = await to_thread.run_sync(_read_result, runtime, command.id, origin)
            headers = {**response.headers, "ETag": found.etag}
            document = found.video.model_dump_json()
            return Response(document, 200, headers, media_type="application/json")
        command = await to_thread.run_sync(
            read_command, runtime.engine, command.id, origin.workspace_id
        )
    return to_accepted_response(runtime.settings.public_base_url, command, response.headers)


def to_accepted_response(
    base_url: str, command: StoredCommand, headers: Mapping[str, str]
) -> Response:
    """Return the answer to a request whose command was accepted; `headers` are added."""
    return Response(
        to_publish_command_json(base_url, command),
        202,
        {**headers, "Location": command_url(base_url, command.id)},
        media_type="application/json",
    )


def _choose_wait(
    request: Request, response: Response, by_default: int, command: StoredCommand
) -> int | None:
    """How many seconds to wait for the end of the command; None: do not wait.

    A caller without a preference waits `by_default`, except for a command of a later time.
    """
    headers = request.headers.getlist("prefer")
    preferred = parse_prefer_wait(headers)
    if preferred is not None:
        response.headers["Preference-Applied"] = f"wait={preferred}"
        return preferred
    is_later = command.due_at > command.accepted_at + timedelta(seconds=by_default)
    return None if is_later or wants_no_wait(headers) else by_default or None


def _read_result(runtime: Runtime, command_id: UUID, origin: Origin) -> VideoResource:
    """The video of a command that has ended; raises a problem with the reason if it failed."""
    command = read_command(runtime.engine, command_id, origin.workspace_id)
    if command.state not in SUCCEEDED:
        kind = ProblemKind(
            f"{command.action}-{command.state}", 409, f"{command.detail} ({command.reason})"
        )
        url = command_url(runtime.settings.public_base_url, command.id)
        raise ApiProblem(kind, command=url)
    return _read(runtime, command.video_id, origin.workspace_id)


@router.get(
    "/videos",
    operation_id="videos-list",
    summary="List and search videos",
    responses=success(
        200, "A page of videos.", {"videos": [examples.SUMMARY], "next": None, "is_partial": False}
    ),
)
def list_page(
    runtime: CurrentRuntime, caller: ReadCaller, query: Annotated[VideoFilter, Query()]
) -> Videos:
    """Return a page of videos, the highest id first, each with its next command and its plan.

    `next` is the URL of the following page. A search that finds few videos among many may stop
    before the page is full, or has any: then `is_partial` is true, and `next` continues it.
    """
    base_url = runtime.settings.public_base_url
    page = list_videos(runtime.engine, query, caller.workspace_id, base_url)
    after = page.next_before
    return Videos(
        videos=page.videos,
        next=page_url(base_url, "/videos", query, before=after) if after else None,
        is_partial=page.is_partial,
    )


@router.get(
    "/videos/{video_id}/publish/",
    operation_id="publish-plan",
    summary="See what a publish would do now",
    responses=failures(problems.NO_SUCH_VIDEO) | success(200, "The plan.", examples.PLAN),
)
def publish_plan(video_id: VideoId, runtime: CurrentRuntime, caller: ReadCaller) -> PublishPlan:
    """Check each gate with the worker's own code, without publishing."""
    found = plan(runtime.engine, video_id, caller.workspace_id, runtime.settings.public_base_url)
    if found is None:
        raise no_such_video(video_id)
    return found


@router.get(
    "/videos/{video_id}/",
    operation_id="videos-retrieve",
    summary="Read a video",
    responses=failures(problems.NO_SUCH_VIDEO),
)
def retrieve(
    response: Response, video_id: VideoId, runtime: CurrentRuntime, caller: ReadCaller
) -> Video:
    """Return the whole Video: every field that the platform documents."""
    found = _read(runtime, video_id, caller.workspace_id)
    response.headers["ETag"] = found.etag
    return found.video


@router.get(
    "/videos/{video_id}/story",
    operation_id="videos-story",
    summary="See the story of a video",
    responses=failures(problems.NO_SUCH_VIDEO)
    | success(200, "What happened, the newest first.", examples.STORY),
)
def story(video_id: VideoId, runtime: CurrentRuntime, caller: ReadCaller) -> VideoStory:
    """Return what is known of a video's commands, events, deliveries and generation.

    The newest 50 commands, with their events and the newest 100 deliveries of these. `omitted`
    names what was left out.
    """
    base_url = runtime.settings.public_base_url
    found = read_story(runtime.engine, video_id, caller.workspace_id, base_url)
    if found is None:
        raise no_such_video(video_id)
    return found


def _read(runtime: Runtime, video_id: int, workspace_id: int | None) -> VideoResource:
    found = read_video(runtime.engine, video_id, workspace_id, runtime.settings.media_base_url)
    if found is None:
        raise no_such_video(video_id)
    return found
