"""The canary: a hidden video of its own workspace, published and withdrawn to see that we can."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.session import Connection

VIDEO_ID = 4_000_000_000_000_000
"""Where the platform's tables are ours; far beyond every sequence, and exact in any JSON reader."""
WORKSPACE_URL = "publish-worker-canary"

# Whether the platform's tables were made by our migrations, so that we may put rows there.
PLATFORM_IS_OURS = """
SELECT EXISTS (SELECT FROM publisher.alembic_version WHERE version_num LIKE 'platform\\_%')
"""

# Make the canary's video, with all that a video needs, unless it is there.
CREATE_VIDEO = f"""
WITH place AS (
    INSERT INTO workspace (id, name, custom_url)
    VALUES ({VIDEO_ID}, 'publish-worker canary', '{WORKSPACE_URL}') ON CONFLICT DO NOTHING
),
person AS (
    INSERT INTO iam_user (id, email, full_name, username)
    VALUES ({VIDEO_ID}, 'canary@publish-worker.invalid', 'Canary', '{WORKSPACE_URL}')
    ON CONFLICT DO NOTHING
),
mould AS (
    INSERT INTO template (id, name) VALUES ({VIDEO_ID}, 'publish-worker canary')
    ON CONFLICT DO NOTHING
)
INSERT INTO video (id, title, visibility, status, internal_status, generation_progress, duration,
                   video, template_id, owner_id, workspace_id)
VALUES ({VIDEO_ID}, 'Canary', 'private', 'completed', 'completed', 100, 1,
        'urn:publish-worker:canary', {VIDEO_ID}, {VIDEO_ID}, {VIDEO_ID})
ON CONFLICT DO NOTHING
"""

# Whether the canary's video is a draft; no row: there is no such video.
IS_DRAFT = "SELECT is_draft FROM video WHERE id = %(id)s"

# The last canary commands, newest first.
LAST = """
SELECT action, state, detail, accepted_at, due_at, fell_due_at, finished_at,
       clock_timestamp() AS now
FROM publisher.publish_command WHERE trigger = 'canary' ORDER BY id DESC LIMIT 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryCommand:
    """One of the canary's commands."""

    action: str
    state: str
    detail: str | None
    accepted_at: datetime
    due_at: datetime
    fell_due_at: datetime | None
    finished_at: datetime | None
    now: datetime
    """The database's clock as this was read."""


def platform_is_ours(tx: Connection) -> bool:
    """Whether the platform's tables were made by our migrations."""
    row = tx.execute(PLATFORM_IS_OURS).fetchone()
    return bool(row and row[0])


def create_video(tx: Connection) -> None:
    """Make the canary's video, unless it is there."""
    tx.execute(CREATE_VIDEO)  # pyright: ignore[reportArgumentType, reportCallIssue] - constants only


def is_draft(tx: Connection, video_id: int) -> bool | None:
    """Whether the canary's video is a draft; None: there is no such video."""
    row = tx.execute(IS_DRAFT, {"id": video_id}).fetchone()
    return row[0] if row else None


def read_last(tx: Connection) -> list[CanaryCommand]:
    """Return the last two canary commands, newest first."""
    with tx.cursor(row_factory=class_row(CanaryCommand)) as cursor:
        return cursor.execute(LAST).fetchall()
