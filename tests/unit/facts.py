"""Facts of a video that is ready, and a command for it, to be varied by tests."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from schemas.facts import ClaimedCommand, VideoFacts

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

READY = VideoFacts(
    id=7,
    uid=UUID("0d9c3c0e-6a0e-4a57-9f0b-6a3b6f2f0b11"),
    workspace_id=1,
    workspace_url="research",
    owner_id=3,
    owner_username="ada",
    owner_full_name="Ada Byron",
    status="completed",
    internal_status="completed",
    is_regenerating=False,
    is_active=True,
    deleted_at=None,
    video="https://cdn.example.com/7.mp4",
    is_draft=True,
    title="What is attention?",
    description=None,
    visibility="public",
    category_id=None,
    category=None,
    subcategory_id=None,
    subcategory=None,
    tag_ids=(),
    tags=(),
    cover_image=None,
    thumbnail=None,
    duration=60,
    generated_script="one two three",
    contents=None,
    section_count=2,
    sections_seconds=58,
    first_section_at=NOW - timedelta(minutes=10),
    last_section_at=NOW - timedelta(minutes=4),
    views=0,
    unique_viewers=0,
    plays=0,
    completed_plays=0,
    watch_seconds=0,
    likes=0,
    bookmarks=0,
    shares=0,
    comments=0,
    revision=0,
    first_published_at=None,
    now=NOW,
)

COMMAND = ClaimedCommand(
    id=UUID("019f0000-0000-7000-8000-000000000001"),
    video_id=7,
    workspace_id=1,
    state="scheduled",
    trigger="api",
    edits=None,
    accepted_at=NOW,
    due_at=NOW,
    publish_before=NOW + timedelta(hours=24),
    checks=0,
    attempts=0,
    correlation_id="c-1",
    traceparent=None,
    video_held=True,
    video_exists=True,
    now=NOW,
)
