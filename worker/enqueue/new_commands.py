"""New commands: what a request asks for, with computed times, and the row that is inserted.

A publish with an end is two of them, counterparts of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from db.commands.inbox import PATIENCE, NewCommand, StoredCommand
from db.videos.identities import VideoIdentity
from publish_worker_client.events.names import Action
from schemas.command import CommandChange, PublishRequest
from schemas.problem import FieldError
from schemas.values.video_facts import ClaimedCommand
from worker.enqueue.origin import Origin
from worker.enqueue.refusals import RequestInvalid
from worker.rules.local_time import (
    LocalTimeError,
    Moment,
    to_publication_moment,
    to_withdrawal_moment,
)

WINDOW = "unpublish_at must lie in the future, and later than publish_at"
_TIMES = (("publish_at", to_publication_moment), ("unpublish_at", to_withdrawal_moment))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCommand:
    """A command that will be accepted if its request passes the checks."""

    id: UUID
    request: PublishRequest
    action: Action
    moment: Moment | None
    """When to carry it out; None: at once."""
    counterpart_id: UUID | None = None

    @property
    def expects(self) -> bool:
        """Whether the request's expectations apply to this command; the end of a window expects
        nothing, since its own beginning changes the video.
        """
        return self.action is self.request.action


def plan_commands(requests: Sequence[PublishRequest]) -> list[PlannedCommand]:
    """Return the commands of these requests, in order. Raises RequestInvalid for invalid times."""
    now = datetime.now(UTC)
    planned: list[PlannedCommand] = []
    errors: list[tuple[int, FieldError]] = []
    for index, request in enumerate(requests):
        try:
            planned += _plan(request, now)
        except RequestInvalid as invalid:
            errors += [(index, error) for _, error in invalid.errors]
    if errors:
        raise RequestInvalid(errors)
    return planned


def to_new_command(planned: PlannedCommand, video: VideoIdentity, origin: Origin) -> NewCommand:
    """Return the row to insert."""
    request, moment = planned.request, planned.moment
    publishes = planned.action is Action.PUBLISH
    edits = request.to_edits() if publishes else None
    expects = planned.expects
    return NewCommand(
        id=planned.id,
        action=planned.action,
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
        counterpart_id=planned.counterpart_id,
        correlation_id=origin.correlation_id,
        traceparent=origin.traceparent,
        requested_by=origin.requested_by,
    )


def to_claimed_command(
    row: StoredCommand, traceparent: str | None, video: VideoIdentity
) -> ClaimedCommand:
    """Return a command of this transaction as if it had been read and locked again."""
    return ClaimedCommand(
        id=row.id,
        action=row.action,
        video_id=row.video_id,
        workspace_id=row.workspace_id,
        state=row.state,
        trigger=row.trigger,
        edits=row.edits,
        accepted_at=row.accepted_at,
        asked_for=row.asked_for,
        local_time=row.local_time,
        time_zone=row.time_zone,
        fold=row.fold,
        due_at=row.due_at,
        publish_before=row.publish_before,
        patient_until=row.due_at + PATIENCE,
        expected_revision=row.expected_revision,
        expected_etag=row.expected_etag,
        counterpart_id=row.counterpart_id,
        checks=0,
        attempts=row.attempts,
        correlation_id=row.correlation_id,
        traceparent=traceparent,
        video_held=False,
        video_exists=True,
        was_published=video.revision > 0,
        now=row.accepted_at,
    )


def to_moments(request: PublishRequest | CommandChange) -> tuple[Moment | None, Moment | None]:
    """Return when to publish and when to unpublish; None where unset. Raises RequestInvalid."""
    found: list[Moment | None] = []
    errors: list[FieldError] = []
    for name, to_moment in _TIMES:
        try:
            found.append(to_moment(request))
        except LocalTimeError as error:
            errors.append(FieldError(pointer=f"/{name}_local", code=error.code, detail=str(error)))
    if errors:
        raise RequestInvalid([(0, error) for error in errors])
    return found[0], found[1]


def _plan(request: PublishRequest, now: datetime) -> list[PlannedCommand]:
    begin, end = to_moments(request)
    if request.action is Action.UNPUBLISH:
        return [PlannedCommand(id=uuid7(), request=request, action=Action.UNPUBLISH, moment=end)]
    if request.publish_before and begin and request.publish_before <= begin.at:
        raise _refuse_order("/publish_before", "publish_before must be later than publish_at")
    first = PlannedCommand(id=uuid7(), request=request, action=Action.PUBLISH, moment=begin)
    if end is None:
        return [first]
    if end.at <= max(now, begin.at if begin else now):
        raise _refuse_order("/unpublish_at", WINDOW)
    second = PlannedCommand(
        id=uuid7(),
        request=request,
        action=Action.UNPUBLISH,
        moment=end,
        counterpart_id=first.id,
    )
    return [replace(first, counterpart_id=second.id), second]


def _refuse_order(pointer: str, detail: str) -> RequestInvalid:
    return RequestInvalid([(0, FieldError(pointer=pointer, code="order", detail=detail))])
