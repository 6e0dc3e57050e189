"""Failed commands: grouped by cause, and retried by a filter at a limited rate."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from publish_worker_client.events.names import Action
from schemas.fields import INT64_MAX, WHOLE, Frozen, ShortText
from schemas.times import Time


class FailureFilter(Frozen):
    """A filter for failed commands. All that is given must match."""

    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only commands of this workspace, for callers that see every workspace."""
    action: Action | None = None
    reason: ShortText | None = None
    cause: ShortText | None = None
    """The cause of a group: the error's text, with `…` for each number, id and quoted text."""
    failed_from: Time | None = None
    """Only commands that failed at this time or later."""
    failed_until: Time | None = None
    """Only commands that failed at this time or before."""


class FailureGroup(Frozen):
    """Failed commands with the same cause."""

    reason: str | None
    cause: str
    commands: int
    first_failed_at: datetime
    last_failed_at: datetime
    examples: list[UUID]
    """The newest commands of the group, at most three."""


class FailureGroups(Frozen):
    """The groups of failed commands, the largest first; at most 100."""

    groups: list[FailureGroup]
    commands: int
    """The number of failed commands that match."""
    is_partial: bool
    """Whether there may be more than were looked at: then `commands` is the least number."""


class FailureRetry(FailureFilter):
    """A retry of all failed commands that match a filter, step by step.

    The first step has neither `after` nor `start_at`. Each result has those of the next step.
    """

    per_second: Annotated[int, Field(strict=True, ge=1, le=1000), WHOLE] = 50
    """The number of commands that become due each second."""
    after: UUID | None = None
    """The last command that the step before looked at."""
    start_at: Time | None = None
    """When the first command of this step is due. null, or a time in the past: now."""


class FailureRetryStep(Frozen):
    """The result of one step."""

    commands: int
    """The number of commands that are retried."""
    last_due_at: datetime | None
    """The `due_at` of the last of them."""
    next: FailureRetry | None
    """The next step. null: all have been looked at."""
