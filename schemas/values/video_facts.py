"""Facts: videos and commands as the publish transaction reads them.

Dataclasses, which are faster than models: thousands of rows are read per second.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(slots=True)
class VideoFacts:
    """One video, read while its row is locked."""

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
    """Why generation failed. None: no report gave a cause."""
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
    """Seconds. None: the sum of its sections."""
    generated_script: str | None
    contents: list[Any] | None
    """The sections' scripts. Read only if `generated_script` is None."""
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

    # The current release. Revision 0: never published.
    revision: int
    custom_url: str | None
    first_published_at: datetime | None
    published_at: datetime | None

    now: datetime
    """The database's clock at the read."""


@dataclass(slots=True)
class ClaimedCommand:
    """A command that this transaction has locked."""

    id: UUID
    video_id: int
    workspace_id: int
    state: str
    trigger: str
    edits: dict[str, Any] | None
    accepted_at: datetime
    due_at: datetime
    patient_until: datetime
    checks: int
    attempts: int
    correlation_id: str
    traceparent: str | None
    video_held: bool
    """False: another transaction has locked the video's row."""
    video_exists: bool
    now: datetime
    """The database's clock at the claim."""
    action: str = "publish"
    asked_for: datetime | None = None
    local_time: datetime | None = None
    time_zone: str | None = None
    fold: int | None = None
    fell_due_at: datetime | None = None
    """When it first became due, if it was postponed since."""
    publish_before: datetime | None = None
    expected_revision: int | None = None
    expected_etag: str | None = None
    counterpart_id: UUID | None = None
    is_announced: bool = True
    """False: it was enqueued in SQL, and that it is scheduled has yet to be recorded."""
    was_published: bool = False
    """Whether the video has ever been published."""
    counterpart_at: datetime | None = None
    """The requested time of the other command of the window. None if that one was cancelled."""
    counterpart_state: str | None = None
    next_turn: int = -1
    """The workspace after which the next claim starts. -1: the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of the categories, subcategories and tags in a batch's edits, by id."""

    categories: dict[int, str]
    subcategories: dict[int, str]
    tags: dict[int, str]
