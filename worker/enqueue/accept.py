"""Enqueue: write publish commands to the inbox in one transaction, and wake Celery."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Engine

from db.commands import claim, due_times, idempotency, inbox, limits
from db.commands.inbox import NewCommand, StoredCommand
from db.events import outbox
from db.session import Connection, transaction
from db.videos import lookup
from schemas.command import Action, PublishRequest, Trigger
from schemas.events import EventType
from schemas.fields import MAX_NAME, ShortText
from worker.enqueue.checks import (
    refuse_changed_videos,
    refuse_contradictions,
    refuse_excess,
    refuse_unknown_videos,
)
from worker.enqueue.new_commands import PlannedCommand, plan_commands
from worker.enqueue.refusals import EnqueueRefused, KeyReused, TooManyCommands
from worker.rules.command_events import build_scheduled_event
from worker.runtime.wake_ups import Waker

_short_text: TypeAdapter[str | None] = TypeAdapter(ShortText | None)
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where requests come from."""

    trigger: Trigger
    """Which door they came through; events name it."""
    correlation_id: str
    """The caller's name for the whole job, such as `job-4711`; every event and log line has it."""
    traceparent: str | None = None
    """The W3C trace context of the caller."""
    workspace_id: int | None
    """The workspace that the caller is confined to. None, every workspace, must be said."""
    idempotency_scope: str = ""
    """The caller that the idempotency key belongs to: keys of other scopes never collide."""
    idempotency_key: str | None = None
    """A second call with this key returns the commands of the first; None: every call is new."""

    def __post_init__(self) -> None:
        """Raise EnqueueRefused for text that cannot be stored, or is too long."""
        for name in ("correlation_id", "traceparent", "idempotency_scope", "idempotency_key"):
            try:
                _short_text.validate_python(getattr(self, name))
            except ValidationError:
                text = f"{name} must be storable text of at most {MAX_NAME} characters."
                raise EnqueueRefused(text) from None


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The commands in the inbox, in the order of the requests."""

    commands: list[StoredCommand]
    replayed: bool
    """Whether an earlier call with the idempotency key enqueued them; this one wrote nothing."""


def enqueue(
    engine: Engine, waker: Waker, requests: Sequence[PublishRequest], origin: Origin
) -> Accepted:
    """Accept all of the requests, or none, in one transaction; then wake Celery.

    Once this returns, each command is carried out once, whatever happens to Redis or Celery.

    engine: the database, `Runtime.engine`.
    waker: `Runtime.waker`; if Redis or the broker is down, the sweep finds the commands.
    requests: at least one; one with `unpublish_at` becomes two commands, publish and unpublish.
    origin: where the requests come from.

    Raises NoSuchVideo, RequestInvalid, VideoChanged, TooManyCommands or KeyReused
    (worker.enqueue.refusals), and what the database raises when it is unreachable; then nothing was
    written.
    """
    try:
        with transaction(engine) as tx:
            accepted = _replay(tx, requests, origin) or _accept(tx, requests, origin)
    except TooManyCommands as excess:
        with transaction(engine) as tx:  # keep the count, which was rolled back
            limits.count_open(tx, (), excess.workspace_ids)
        raise
    if not accepted.replayed:
        waker.wake()
        log.info(
            "commands.accepted",
            commands=len(accepted.commands),
            command_id=str(accepted.commands[0].id),
            correlation_id=origin.correlation_id,
            trigger=origin.trigger,
        )
    return accepted


def _replay(tx: Connection, requests: Sequence[PublishRequest], origin: Origin) -> Accepted | None:
    """Return the commands of an earlier call with this idempotency key; None: there was none."""
    if origin.idempotency_key is None:
        return None
    known = idempotency.recall(tx, scope=origin.idempotency_scope, key=origin.idempotency_key)
    if known is None:
        return None
    digest, command_ids = known
    if digest != _digest(requests):
        raise KeyReused("This Idempotency-Key was used for another request.")
    return Accepted(commands=_read_in_order(tx, command_ids), replayed=True)


def _accept(tx: Connection, requests: Sequence[PublishRequest], origin: Origin) -> Accepted:
    planned = plan_commands(requests)
    found = lookup.read_identities(tx, [request.video_id for request in requests])
    refuse_unknown_videos(requests, found, origin.workspace_id)
    refuse_contradictions(tx, requests, found)
    refuse_changed_videos(requests, found)
    refuse_excess(tx, [command.request for command in planned], found)
    commands = [
        _to_new_command(planned_command, found[planned_command.request.video_id], origin)
        for planned_command in planned
    ]
    ids = [command.id for command in commands]
    if origin.idempotency_key is not None and not idempotency.remember(
        tx,
        scope=origin.idempotency_scope,
        key=origin.idempotency_key,
        digest=_digest(requests),
        command_ids=ids,
    ):
        # Another call with the same key has committed since the key was looked up.
        return _replay(tx, requests, origin) or _accept(tx, requests, origin)
    inbox.insert(tx, commands)
    accepted = Accepted(commands=_read_in_order(tx, ids), replayed=False)
    _announce(tx, [row for row in accepted.commands if row.due_at > row.accepted_at], origin)
    return accepted


def _announce(tx: Connection, timed: Sequence[StoredCommand], origin: Origin) -> None:
    """Record that these are scheduled, notify the schedulers, and commit."""
    if not timed:
        return
    locked = claim.lock_commands(tx, [row.id for row in timed])
    events = [
        build_scheduled_event(command, EventType.SCHEDULED, origin.trigger) for command in locked
    ]
    due_times.notify_due(tx, [row.due_at for row in timed])
    outbox.append(tx, [event for event in events if event])


def _to_new_command(
    planned_command: PlannedCommand, video: lookup.VideoIdentity, origin: Origin
) -> NewCommand:
    request, moment = planned_command.request, planned_command.moment
    publishes = planned_command.action is Action.PUBLISH
    edits = request.to_edits() if publishes else None
    expects = planned_command.expects
    return NewCommand(
        id=planned_command.id,
        action=planned_command.action,
        video_id=request.video_id,
        workspace_id=video.workspace_id,
        trigger=origin.trigger,
        edits=edits.model_dump(mode="json", exclude_unset=True) if edits else None,
        asked_for=moment.at if moment else None,
        local_time=moment.local_time if moment else None,
        time_zone=moment.time_zone if moment else None,
        fold=moment.fold if moment else None,
        zone_digest=moment.zone_digest if moment else None,
        publish_before=request.publish_before if publishes else None,
        expected_revision=request.expected_revision if expects else None,
        expected_etag=request.expected_etag if expects else None,
        counterpart_id=planned_command.counterpart_id,
        correlation_id=origin.correlation_id,
        traceparent=origin.traceparent,
    )


def _digest(requests: Sequence[PublishRequest]) -> bytes:
    """Return the SHA-256 of the requests, whatever the spelling of their JSON."""
    bodies = [request.model_dump(mode="json", exclude_unset=True) for request in requests]
    return sha256(json.dumps(bodies, sort_keys=True).encode()).digest()


def _read_in_order(tx: Connection, ids: Sequence[UUID]) -> list[StoredCommand]:
    rows = {row.id: row for row in inbox.read(tx, ids, None)}
    return [rows[each] for each in ids if each in rows]
