"""Lists of videos in SQL, the highest id first.

The video table is the platform's: only the index of its id is certain. So a page first looks at a
limited number of candidates, in the order of their ids: videos, or what our own indexes have of a
state. The rest is searched for a short time, with whichever indexes the platform has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Rollback, sql
from psycopg.errors import QueryCanceled
from psycopg.rows import class_row

from db.commands.canary import VIDEO_ID as CANARY
from db.session import Connection, to_array
from schemas.json_schema import INT64_MAX
from schemas.video_list import VideoFilter, VideoState

CANDIDATES = 10_000
"""How many videos or releases a page looks at before the rest is searched."""
COMMANDS = 2_000
"""How many commands, which take longer."""
SEARCH_MS = 100
"""How long the rest is searched."""

_RANGE = "video_id >= %(floor)s AND video_id < %(before)s ORDER BY video_id DESC"
_COMMANDS = f"""
SELECT video_id AS id, id AS command_id, action FROM publisher.publish_command
WHERE {{condition}}
  AND (%(of_workspace)s::bigint IS NULL OR workspace_id = %(of_workspace)s) AND {_RANGE}"""
_OPEN = _COMMANDS.format(condition="state IN ('scheduled', 'waiting')")
_SCHEDULED = _COMMANDS.format(condition="state IN ('scheduled', 'waiting') AND state = 'scheduled'")
_WAITING = _COMMANDS.format(condition="state = 'waiting'")
_FAILED = " UNION ALL ".join(
    f"({_COMMANDS.format(condition=f'state = {state!r}')})"
    for state in ("failed", "rejected", "expired")
)
_RELEASED = f"SELECT video_id AS id FROM publisher.video_release WHERE {_RANGE}"
_VIDEOS = "SELECT id FROM video WHERE id >= %(floor)s AND id < %(before)s ORDER BY id DESC"

# The lowest id that a page looks at: that of the last candidate. No row: there are fewer.
_FLOOR = "SELECT id::bigint FROM ({}) candidate ORDER BY id DESC OFFSET %(offset)s LIMIT 1"
FIND_FLOOR = {
    None: _FLOOR.format(_VIDEOS),
    VideoState.PUBLISHED: _FLOOR.format(_RELEASED),
    VideoState.SCHEDULED: _FLOOR.format(_OPEN),
    VideoState.WAITING: _FLOOR.format(_WAITING),
    VideoState.FAILED: _FLOOR.format(_FAILED),
}

# The videos of a state that our tables know, each once. The others are conditions of the video.
MEMBERS = {
    VideoState.PUBLISHED: _RELEASED,
    VideoState.SCHEDULED: f"SELECT DISTINCT id FROM ({_SCHEDULED}) open ORDER BY id DESC",
    VideoState.WAITING: f"SELECT DISTINCT id FROM ({_WAITING}) open ORDER BY id DESC",
    VideoState.FAILED: f"""
SELECT DISTINCT id FROM ({_FAILED}) ended
WHERE NOT EXISTS (
    SELECT FROM publisher.publish_command later
    WHERE later.video_id = ended.id AND later.id > ended.command_id AND later.action = ended.action
)
ORDER BY id DESC""",
}
CONDITIONS = {
    VideoState.PUBLISHED: "NOT v.is_draft",
    VideoState.DRAFT: "v.is_draft",
    VideoState.BLOCKED: """
    (NOT v.is_active OR v.status = 'failed' OR v.internal_status = 'failed')""",
}

# The ids of a page. It is planned for its values: they decide which index is the right one.
FIND = f"""
SELECT v.id::bigint FROM {{source}}
WHERE v.id >= %(floor)s AND v.id < %(before)s AND v.deleted_at IS NULL AND v.id <> {CANARY}
  AND {{conditions}}
ORDER BY {{order}} DESC
LIMIT %(limit)s
"""
IN_WORKSPACE = "v.workspace_id = %(workspace_id)s"
WITH_TITLE = "v.title ILIKE %(pattern)s"
WITH_TAG = """EXISTS (
    SELECT FROM video_tag vt
    WHERE vt.video_id = v.id AND vt.tag_id = (SELECT id FROM tag WHERE name = %(tag)s LIMIT 1)
)"""

# Read in the order of an index until the page is full. Without statistics of states, PostgreSQL
# would take each of them for rare, and read all of it and sort.
READ_IN_ORDER = """
SELECT set_config('enable_sort', 'off', true), set_config('enable_hashagg', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true)
"""

# Cancel a statement of this transaction after some milliseconds.
LIMIT_TIME = "SELECT set_config('statement_timeout', %(ms)s::text, true)"

NEWEST = 100
"""How many of a video's newest commands are looked at for the newest one of each action."""

