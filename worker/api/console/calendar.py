"""The calendar: what is scheduled, by month, week, day or as a list, in any time zone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse

from db.commands.calendar import CalendarCommand
from db.commands.calendar_pages import Place, SpanCount
from publish_worker_client.events.names import Action
from schemas.command import CommandState
from schemas.times import list_zones
from worker.api.auth import CurrentRuntime
from worker.api.console.calendar_range import CALENDAR, CalendarQuery, ShownRange, View, to_range
from worker.api.console.rendering import HEADERS, render
from worker.api.console.session import ConsoleRoute, SignedIn, may_publish
from worker.api.routing import Router
from worker.enqueue import changes
from worker.enqueue.refusals import NoSuchCommand
from worker.operations.calendar import FIRST_ID, PAGE, Schedule, read_schedule
from worker.operations.console_sessions import ConsoleSession
from worker.runtime.runtime import Runtime

WORDS = {Action.PUBLISH: "publish", Action.UNPUBLISH: "unpublish"}
STYLES = {
    CommandState.SCHEDULED: "calm",
    CommandState.WAITING: "warn",
    CommandState.PUBLISHED: "good",
    CommandState.UNPUBLISHED: "good",
    CommandState.FAILED: "bad",
    CommandState.REJECTED: "warn",
    CommandState.EXPIRED: "warn",
}
"""How a state looks; others are muted."""

router = Router(route_class=ConsoleRoute)
Asked = Annotated[CalendarQuery, Query()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """A command as the page shows it."""

    command: CalendarCommand
    title: str
    local: datetime
    """When it is due, on the zone's clocks."""
    style: str
    conflict: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCount:
    """The number of commands of a day or an hour, with the way to them."""

    begins: datetime
    """On the zone's clocks."""
    is_day: bool
    text: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What has just been done, in words, and the form's values that undo it."""

    text: str
    path: str
    undo: dict[str, str]


@router.get(CALENDAR)
def show_calendar(
    request: Request, runtime: CurrentRuntime, session: SignedIn, query: Asked
) -> Response:
    """Show a range of the calendar, and its commands as a list."""
    shown = to_range(query, session.caller.workspace_id)
    schedule = _read(runtime, session, shown)
    entries = [_to_entry(each, schedule, shown) for each in schedule.commands]
    first_hour = min((entry.local.hour for entry in entries), default=8)
    return render(
        request,
        "calendar.html",
        session,
        shown=shown,
        views=list(View),
        zones=sorted(list_zones()),
        has_zone=query.zone is not None,
        schedule=schedule,
        entries=entries,
        scroll=f"{first_hour:02}:00:00",
        tag=_to_document(schedule, shown, session)[1],
        counts=_to_shown_counts(schedule.counts, shown),
        page=PAGE,
        older=schedule.next and _to_page_url(shown, schedule.next),
        first=_to_page_url(shown, Place(shown.begin, FIRST_ID)),
        may_publish=may_publish(session),
        every_workspace=session.caller.workspace_id is None,
        done=_describe_done(runtime, session, query, shown),
    )


@router.get(f"{CALENDAR}commands")
def list_commands(
    request: Request, runtime: CurrentRuntime, session: SignedIn, query: Asked
) -> Response:
    """Return what the calendar's script draws, as JSON: commands, or numbers of too many.

    The script asks again when something has happened somewhere, and is mostly answered with 304.
    """
    shown = to_range(query, session.caller.workspace_id)
    document, tag = _to_document(_read(runtime, session, shown), shown, session)
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return JSONResponse(document, headers=headers)


def _to_document(
    schedule: Schedule, shown: ShownRange, session: ConsoleSession
) -> tuple[dict[str, Any], str]:
    """Return what the script draws, and the ETag of that and of the page of the list."""
    commands = [_to_json(_to_entry(each, schedule, shown), session) for each in schedule.commands]
    document: dict[str, Any] = {
        "commands": commands if schedule.is_complete else [],
        "counts": [
            {"local": f"{each.begins:%Y-%m-%dT%H:%M:%S}", "text": each.text, "url": each.url}
            for each in _to_shown_counts(schedule.counts, shown)
        ],
        "is_complete": schedule.is_complete,
        "clock_changes": [each.describe() for each in schedule.clock_changes],
    }
    return document, f'"{sha256(json.dumps([document, commands]).encode()).hexdigest()}"'


