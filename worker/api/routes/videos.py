"""Videos: publish one, withdraw it, see the plan, see the whole resource."""

from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import Body, Header, Request, Response
from pydantic import Discriminator, Tag

from schemas.command import (
    Action,
    CommandState,
    PublishBody,
    PublishCommand,
    PublishOptions,
    PublishRequest,
    UnpublishOptions,
)
from schemas.plan import PublishPlan
from schemas.problem import FieldError
from schemas.video import Video
from worker.api.auth import Here, NeedsKey, Reader
from worker.api.command_resource import command_url, command_view
from worker.api.documents import openapi
from worker.api.enqueue_request import From, JsonOnly, VideoId, accept
from worker.api.prefer_wait import preferred_wait
from worker.api.problems import DOCUMENTED, OPTIONS, ApiProblem, invalid, no_such_video
from worker.api.routing import Router
from worker.api.video_resource import Resource, read_video
from worker.enqueue.accept import Origin
from worker.enqueue.changes import show
from worker.publish.plan import plan
from worker.runtime.runtime import Runtime

router = Router(tags=["videos"], dependencies=[NeedsKey])


GOOD = (CommandState.PUBLISHED, CommandState.UNPUBLISHED, CommandState.UNCHANGED)
_OPTIONS = PublishOptions.model_fields.keys()

IfMatch = Annotated[
    str | None,
    Header(
        description="The Video's ETag: refused if it was changed since. RFC 9110.",
        min_length=1,
        max_length=255,
        examples=['"3f5a9c0d1e2b4a6f8c7d"'],
    ),
]


def _shape(body: Any) -> str:
    """A body of options alone needs no Video; any other is the documented request."""
    return OPTIONS if isinstance(body, dict) and body and body.keys() <= _OPTIONS else DOCUMENTED


AnyBody = Annotated[
    Annotated[PublishBody, Tag(DOCUMENTED)] | Annotated[PublishOptions, Tag(OPTIONS)],
    Discriminator(_shape),
]


@router.post(
    "/videos/{video_id}/publish/",
    operation_id="publish-create",
    summary="Publish a video",
    status_code=202,
    dependencies=[JsonOnly],
    responses=openapi.PUBLISH_RESPONSES,
)
async def publish(
    request: Request,
    response: Response,
    video_id: VideoId,
    runtime: Here,
    origin: From,
    body: Annotated[AnyBody | None, Body(openapi_examples=openapi.PUBLISH_EXAMPLES)] = None,
    prefer: Annotated[  # noqa: ARG001 - read from the request, where it may come more than once
        str | None, Header(description="`wait=N`: answer once it is published. RFC 7240.")
    ] = None,
    if_match: IfMatch = None,
) -> PublishCommand | Video:
    """Accept the command and answer `202`; it is carried out once the video is ready, and not
    before `publish_at`.

    Without a body the video is published as it is. With one, it is the platform's documented
    request: what it says of title, description, visibility, category, subcategory, tags,
    cover_image and thumbnail is applied as the video is published. What the pipeline owns may be
    there, and is never written.

    With `unpublish_at` it becomes a window: a second command, the answer's `counterpart`, withdraws
    the video again.

    With `If-Match`, or `expected_revision`, the video is published only in the version that was
    seen: `412` if it was changed since, and `rejected` if that happens before its time comes.

    With `Prefer: wait=N` the answer is the whole Video once it is published, or `202` if N seconds
    did not suffice.
    """
    asked = _request(
        body, if_match, video_id, video=body if isinstance(body, PublishBody) else None
    )
    return await _accepted(request, response, runtime, asked, origin)


