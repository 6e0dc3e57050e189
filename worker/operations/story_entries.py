"""The steps of a video's story: from rows to entries."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from db.commands.attempts import MAX_SHOWN, FailedAttempt
from db.videos.story import StoryAttempt, StoryCommand, StoryDelivery, StoryEvent, StoryState
from publish_worker_client.events.names import Action, EventType, Trigger
from schemas.command import CommandState
from schemas.story import StoryEntry, StoryKind
from schemas.webhook import DeliveryState


def build_created(state: StoryState) -> StoryEntry:
    """The video's creation."""
    text = "The video was created."
    return StoryEntry(at=state.created_at, kind=StoryKind.VIDEO_CREATED, text=text)


def list_reports(state: StoryState) -> Iterator[StoryEntry]:
    """The last report of generation, if there is one."""
    if state.run is None or state.reported_at is None:
        return
    if state.is_final:
        result = "completed" if state.completed else "failed"
    else:
        result = f"is at {state.progress} %"
    yield StoryEntry(
        at=state.reported_at,
        kind=StoryKind.GENERATION_REPORTED,
        text=f"The pipeline reported: run {state.run} {result}.",
        detail=state.detail,
    )


def list_command_steps(commands: Iterable[StoryCommand]) -> Iterator[StoryEntry]:
    """The steps of each command, as far as it has come."""
    for command in commands:
        yield from _list_steps(command)


def _list_steps(command: StoryCommand) -> Iterator[StoryEntry]:
    known = _describe_command(command)
    name = f"The {command.action} command"
    yield StoryEntry(
        at=command.accepted_at,
        kind=StoryKind.COMMAND_ACCEPTED,
        text=f"{name} was accepted{_describe_time(command)}.",
        reason=None if command.finished_at else command.reason,
        detail=None if command.finished_at else command.detail,
        **known,
    )
    due_at = command.fell_due_at
    if due_at is not None:
        yield StoryEntry(
            at=due_at,
            kind=StoryKind.COMMAND_DUE,
            text=f"{name} became due.",
            duration_seconds=_measure(command.accepted_at, due_at),
            **known,
        )
    if command.claimed_at is not None:
        yield StoryEntry(
            at=command.claimed_at,
            kind=StoryKind.COMMAND_CLAIMED,
            text=f"A worker took the {command.action} command.",
            duration_seconds=_measure(due_at, command.claimed_at),
            **known,
        )
    if command.finished_at is not None:
        yield StoryEntry(
            at=command.finished_at,
            kind=StoryKind.COMMAND_ENDED,
            text=f"{name} ended as {command.state}{_describe_attempts(command.attempts)}.",
            duration_seconds=_measure(command.claimed_at, command.finished_at),
            reason=command.reason,
            detail=command.detail,
            **known,
        )


def list_failed_attempts(
    commands: Iterable[StoryCommand], attempts: Iterable[FailedAttempt]
) -> Iterator[StoryEntry]:
    """The last failed attempts at these commands, each with its error."""
    known = {command.id: _describe_command(command) for command in commands}
    for attempt in attempts:
        if attempt.nth_last <= MAX_SHOWN:
            command = known[attempt.command_id]
            yield StoryEntry(
                at=attempt.failed_at,
                kind=StoryKind.COMMAND_ATTEMPT_FAILED,
                text=f"Attempt {attempt.attempt} at the {command['action']} command failed.",
                detail=attempt.error,
                **command,
            )


def list_events(events: Iterable[StoryEvent]) -> Iterator[StoryEntry]:
    """The events, each with its position."""
    for event in events:
        yield StoryEntry(
            at=event.occurred_at,
            kind=StoryKind.EVENT_RECORDED,
            text=f"The event {event.type} was recorded at position {event.position}.",
            command_id=event.command_id,
            position=event.position,
            event_type=EventType(event.type),
        )


def list_delivery_steps(
    deliveries: Sequence[StoryDelivery], attempts: Iterable[StoryAttempt]
) -> Iterator[StoryEntry]:
    """The steps of each delivery: its creation, its last attempts and its end."""
    known = {delivery.id: _describe_delivery(delivery) for delivery in deliveries}
    for delivery in deliveries:
        target = f"{delivery.event_type} to {delivery.url}"
        yield StoryEntry(
            at=delivery.created_at,
            kind=StoryKind.DELIVERY_CREATED,
            text=f"A delivery of {target} was created.",
            **known[delivery.id],
        )
        if delivery.finished_at is not None:
            yield StoryEntry(
                at=delivery.finished_at,
                kind=StoryKind.DELIVERY_ENDED,
                text=f"The delivery of {target} ended as {delivery.state}.",
                duration_seconds=_measure(delivery.created_at, delivery.finished_at),
                **known[delivery.id],
            )
    for attempt in attempts:
        yield _to_attempt(attempt, known[attempt.delivery_id])


def _describe_command(command: StoryCommand) -> dict[str, Any]:
    return {
        "command_id": command.id,
        "action": Action(command.action),
        "state": CommandState(command.state),
        "trigger": Trigger(command.trigger),
        "attempts": command.attempts,
    }


def _describe_delivery(delivery: StoryDelivery) -> dict[str, Any]:
    return {
        "position": delivery.position,
        "event_type": EventType(delivery.event_type),
        "delivery_id": delivery.id,
        "delivery_state": DeliveryState(delivery.state),
        "endpoint_id": delivery.endpoint_id,
        "endpoint_url": delivery.url,
        "attempts": delivery.attempts,
    }


def _to_attempt(attempt: StoryAttempt, known: dict[str, Any]) -> StoryEntry:
    answer = f"answered {attempt.status}" if attempt.status else "did not answer"
    return StoryEntry(
        at=attempt.started_at,
        kind=StoryKind.DELIVERY_ATTEMPTED,
        text=f"{known['endpoint_url']} {answer}.",
        duration_seconds=attempt.duration_ms / 1000,
        detail=attempt.error,
        status=attempt.status,
        **known,
    )


def _describe_time(command: StoryCommand) -> str:
    return f" for {command.asked_for:%Y-%m-%d %H:%M:%S} UTC" if command.asked_for else ""


def _describe_attempts(attempts: int) -> str:
    return f" after {attempts} failed attempt{'s' if attempts > 1 else ''}" if attempts else ""


def _measure(start: datetime | None, end: datetime) -> float | None:
    """Return the seconds between two steps; None if the first is not known or was repeated."""
    if start is None or end < start:
        return None
    return (end - start).total_seconds()
