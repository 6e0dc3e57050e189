"""Schedule from the calendar: find a video, and choose a time.

It is a page of its own; a script shows it in a dialog, with the time of the slot that was chosen.
"""

from datetime import datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query, Request, Response
from pydantic import Field
from sqlalchemy import Engine

from publish_worker_client.events.names import Action
from schemas.audit import AuditAction
from schemas.command import PublishRequest
from schemas.fields import INT64_MAX, Frozen, ShortText
from schemas.problem import FieldError
from schemas.times import ZoneName, list_zones
from schemas.video_list import VideoFilter, VideoSummary
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.calendar_commands import go_back, to_time_fields, validate
from worker.api.console.calendar_range import CALENDAR, Day
from worker.api.console.forms import SubmittedForm
from worker.api.console.rendering import render
from worker.api.console.session import ConsoleRoute, PublisherSession
from worker.api.console.sign_in import to_local_path
from worker.api.console.video import to_origin
from worker.api.problems import invalid_request
from worker.api.routing import Router
from worker.enqueue.accept import enqueue
from worker.operations.video_list import VideoPage, list_videos

NEW = f"{CALENDAR}new"
FOUND = 8
"""Videos that a search shows."""
MAX_DIGITS = 18
NINE = time(9)

router = Router(route_class=ConsoleRoute)


class NewQuery(Frozen):
    """The parameters of the page's address."""

    video: ShortText = ""
    """What is searched for: a part of a title, or an id."""
    date: Day | None = None
    time: Annotated[str, Field(pattern=r"^\d\d:\d\d(:\d\d)?$")] | None = None
    zone: ZoneName = "UTC"
    workspace: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """For keys that see every workspace."""
    after: str = CALENDAR


@router.get(NEW)
def show_new(
    request: Request,
    runtime: CurrentRuntime,
    session: PublisherSession,
    query: Annotated[NewQuery, Query()],
) -> Response:
    """Show the form, with the videos that match the search."""
    own = session.caller.workspace_id
    within = query.workspace if own is None else own
    base_url = runtime.settings.public_base_url
    found = find_videos(runtime.engine, query.video.strip(), within, base_url)
    local = to_prefilled(query)
    return render(
        request,
        "calendar_new.html",
        session,
        asked=query,
        found=found,
        local=local,
        actions=list(Action),
        zones=sorted(list_zones()),
        every_workspace=own is None,
        after=to_local_path(query.after),
    )


@router.post(NEW, dependencies=[audits(AuditAction.COMMAND_CREATE)])
def schedule(
    request: Request,
    runtime: CurrentRuntime,
    session: PublisherSession,
    actor: CurrentActor,
    form: SubmittedForm,
) -> Response:
    """Accept the command, and return to the calendar."""
    origin = to_origin(request, session, actor)
    accepted = enqueue(runtime.engine, runtime.waker, [to_request(form)], origin)
    return go_back(form, done="scheduled", command=accepted.commands[0].id)


def find_videos(
    engine: Engine, text: str, workspace_id: int | None, base_url: str
) -> list[VideoSummary]:
    """Return the video with this id, and the newest with this text in their titles."""

    def search(**wanted: object) -> VideoPage:
        return list_videos(engine, VideoFilter.model_validate(wanted), workspace_id, base_url)

    found = search(title=text or None, limit=FOUND).videos
    number = _to_id(text)
    if number is None:
        return found
    same = search(before=number + 1, limit=1).videos
    by_id = [each for each in same if each.id == number]
    return [*by_id, *(each for each in found if each.id != number)][:FOUND]


def to_prefilled(query: NewQuery) -> datetime:
    """Return the time that the form begins with: the slot's, or else the next hour or 09:00."""
    now = datetime.now(ZoneInfo(query.zone)).replace(tzinfo=None)
    day = query.date or now.date()
    if query.time:
        return datetime.combine(day, time.fromisoformat(query.time))
    if day == now.date():
        return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return datetime.combine(day, NINE)


def to_request(form: dict[str, str]) -> PublishRequest:
    """Return the request that the form describes. Raises ApiProblem, RequestValidationError."""
    video_id = _to_id(form.get("video_id", ""))
    if video_id is None:
        error = FieldError(pointer="/video_id", code="missing", detail="Choose a video.")
        raise invalid_request(error)
    action = Action.UNPUBLISH if form.get("action") == Action.UNPUBLISH else Action.PUBLISH
    fields = {"video_id": video_id, "action": action, **to_time_fields(form, action)}
    return validate(PublishRequest, fields)


def _to_id(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) > 0
    return int(text) if is_number else None