@router.post(
    "/videos/{video_id}/unpublish/",
    operation_id="unpublish-create",
    summary="Withdraw a video",
    status_code=202,
    dependencies=[JsonOnly],
    responses=openapi.UNPUBLISH_RESPONSES,
)
async def unpublish(
    request: Request,
    response: Response,
    video_id: VideoId,
    runtime: Here,
    origin: From,
    body: Annotated[
        UnpublishOptions | None, Body(openapi_examples=openapi.UNPUBLISH_EXAMPLES)
    ] = None,
    prefer: Annotated[  # noqa: ARG001 - read from the request, where it may come more than once
        str | None, Header(description="`wait=N`: answer once it is withdrawn. RFC 7240.")
    ] = None,
    if_match: IfMatch = None,
) -> PublishCommand | Video:
    """Accept the withdrawal and answer `202`: at once, or at `unpublish_at`.

    The video becomes a draft again. Its URL is kept for the day it comes back, and leads nowhere
    until then.
    """
    asked = _request(body, if_match, video_id, action=Action.UNPUBLISH)
    return await _accepted(request, response, runtime, asked, origin)


def _request(
    options: PublishOptions | UnpublishOptions | None,
    if_match: str | None,
    video_id: int,
    **more: Any,
) -> PublishRequest:
    """One request, from the path, the options in the body, and `If-Match`."""
    said = options.model_dump(include=set(_OPTIONS), exclude_unset=True) if options else {}
    if if_match is not None:
        if said.get("expected_etag", if_match) != if_match:
            detail = "differs from If-Match; say one of them"
            raise invalid([FieldError(pointer="/expected_etag", code="mismatch", detail=detail)])
        said["expected_etag"] = if_match
    return PublishRequest(video_id=video_id, **said, **more)


async def _accepted(
    request: Request, response: Response, runtime: Runtime, asked: PublishRequest, origin: Origin
) -> PublishCommand | Video:
    """The command, or the Video if the caller prefers to wait and it is done by then."""
    accepted = await to_thread.run_sync(accept, runtime, [asked], origin)
    command = accepted.commands[0]
    if accepted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    seconds = preferred_wait(request.headers.getlist("prefer"))
    if seconds is not None:
        response.headers["Preference-Applied"] = f"wait={seconds}"
        if await request.app.state.outcomes.wait(command.id, seconds):
            found = await to_thread.run_sync(_done, runtime, command.id, origin)
            response.status_code = 200
            response.headers["ETag"] = found.etag
            return found.video
        command = await to_thread.run_sync(show, runtime.engine, command.id, origin.workspace_id)
    base_url = runtime.settings.public_base_url
    response.headers["Location"] = command_url(base_url, command.id)
    return command_view(base_url, command)


def _done(runtime: Runtime, command_id: UUID, origin: Origin) -> Resource:
    """The video, its command having ended well; a problem that says why, if it has not."""
    command = show(runtime.engine, command_id, origin.workspace_id)
    if command.state not in GOOD:
        raise ApiProblem(
            status=409,
            kind=f"{command.action}-{command.state}",
            title=f"{command.action.capitalize()} {command.state}",
            detail=f"{command.detail} ({command.reason})",
            command=command_url(runtime.settings.public_base_url, command.id),
        )
    return _read(runtime, command.video_id, origin.workspace_id)


@router.get(
    "/videos/{video_id}/publish/",
    operation_id="publish-plan",
    summary="See what a publish would do now",
    responses=openapi.PLAN_RESPONSES,
)
def publish_plan(video_id: VideoId, runtime: Here, caller: Reader) -> PublishPlan:
    """Go through the gates one by one, without doing anything: the worker's own code."""
    found = plan(runtime.engine, video_id, caller.workspace_id, runtime.settings.public_base_url)
    if found is None:
        raise no_such_video(video_id)
    return found


@router.get(
    "/videos/{video_id}/",
    operation_id="videos-retrieve",
    summary="See a video",
    responses=openapi.READ_RESPONSES,
)
def retrieve(response: Response, video_id: VideoId, runtime: Here, caller: Reader) -> Video:
    """Return the whole Video, every field that the platform documents."""
    found = _read(runtime, video_id, caller.workspace_id)
    response.headers["ETag"] = found.etag
    return found.video


def _read(runtime: Runtime, video_id: int, workspace_id: int | None) -> Resource:
    found = read_video(runtime.engine, video_id, workspace_id)
    if found is None:
        raise no_such_video(video_id)
    return found
