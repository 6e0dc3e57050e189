"""The list of videos: its filter, and each video in short, with its next command and its plan."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from publish_worker_client.events.names import Action
from schemas.command import CommandState
from schemas.fields import INT64_MAX, MAX_NAME, Frozen, Storable
from schemas.plan import PlannedOutcome

SearchText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), Storable()]


class VideoState(StrEnum):
    """A condition of a video that people look for. A video may meet several, or none."""

    DRAFT = "draft"
    """`is_draft` is true."""
    PUBLISHED = "published"
    """It was published by this service, and `is_draft` is false."""
    SCHEDULED = "scheduled"
    """It has a command in the state `scheduled`: for a later time, or due now."""
    WAITING = "waiting"
    """It has a command in the state `waiting`: for the end of generation."""
    FAILED = "failed"
    """Its newest publish command, or its newest unpublish command, ended as `failed`, `rejected` or
    `expired`."""
    BLOCKED = "blocked"
    """A publish would be rejected now: generation has failed, or the video is not active."""


class VideoFilter(Frozen):
    """A filter for videos, and the start of the page. Deleted videos are left out."""

    workspace_id: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only videos of this workspace, for keys that see every workspace."""
    state: VideoState | None = None
    """Only videos in this state. `draft`: `is_draft` is true. `published`: published by this
    service, and not a draft. `scheduled`: with a command in this state, for a later time or due
    now. `waiting`: with a command that waits for the end of generation. `failed`: the newest
    publish or unpublish command ended as `failed`, `rejected` or `expired`. `blocked`: a publish
    would be rejected, because generation has failed or the video is not active."""
    title: SearchText | None = None
    """Only videos with this text in their titles, in upper or lower case."""
    tag: SearchText | None = None
    """Only videos with the tag of this name."""
    before: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = None
    """Only videos with a lower id: `next` of the previous page has it."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """The size of the page."""


class NextCommand(Frozen):
    """The open command of a video that is due first."""

    id: UUID
    action: Action
    state: CommandState
    due_at: datetime
    """When the command may next be claimed."""


class LastFailure(Frozen):
    """The newest command of its action, which ended as `failed`, `rejected` or `expired`."""

    id: UUID
    action: Action
    state: CommandState
    reason: str | None
    detail: str | None
    finished_at: datetime | None


class ListedPlan(Frozen):
    """The result that a publish would have now; `GET /videos/{id}/publish/` has each check."""

    would_be: PlannedOutcome
    reason: str | None
    """Why it would wait, be rejected or change nothing, as a code. null: it would be published."""
    detail: str
    """The reason, for people."""


class VideoSummary(Frozen):
    """A video in short; `GET /videos/{id}/` has the rest."""

    id: int
    workspace_id: int
    title: str
    owner_username: str
    status: str
    internal_status: str
    is_draft: bool
    visibility: str
    states: list[VideoState]
    """The states that a list can be filtered by."""
    tags: list[str]
    """The names of the tags."""
    custom_url: str | None
    """The path of the last publication. null: never published."""
    published_at: datetime | None
    """The time of the last publication."""
    next_command: NextCommand | None
    last_failure: LastFailure | None
    plan: ListedPlan


class Videos(Frozen):
    """A page of videos, the highest id first. `next`: the URL of the next page, or null."""

    videos: list[VideoSummary]
    next: str | None = None
    is_partial: bool = False
    """Whether the search stopped before the page was full, to answer in time. `next` continues it;
    a workspace, or more of the title, makes it faster."""
