"""The canary in SQL: a hidden video of its own workspace, published and unpublished in turn."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from db.session import Connection

VIDEO_ID = 4_000_000_000_000_000
"""The canary's video where we created the platform's tables: above every sequence, below 2^53."""
WORKSPACE_URL = "publish-worker-canary"

# Whether `migrate --with-platform` created the platform's tables, so that we may insert rows.
PLATFORM_IS_OURS = """
SELECT EXISTS (SELECT FROM publisher.alembic_version WHERE version_num LIKE 'platform\\_%')
"""

# Insert the canary's video and the rows that it references, unless they exist.
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

# Whether the canary's video is a draft. No row: the video does not exist.
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
    """The database's clock at the read."""


def is_platform_ours(tx: Connection) -> bool:
    """Whether `migrate --with-platform` created the platform's tables."""
    row = tx.execute(PLATFORM_IS_OURS).fetchone()
    return bool(row and row[0])


def create_video(tx: Connection) -> None:
    """Insert the canary's video, unless it exists."""
    tx.execute(CREATE_VIDEO)  # pyright: ignore[reportArgumentType, reportCallIssue] - constants only


def is_draft(tx: Connection, video_id: int) -> bool | None:
    """Whether the canary's video is a draft. None: the video does not exist."""
    row = tx.execute(IS_DRAFT, {"id": video_id}).fetchone()
    return row[0] if row else None


def read_last(tx: Connection) -> list[CanaryCommand]:
    """Return the last two canary commands, newest first."""
    with tx.cursor(row_factory=class_row(CanaryCommand)) as cursor:
        return cursor.execute(LAST).fetchall()
