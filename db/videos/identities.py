"""Identities in SQL: what accepting a command has to know about videos, in one statement."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from db.commands import limits
from db.session import Answer, Connection, to_array
from publish_worker_client.rows import to_values

# The workspace, owner, version and open commands of these videos, and the open commands of their
# workspaces, none of them counted beyond the limits. The counts of large workspaces are kept for a
# while: counting a million takes a tenth of a second.
READ_IDENTITIES = """
WITH identity AS MATERIALIZED (
    SELECT v.id::bigint, v.workspace_id::bigint, v.owner_id::bigint,
           u.username::text AS owner_username, u.email::text AS owner_email,
           v.updated_at::timestamptz, coalesce(r.revision, 0) AS revision
    FROM video v
    JOIN iam_user u ON u.id = v.owner_id
    LEFT JOIN publisher.video_release r ON r.video_id = v.id
    WHERE v.id = ANY(%(ids)s::bigint[])
),
workspace AS MATERIALIZED (SELECT DISTINCT workspace_id AS id FROM identity),
kept AS (
    SELECT workspace_id AS id, commands FROM publisher.open_command_count
    WHERE workspace_id IN (SELECT id FROM workspace) AND counted_at > now() - %(kept_for)s
),
counted AS MATERIALIZED (
    SELECT workspace.id, open.commands FROM workspace CROSS JOIN LATERAL (
        SELECT count(*) AS commands FROM (
            SELECT FROM publisher.publish_command c
            WHERE c.workspace_id = workspace.id AND c.state IN ('scheduled', 'waiting')
            LIMIT %(per_workspace)s
        ) counted
    ) open
    WHERE workspace.id NOT IN (SELECT id FROM kept)
),
keep AS (
    INSERT INTO publisher.open_command_count (workspace_id, commands, counted_at)
    SELECT id, commands, now() FROM counted WHERE commands >= %(kept_from)s ORDER BY id
    ON CONFLICT (workspace_id) DO UPDATE
    SET commands = excluded.commands, counted_at = excluded.counted_at
)
SELECT identity.*,
       (
           SELECT count(*) FROM (
               SELECT FROM publisher.publish_command c
               WHERE c.video_id = identity.id AND c.state IN ('scheduled', 'waiting')
               LIMIT %(per_video)s
           ) counted
       ) AS open_commands,
       coalesce(kept.commands, counted.commands) AS workspace_open_commands
FROM identity
LEFT JOIN kept ON kept.id = identity.workspace_id
LEFT JOIN counted ON counted.id = identity.workspace_id
"""


@dataclass(slots=True)
class VideoIdentity:
    """The workspace, owner and version of a video, and how many commands are open."""

    id: int
    workspace_id: int
    owner_id: int
    owner_username: str
    owner_email: str
    updated_at: datetime
    revision: int
    open_commands: int
    workspace_open_commands: int


def read_identities(tx: Connection, video_ids: Iterable[int]) -> Answer[dict[int, VideoIdentity]]:
    """Read the identities of videos, by id. Unknown videos are omitted."""
    cursor = tx.cursor(row_factory=to_values(VideoIdentity), binary=True)
    values = {
        "ids": to_array(video_ids),
        "per_video": limits.PER_VIDEO,
        "per_workspace": limits.PER_WORKSPACE,
        "kept_from": limits.KEPT_FROM,
        "kept_for": limits.KEPT_FOR,
    }
    cursor.execute(READ_IDENTITIES, values)
    return lambda: {video.id: video for video in cursor}
