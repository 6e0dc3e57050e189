"""The page of one video: its story, and what can be done with it."""

from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from publish_worker_client.events.names import Action, Trigger
from schemas.audit import AuditAction
from schemas.command import CommandState, PublishRequest
from schemas.story import Omission, StoryEntry, StoryKind
from schemas.times import list_zones
from schemas.values.actor import Actor
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.confirmation import Confirmed
from worker.api.console.forms import SubmittedForm, to_field_errors
from worker.api.console.rendering import render
from worker.api.console.session import PATH, ConsoleRoute, PublisherSession, SignedIn, may_publish
from worker.api.enqueue_request import VideoId
from worker.api.middleware import correlation_id, traceparent
from worker.api.problems import invalid_request, no_such_video
from worker.api.routing import Router
from worker.enqueue import changes
from worker.enqueue.accept import enqueue
from worker.enqueue.changes import Changer
from worker.enqueue.origin import Origin
from worker.operations.console_sessions import ConsoleSession
from worker.operations.story import read_story

OMITTED = {
    Omission.EARLIER_REPORTS: "Only the pipeline's last report is stored.",
    Omission.OLDER_COMMANDS: "Older commands are left out.",
    Omission.EVENTS: "The events of some commands are not stored any more.",
    Omission.OLDER_DELIVERIES: "Older webhook deliveries are left out.",
    Omission.EARLIER_ATTEMPTS: (
        "Of each delivery, only the last five attempts are shown; of each command, the last ten"
        " that failed."
    ),
}
STYLES = {
    CommandState.PUBLISHED: "good",
    CommandState.UNPUBLISHED: "calm",
    CommandState.FAILED: "bad",
    CommandState.REJECTED: "warn",
    CommandState.EXPIRED: "warn",
}

router = Router(route_class=ConsoleRoute)


@router.get(f"{PATH}/videos/{{video_id}}")
def show_video(
    request: Request, runtime: CurrentRuntime, session: SignedIn, video_id: VideoId
) -> Response:
    """Show everything that is known of a video, the newest step first."""
    workspace_id = session.caller.workspace_id
    base_url = runtime.settings.public_base_url
    story = read_story(runtime.engine, video_id, workspace_id, base_url)
    if story is None:
        raise no_such_video(video_id)
    return render(
        request,
        "video.html",
        session,
        story=story,
        steps=[(step, to_style(step)) for step in story.entries],
        open_commands=[
            step
            for step in story.entries
            if step.kind is StoryKind.COMMAND_ACCEPTED and step.state and not step.state.is_outcome
        ],
        omitted=[OMITTED[each] for each in story.omitted],
        zones=sorted(list_zones()),
        may_publish=may_publish(session),
    )


@router.post(
    f"{PATH}/videos/{{video_id}}/commands", dependencies=[audits(AuditAction.COMMAND_CREATE)]
)
def create_command(
    request: Request,
    runtime: CurrentRuntime,
    session: PublisherSession,
    actor: CurrentActor,
    video_id: VideoId,
    form: SubmittedForm,
) -> Response:
    """Accept a command to publish or unpublish the video: now, at a time, or for a time."""
    origin = to_origin(request, session, actor)
    enqueue(runtime.engine, runtime.waker, [to_request(video_id, form)], origin)
    return _back_to(video_id)


@router.get(f"{PATH}/commands/{{command_id}}")
def find_command(runtime: CurrentRuntime, session: SignedIn, command_id: UUID) -> Response:
    """Lead to the video of a command."""
    command = changes.read_command(runtime.engine, command_id, session.caller.workspace_id)
    return _back_to(command.video_id)


@router.post(
    f"{PATH}/commands/{{command_id}}/cancel", dependencies=[audits(AuditAction.COMMAND_CANCEL)]
)
def cancel(
    runtime: CurrentRuntime,
    session: PublisherSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    command_id: UUID,
) -> Response:
    """Cancel a command that is open."""
    by = Changer(trigger=Trigger.API, workspace_id=session.caller.workspace_id, actor=actor)
    return _back_to(changes.cancel(runtime.engine, runtime.waker, command_id, by).video_id)


@router.post(
    f"{PATH}/commands/{{command_id}}/retry", dependencies=[audits(AuditAction.COMMAND_RETRY)]
)
def retry(
    runtime: CurrentRuntime, session: PublisherSession, actor: CurrentActor, command_id: UUID
) -> Response:
    """Give a failed command new attempts."""
    workspace_id = session.caller.workspace_id
    command = changes.retry(runtime.engine, runtime.waker, command_id, workspace_id, actor)
    return _back_to(command.video_id)


def to_origin(request: Request, session: ConsoleSession, actor: Actor) -> Origin:
    """Return where a command of this session comes from."""
    return Origin(
        trigger=Trigger.API,
        correlation_id=correlation_id(request.scope),
        traceparent=traceparent(request.scope),
        workspace_id=session.caller.workspace_id,
        requested_by=session.caller.id,
        actor=actor,
    )


def to_request(video_id: int, form: dict[str, str]) -> PublishRequest:
    """Return the request that a form describes. Raises ApiProblem.

    A time of the form is a wall-clock time in its `time_zone`, without seconds.
    """
    action = Action.UNPUBLISH if form.get("action") == Action.UNPUBLISH else Action.PUBLISH
    fields: dict[str, Any] = {"video_id": video_id, "action": action}
    if at := form.get("at"):
        fields[f"{action}_at_local"] = at
    if action is Action.PUBLISH and (until := form.get("until")):
        fields["unpublish_at_local"] = until
    if at or "unpublish_at_local" in fields:
        fields["time_zone"] = form.get("time_zone")
    try:
        return PublishRequest.model_validate(fields)
    except ValidationError as error:
        raise invalid_request(*to_field_errors(error)) from None


def to_style(step: StoryEntry) -> str:
    """Return how a step looks on the timeline."""
    if step.kind is StoryKind.COMMAND_ENDED and step.state:
        return STYLES.get(step.state, "")
    if step.kind is StoryKind.COMMAND_ATTEMPT_FAILED:
        return "bad"
    if step.kind is StoryKind.DELIVERY_ATTEMPTED:
        is_success = step.status is not None and step.status < 300  # noqa: PLR2004
        return "good" if is_success else "bad"
    return "calm" if step.kind is StoryKind.EVENT_RECORDED else ""


def _back_to(video_id: int) -> Response:
    return RedirectResponse(f"{PATH}/videos/{video_id}", 303)