def _read(runtime: Runtime, session: ConsoleSession, shown: ShownRange) -> Schedule:
    own = session.caller.workspace_id
    workspace_id = own if own is not None else shown.workspace
    after = Place(shown.from_at, shown.from_id) if shown.from_at else None
    return read_schedule(runtime.engine, shown.bounds, shown.zone, workspace_id, after)


def _to_shown_counts(counts: Sequence[SpanCount], shown: ShownRange) -> list[ShownCount]:
    """Return the numbers as links: from a month to its days, from a grid to the list of an hour."""
    is_day = shown.view in (View.MONTH, View.AGENDA)
    return [
        ShownCount(
            begins=(local := shown.to_local(each.begins_at)),
            is_day=is_day,
            text=_to_words_of_count(each),
            url=shown.to_url(view=View.DAY, day=local.date())
            if is_day
            else _to_page_url(shown, Place(each.begins_at, FIRST_ID)),
        )
        for each in counts
    ]


def _to_words_of_count(count: SpanCount) -> str:
    plus = "+" if count.is_bounded else ""
    return f"{count.count:,}{plus} {'command' if count.count == 1 and not plus else 'commands'}"


def _to_page_url(shown: ShownRange, place: Place) -> str:
    return shown.to_url(from_at=place.due_at.isoformat(), from_id=place.id) + "#agenda"


def _to_entry(command: CalendarCommand, schedule: Schedule, shown: ShownRange) -> ScheduleEntry:
    return ScheduleEntry(
        command=command,
        title=command.title if command.title is not None else f"video {command.video_id}, deleted",
        local=shown.to_local(command.due_at),
        style=STYLES.get(CommandState(command.state), "none"),
        conflict=schedule.conflicts.get(command.id),
    )


def _to_json(entry: ScheduleEntry, session: ConsoleSession) -> dict[str, Any]:
    command = entry.command
    return {
        "id": str(command.id),
        "title": entry.title,
        "video_id": command.video_id,
        "workspace_id": command.workspace_id if session.caller.workspace_id is None else None,
        "action": command.action,
        "state": command.state,
        "style": entry.style,
        "is_open": command.is_open,
        "due_at": f"{command.due_at.isoformat()}",
        "local": entry.local.replace(tzinfo=None).isoformat(timespec="seconds"),
        "conflict": entry.conflict,
    }


def _describe_done(
    runtime: Runtime, session: ConsoleSession, query: CalendarQuery, shown: ShownRange
) -> Done | None:
    """Say what the last form has done; the command's state is read, not taken from the address."""
    if query.command is None or query.done is None:
        return None
    try:
        command = changes.read_command(runtime.engine, query.command, session.caller.workspace_id)
    except NoSuchCommand:
        return None
    text = f"The command is now {command.state}"
    if command.state == CommandState.SCHEDULED:
        text += f" for {to_words(shown.to_local(command.due_at))} in {shown.zone}"
    given = query.model_dump(include={"undo_at", "undo_local", "undo_zone", "undo_fold"})
    undo = {name.removeprefix("undo_"): value for name, value in given.items() if value is not None}
    is_open = command.finished_at is None and query.done == "moved"
    return Done(
        text=f"{text}.",
        path=f"{CALENDAR}commands/{command.id}/reschedule",
        undo=undo if is_open and may_publish(session) else {},
    )


def to_words(local: datetime) -> str:
    """Return a wall-clock time in words: `Tue 1 December 2026, 18:00`."""
    seconds = f":{local:%S}" if local.second else ""
    return f"{local:%a} {local.day} {local:%B %Y}, {local:%H:%M}{seconds}"
