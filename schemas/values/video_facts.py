"""Facts: what is read of a video before anything is decided, as plain values.

Dataclasses, not models: they come from our own statements, thousands a second, checked already.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """One video as the publish transaction sees it, its rows locked."""

    id: int
    uid: UUID
    workspace_id: int
    workspace_url: str
    """The workspace's `custom_url`."""
    owner_id: int
    owner_username: str
    owner_full_name: str

    # Readiness reads these.
    status: str
    internal_status: str
    is_regenerating: bool
    is_active: bool
    deleted_at: datetime | None
    video: str | None
    """The rendered file's URI."""
    failure: str | None
    """Why generation failed, as far as a report said."""
    is_draft: bool
    updated_at: datetime

    # Editorial: a command may change these.
    title: str
    description: str | None
    visibility: str
    category_id: int | None
    category: str | None
    subcategory_id: int | None
    subcategory: str | None
    tag_ids: tuple[int, ...]
    tags: tuple[str, ...]
    cover_image: str | None
    thumbnail: str | None

    # Metrics are computed from these.
    duration: int | None
    """Seconds; None: as long as its sections."""
    generated_script: str | None
    contents: list[Any] | None
    """The sections' scripts, read only when there is no `generated_script`."""
    section_count: int
    sections_seconds: int
    first_section_at: datetime | None
    last_section_at: datetime | None
    views: int
    unique_viewers: int
    plays: int
    completed_plays: int
    watch_seconds: int
    likes: int
    bookmarks: int
    shares: int
    comments: int

    # The release so far; revision 0 before the first publication.
    revision: int
    custom_url: str | None
    first_published_at: datetime | None
    published_at: datetime | None

    now: datetime
    """The database's clock as this was read: the one clock that all workers share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCommand:
    """A command that this transaction holds, with what carrying it out needs."""

    id: UUID
    action: str = "publish"
    video_id: int
    workspace_id: int
    state: str
    trigger: str
    edits: dict[str, Any] | None
    accepted_at: datetime
    asked_for: datetime | None = None
    local_time: datetime | None = None
    time_zone: str | None = None
    fold: int | None = None
    due_at: datetime
    fell_due_at: datetime | None = None
    """When it first fell due, if something has postponed it since."""
    publish_before: datetime | None = None
    patient_until: datetime
    expected_revision: int | None = None
    expected_etag: str | None = None
    counterpart_id: UUID | None = None
    checks: int
    attempts: int
    correlation_id: str
    traceparent: str | None
    video_held: bool
    """False: another transaction has locked the video's row."""
    video_exists: bool
    was_published: bool = False
    """Whether the video has ever been published."""
    counterpart_at: datetime | None = None
    """The time that the other command of its window asked for, unless that one was cancelled."""
    counterpart_state: str | None = None
    now: datetime
    """The database's clock at the claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of the categories, subcategories and tags that a batch's edits refer to."""

    categories: dict[int, str]
    subcategories: dict[int, str]
    tags: dict[int, str]
