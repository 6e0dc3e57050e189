"""Other times for commands: changed by a caller, or recomputed by a zone's new rules."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from db.commands import changes, due_times
from db.commands.changes import Timing
from db.events import outbox
from db.session import Connection
from publish_worker_client.events.names import Action, EventType, Trigger
from schemas.command import CommandChange, CommandState
from schemas.problem import FieldError
from schemas.values.video_facts import ClaimedCommand
from worker.enqueue.new_commands import to_moments
from worker.enqueue.refusals import RequestInvalid
from worker.rules.command_events import build_announcements, build_scheduled_event
from worker.rules.local_time import Moment


def to_timing(command: ClaimedCommand, change: CommandChange) -> Timing | None:
    """Return the times after the change; None if they stay the same. Raises RequestInvalid."""
    moment = _to_moment(command, change)
    changes_time = bool(change.model_fields_set - {"publish_before"})
    before = (
        change.publish_before
        if "publish_before" in change.model_fields_set
        else command.publish_before
    )
    timing = Timing(
        id=command.id,
        asked_for=moment.at if moment else None,
        local_time=moment.local_time if moment else None,
        time_zone=moment.time_zone if moment else None,
        fold=moment.fold if moment else None,
        zone_digest=moment.zone_digest if moment else None,
        due_at=_compute_due_at(command, moment, changes_time=changes_time),
        changes_time=changes_time,
        publish_before=before,
    )
    _check(command, timing, change)
    return None if _is_unchanged(command, timing) else timing


def write_timings(
    tx: Connection, timings: Sequence[tuple[ClaimedCommand, Timing]], trigger: Trigger
) -> None:
    """Write other times to commands that are held, with their events, and commit."""
    announcements = build_announcements(command for command, _ in timings)
    events = [
        build_scheduled_event(
            _apply_timing(command, timing),
            EventType.RESCHEDULED,
            trigger,
            command.asked_for if command.asked_for != timing.asked_for else None,
        )
        for command, timing in timings
    ]
    with tx.pipeline():
        changes.reschedule(tx, [timing for _, timing in timings])
        due_times.notify_due(tx, [timing.due_at for _, timing in timings])
    outbox.append(tx, [*announcements, *(event for event in events if event)])


def _to_moment(command: ClaimedCommand, change: CommandChange) -> Moment | None:
    """Return the time that the command has after the change."""
    begin, end = to_moments(change)
    said = change.model_fields_set - {"publish_before", "time_zone", "fold"}
    wanted, other = "publish_at", "unpublish_at"
    if command.action == Action.UNPUBLISH:
        wanted, other = other, wanted
        if change.publish_before is not None:
            raise _refuse("/publish_before", "action", "the command unpublishes; it has none")
    if foreign := sorted(name for name in said if name.startswith(other)):
        detail = f"the command {_verb(command)}; use {wanted}"
        raise _refuse(f"/{foreign[0]}", "action", detail)
    if not said:
        return _keep_moment(command)
    return end if command.action == Action.UNPUBLISH else begin


def _keep_moment(command: ClaimedCommand) -> Moment | None:
    """Return the time that the command has; the digest of its zone's rules stays too."""
    if command.asked_for is None:
        return None
    return Moment(
        at=command.asked_for,
        local_time=command.local_time,
        time_zone=command.time_zone,
        fold=command.fold,
    )


def _compute_due_at(
    command: ClaimedCommand, moment: Moment | None, *, changes_time: bool
) -> datetime:
    """Return when it falls due; a command that is due or waits is checked again at once."""
    if changes_time:
        return max(moment.at, command.now) if moment else command.now
    is_ahead = command.state == CommandState.SCHEDULED and command.due_at > command.now
    return command.due_at if is_ahead else command.now


def _check(command: ClaimedCommand, timing: Timing, change: CommandChange) -> None:
    before = timing.publish_before
    if change.publish_before is not None and change.publish_before <= command.now:
        detail = "publish_before must not have passed; to give the command up, cancel it"
        raise _refuse("/publish_before", "past", detail)
    if before is not None and before <= timing.due_at:
        pointer = "/publish_before" if change.publish_before else "/publish_at"
        raise _refuse(pointer, "order", "publish_before must be later than publish_at")
    other = command.counterpart_at
    if other is None:
        return
    if command.action == Action.PUBLISH and timing.due_at >= other:
        raise _refuse("/publish_at", "order", f"the window ends before, at {other.isoformat()}")
    if command.action == Action.UNPUBLISH and timing.due_at <= other:
        raise _refuse("/unpublish_at", "order", f"the window begins later, at {other.isoformat()}")


def _is_unchanged(command: ClaimedCommand, timing: Timing) -> bool:
    return (
        command.asked_for == timing.asked_for
        and command.local_time == timing.local_time
        and command.time_zone == timing.time_zone
        and command.publish_before == timing.publish_before
    )


def _apply_timing(command: ClaimedCommand, timing: Timing) -> ClaimedCommand:
    return replace(
        command,
        asked_for=timing.asked_for,
        local_time=timing.local_time,
        time_zone=timing.time_zone,
        fold=timing.fold,
        due_at=timing.due_at,
        publish_before=timing.publish_before,
    )


def _verb(command: ClaimedCommand) -> str:
    return "unpublishes" if command.action == Action.UNPUBLISH else "publishes"


def _refuse(pointer: str, code: str, detail: str) -> RequestInvalid:
    return RequestInvalid([(0, FieldError(pointer=pointer, code=code, detail=detail))])
