"""Limits in SQL: how many open commands videos and workspaces have."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from db.session import Answer, Connection, to_array

PER_VIDEO = 100
"""The open commands that a video may have."""
PER_WORKSPACE = 1_000_000
"""The open commands that a workspace may have, by a count that is a few seconds old."""
KEPT_FROM = 1_000
"""A workspace with fewer open commands is counted for each request, which is fast."""
KEPT_FOR = timedelta(seconds=10)

# The number of open commands of videos, and of the workspaces that they are in. The counts of large
# workspaces are kept for a while: counting a million takes a tenth of a second.
COUNT_OPEN = """
WITH workspace AS MATERIALIZED (
    SELECT DISTINCT workspace_id::bigint AS id FROM video WHERE id = ANY(%(videos)s::bigint[])
),
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
SELECT 'workspace', id, commands FROM kept
UNION ALL
SELECT 'workspace', id, commands FROM counted
UNION ALL
SELECT 'video', video.id, (
    SELECT count(*) FROM (
        SELECT FROM publisher.publish_command c
        WHERE c.video_id = video.id AND c.state IN ('scheduled', 'waiting')
        LIMIT %(per_video)s
    ) counted
)
FROM unnest(%(videos)s::bigint[]) AS video(id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCommands:
    """How many open commands there are, by id; not counted beyond the limits."""

    of_video: Counter[int]
    of_workspace: Counter[int]


def count_open(tx: Connection, videos: Iterable[int]) -> Answer[OpenCommands]:
    """Count the open commands of these videos, and of the workspaces that they are in."""
    values = {
        "videos": to_array(videos),
        "per_video": PER_VIDEO,
        "per_workspace": PER_WORKSPACE,
        "kept_from": KEPT_FROM,
        "kept_for": KEPT_FOR,
    }
    cursor = tx.execute(COUNT_OPEN, values)

    def read_answer() -> OpenCommands:
        found = OpenCommands(of_video=Counter(), of_workspace=Counter())
        for kind, key, commands in cursor:
            (found.of_video if kind == "video" else found.of_workspace)[key] = commands
        return found

    return read_answer