# For each of these videos: its open commands, and the newest command of an action if that one ended
# without effect.
READ_COMMANDS = """
SELECT asked.id AS video_id, coalesce(open.is_scheduled, false) AS is_scheduled,
       coalesce(open.is_waiting, false) AS is_waiting,
       next.id AS next_id, next.action AS next_action, next.state AS next_state,
       next.due_at AS next_due_at,
       failure.id AS failure_id, failure.action AS failure_action, failure.state AS failure_state,
       failure.reason AS failure_reason, left(failure.detail, 1000) AS failure_detail,
       failure.finished_at AS failure_finished_at
FROM unnest(%(ids)s::bigint[]) AS asked (id)
LEFT JOIN LATERAL (
    SELECT bool_or(state = 'scheduled') AS is_scheduled, bool_or(state = 'waiting') AS is_waiting
    FROM publisher.publish_command
    WHERE video_id = asked.id AND state IN ('scheduled', 'waiting')
) open ON true
LEFT JOIN LATERAL (
    SELECT id, action, state, due_at FROM publisher.publish_command
    WHERE video_id = asked.id AND state IN ('scheduled', 'waiting')
    ORDER BY video_id, due_at LIMIT 1
) next ON true
LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT DISTINCT ON (action) id, action, state, reason, detail, finished_at
        FROM (
            SELECT * FROM publisher.publish_command
            WHERE video_id = asked.id ORDER BY video_id DESC, id DESC LIMIT %(newest)s
        ) newest
        ORDER BY action, id DESC
    ) newest_of_action
    WHERE state IN ('failed', 'rejected', 'expired')
    ORDER BY id DESC LIMIT 1
) failure ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVideos:
    """The ids of a page, the highest first."""

    ids: Sequence[int]
    next_before: int | None
    """The `before` of the next page. None: this is the last one."""
    is_partial: bool
    """Whether the search stopped before the page was full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoCommands:
    """The commands of a video that a list shows. `next_…`: the open one that is due first."""

    video_id: int
    is_scheduled: bool
    is_waiting: bool
    next_id: UUID | None
    next_action: str | None
    next_state: str | None
    next_due_at: datetime | None
    failure_id: UUID | None
    """The newest command of its action, which ended as `failed`, `rejected` or `expired`."""
    failure_action: str | None
    failure_state: str | None
    failure_reason: str | None
    failure_detail: str | None
    failure_finished_at: datetime | None


def find_page(tx: Connection, wanted: VideoFilter, workspace_id: int | None) -> FoundVideos:
    """Find the videos of a page, in one workspace (None: any)."""
    values = _to_values(wanted, workspace_id)
    floor, ids = _find_among_candidates(tx, wanted.state, values)
    is_complete = floor is None or len(ids) > wanted.limit
    if not is_complete and (workspace_id or wanted.title or wanted.tag):
        rest = values | {
            "before": floor,
            "limit": wanted.limit + 1 - len(ids),
            "of_workspace": workspace_id,
        }
        found = _search(tx, wanted.state, rest)
        if found is not None:
            ids, is_complete = ids + found, True
    if len(ids) > wanted.limit:
        page = ids[: wanted.limit]
        return FoundVideos(ids=page, next_before=page[-1], is_partial=False)
    return FoundVideos(
        ids=ids, next_before=None if is_complete else floor, is_partial=not is_complete
    )


def read_commands(tx: Connection, video_ids: Sequence[int]) -> dict[int, VideoCommands]:
    """Read the commands that a list shows with these videos, in one statement."""
    values = {"ids": to_array(video_ids), "newest": NEWEST}
    with tx.cursor(row_factory=class_row(VideoCommands)) as cursor:
        rows = cursor.execute(READ_COMMANDS, values).fetchall()
    return {row.video_id: row for row in rows}


def _to_values(wanted: VideoFilter, workspace_id: int | None) -> dict[str, Any]:
    return {
        "workspace_id": workspace_id,
        "of_workspace": None,
        "pattern": f"%{_escape(wanted.title)}%" if wanted.title else None,
        "tag": wanted.tag,
        "before": wanted.before or INT64_MAX,
        "floor": 0,
        "limit": wanted.limit + 1,
    }


def _escape(text: str) -> str:
    """Escape the characters that have a meaning in a pattern of LIKE."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _find_among_candidates(
    tx: Connection, state: VideoState | None, values: dict[str, Any]
) -> tuple[int | None, list[int]]:
    """Return the lowest id that was looked at (None: all were), and the ids that match."""
    floor: int | None = None
    found: list[int] = []
    statement = FIND_FLOOR.get(state, FIND_FLOOR[None])
    candidates = COMMANDS if "publish_command" in statement else CANDIDATES
    with tx.transaction():
        tx.execute(READ_IN_ORDER)
        row = tx.execute(_to_sql(statement), values | {"offset": candidates - 1}).fetchone()
        floor = row[0] if row else None
        found = _find(tx, state, values | {"floor": floor or 0})
        raise Rollback  # with it, the settings end
    return floor, found


def _find(tx: Connection, state: VideoState | None, values: dict[str, Any]) -> list[int]:
    members = MEMBERS.get(state) if state else None
    conditions = [
        CONDITIONS.get(state, "true") if state else "true",
        IN_WORKSPACE if values["workspace_id"] is not None else "true",
        WITH_TITLE if values["pattern"] is not None else "true",
        WITH_TAG if values["tag"] is not None else "true",
    ]
    statement = FIND.format(
        source=f"({members}) member JOIN video v ON v.id = member.id" if members else "video v",
        conditions="\n  AND ".join(conditions),
        order="member.id" if members else "v.id",
    )
    return [row[0] for row in tx.execute(_to_sql(statement), values, prepare=False)]


def _search(tx: Connection, state: VideoState | None, values: dict[str, Any]) -> list[int] | None:
    """Search without a limit of candidates. None: it took too long."""
    found: list[int] = []
    try:
        with tx.transaction():
            tx.execute(LIMIT_TIME, {"ms": SEARCH_MS})
            found = _find(tx, state, values)
            raise Rollback  # with it, the limit ends
    except QueryCanceled:
        return None
    return found


def _to_sql(statement: str) -> sql.SQL:
    """Return a statement that is assembled from the constants above."""
    return sql.SQL(statement)  # pyright: ignore[reportArgumentType]
