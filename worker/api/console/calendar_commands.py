"""One command of the calendar: reschedule it, undo that, cancel it."""

from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ValidationError

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Action, Trigger
from schemas.audit import AuditAction
from schemas.command import CommandChange, CommandState
from schemas.times import ZoneName, list_zones
from schemas.values.actor import Actor
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.calendar import STYLES, to_words
from worker.api.console.calendar_range import CALENDAR, CalendarQuery, to_range
from worker.api.console.confirmation import Confirmed
from worker.api.console.forms import SubmittedForm
from worker.api.console.rendering import render
from worker.api.console.session import ConsoleRoute, PublisherSession, SignedIn, may_publish
from worker.api.console.sign_in import to_local_path
from worker.api.routing import Router
from worker.enqueue import changes
from worker.operations.calendar import read_title
from worker.operations.console_sessions import ConsoleSession

COMMAND = f"{CALENDAR}commands/{{command_id}}"
MESSAGE = ("done", "command", "undo_at", "undo_local", "undo_zone", "undo_fold")
"""Parameters of the calendar's address that say what the last form has done."""
M = TypeVar("M", bound=BaseModel)

router = Router(route_class=ConsoleRoute)


@router.get(COMMAND)
def show_command(
    request: Request,
    runtime: CurrentRuntime,
    session: SignedIn,
    command_id: UUID,
    zone: Annotated[ZoneName, Query()] = "UTC",
    after: str = CALENDAR,
) -> Response:
    """Show a command, with the forms that change it. A script shows this part in a dialog."""
    command = changes.read_command(runtime.engine, command_id, session.caller.workspace_id)
    shown = to_range(CalendarQuery(zone=command.time_zone or zone), None)
    local = shown.to_local(command.due_at)
    return render(
        request,
        "calendar_command.html",
        session,
        command=command,
        title=read_title(runtime.engine, command.video_id) or f"video {command.video_id}, deleted",
        style=STYLES.get(CommandState(command.state), "none"),
        zone=shown.zone,
        zones=sorted(list_zones()),
        local=local,
        words=to_words(local),
        after=to_local_path(after),
        may_publish=may_publish(session),
    )


@router.post(f"{COMMAND}/reschedule", dependencies=[audits(AuditAction.COMMAND_RESCHEDULE)])
def reschedule(
    runtime: CurrentRuntime,
    session: PublisherSession,
    by: CurrentActor,
    command_id: UUID,
    form: SubmittedForm,
) -> Response:
    """Give a command another time, and offer to undo that."""
    before = changes.read_command(runtime.engine, command_id, session.caller.workspace_id)
    change = to_change(form, before.action)
    changes.reschedule(runtime.engine, runtime.waker, command_id, change, _changer(session, by))
    return go_back(form, done="moved", command=command_id, **_to_undo(before))


@router.post(f"{COMMAND}/cancel", dependencies=[audits(AuditAction.COMMAND_CANCEL)])
def cancel(
    runtime: CurrentRuntime,
    session: PublisherSession,
    _confirmed: Confirmed,
    by: CurrentActor,
    command_id: UUID,
    form: SubmittedForm,
) -> Response:
    """Cancel a command: this is final."""
    changes.cancel(runtime.engine, runtime.waker, command_id, _changer(session, by))
    return go_back(form, done="cancelled", command=command_id)


def to_change(form: dict[str, str], action: str) -> CommandChange:
    """Return the change that a form asks for: the API's, with the API's errors.

    The form has an instant `at`, or a wall-clock time as `local` or as `date` and `time`.
    """
    return validate(CommandChange, to_time_fields(form, action))


def to_time_fields(form: dict[str, str], action: str) -> dict[str, Any]:
    """Return the fields of a request that say when, from a form."""
    name = "unpublish_at" if action == Action.UNPUBLISH else "publish_at"
    fields: dict[str, Any] = {}
    if "at" in form:
        fields[name] = form["at"]
    else:
        fields[f"{name}_local"] = form.get("local") or f"{form.get('date')}T{form.get('time')}"
        fields["time_zone"] = form.get("zone")
        if fold := form.get("fold"):
            fields["fold"] = int(fold) if fold in "01" else fold
    return fields


def validate(kind: type[M], fields: dict[str, Any]) -> M:
    """Return the request with these fields, with the API's errors: RequestValidationError."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(found) from error


def _to_undo(before: StoredCommand) -> dict[str, Any]:
    """Return what restores a command's time, in the form in which it was requested."""
    if before.local_time is None:
        return {"undo_at": (before.asked_for or before.due_at).isoformat()}
    return {
        "undo_local": before.local_time.isoformat(),
        "undo_zone": before.time_zone,
        "undo_fold": before.fold,
    }


def go_back(form: dict[str, str], **message: Any) -> Response:
    """Return to the page that the form was on; its address says what was done."""
    parts = urlsplit(to_local_path(form.get("after", CALENDAR)))
    kept = [each for each in parse_qsl(parts.query) if each[0] not in MESSAGE]
    said = [(name, str(value)) for name, value in message.items() if value is not None]
    path = parts.path if parts.path == CALENDAR else CALENDAR
    return RedirectResponse(f"{path}?{urlencode(kept + said)}", 303)


def _changer(session: ConsoleSession, by: Actor) -> changes.Changer:
    return changes.Changer(trigger=Trigger.API, workspace_id=session.caller.workspace_id, actor=by)
