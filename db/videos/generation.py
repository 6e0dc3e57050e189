"""Generation in SQL: lock videos, read their generation state, write the state after reports."""

from collections.abc import Iterable
from operator import attrgetter

from psycopg.rows import class_row
from pydantic_core import to_json

from db.session import Connection, to_array, wait_briefly
from schemas.values.generation_facts import GenerationFacts

# Lock videos in the order of their ids, so that two batches cannot deadlock.
_LOCK = """
SELECT v.id::bigint FROM video v
WHERE v.id = ANY(%(ids)s::bigint[])
  AND (%(workspace_id)s::bigint IS NULL OR v.workspace_id = %(workspace_id)s)
ORDER BY v.id
FOR NO KEY UPDATE{skip_locked}
"""
LOCK = _LOCK.format(skip_locked="")
LOCK_AVAILABLE = _LOCK.format(skip_locked=" SKIP LOCKED")

# The skipped videos that exist: another transaction has locked them.
EXISTING = "SELECT id::bigint FROM video WHERE id = ANY(%(ids)s::bigint[])"

# The generation state of these videos. Run it after their rows are locked: a statement that waits
# for a lock reads the new version of that row, but old versions of joined rows.
READ = """
SELECT v.id::bigint AS video_id, v.workspace_id::bigint, v.status::text, v.internal_status::text,
       v.generation_progress::int, v.is_regenerating::boolean, v.video::text, v.duration::int,
       g.run, g.is_final, g.reported_at, g.progress, g.completed, g.detail,
       g.file_run, g.file_reported_at
FROM video v LEFT JOIN publisher.video_generation g ON g.video_id = v.id
WHERE v.id = ANY(%(ids)s::bigint[])
"""

# Write changed rows; `video` and `duration` only if a report set the file.
_WRITE = """
UPDATE video v SET
    status = s.status, internal_status = s.internal_status,
    generation_progress = s.generation_progress, is_regenerating = s.is_regenerating,
    {file}updated_at = now()
FROM jsonb_to_recordset(%(rows)s::jsonb) AS s(
    video_id bigint, status text, internal_status text, generation_progress int,
    is_regenerating boolean, video text, duration int
)
WHERE v.id = s.video_id
"""
WRITE_STATES = _WRITE.format(file="")
WRITE_FILES = _WRITE.format(file="video = s.video, duration = s.duration, ")

# Store the reports that set the state.
KEEP = """
INSERT INTO publisher.video_generation AS g
    (video_id, run, is_final, reported_at, progress, completed, detail, file_run, file_reported_at)
SELECT video_id, run, is_final, reported_at, progress, completed, detail, file_run,
       file_reported_at
FROM jsonb_to_recordset(%(rows)s::jsonb) AS (
    video_id bigint, run int, is_final boolean, reported_at timestamptz, progress int,
    completed boolean, detail text, file_run int, file_reported_at timestamptz
)
ON CONFLICT (video_id) DO UPDATE SET
    run = excluded.run, is_final = excluded.is_final, reported_at = excluded.reported_at,
    progress = excluded.progress, completed = excluded.completed, detail = excluded.detail,
    file_run = excluded.file_run, file_reported_at = excluded.file_reported_at
"""

_get_file = attrgetter("video", "duration")
_get_state = attrgetter("status", "internal_status", "generation_progress", "is_regenerating")


def lock(
    tx: Connection, video_ids: Iterable[int], workspace_id: int | None
) -> dict[int, GenerationFacts]:
    """Lock these videos' rows and return their state, by id.

    Videos that are not in the workspace (None: any workspace) are omitted. Raises LockNotAvailable
    if another transaction keeps a row locked for 2 seconds.
    """
    wait_briefly(tx)
    asked = {"ids": to_array(video_ids), "workspace_id": workspace_id}
    return _read(tx, [row[0] for row in tx.execute(LOCK, asked)])


def lock_available(
    tx: Connection, video_ids: Iterable[int]
) -> tuple[dict[int, GenerationFacts], set[int]]:
    """Lock the rows that are not locked; return their states, and the ids of locked videos."""
    asked = set(video_ids)
    values = {"ids": to_array(asked), "workspace_id": None}
    locked = [row[0] for row in tx.execute(LOCK_AVAILABLE, values)]
    skipped = asked.difference(locked)
    busy = tx.execute(EXISTING, {"ids": to_array(skipped)}) if skipped else ()
    return _read(tx, locked), {row[0] for row in busy}


def _read(tx: Connection, video_ids: Iterable[int]) -> dict[int, GenerationFacts]:
    with tx.cursor(row_factory=class_row(GenerationFacts)) as cursor:
        rows = cursor.execute(READ, {"ids": to_array(video_ids)}).fetchall()
    return {facts.video_id: facts for facts in rows}


def write(
    tx: Connection, before: dict[int, GenerationFacts], after: Iterable[GenerationFacts]
) -> None:
    """Write the changed states of these videos. Unchanged video rows are not written."""
    changed = [(before[facts.video_id], facts) for facts in after]
    files = [new for old, new in changed if _get_file(old) != _get_file(new)]
    states = [
        new
        for old, new in changed
        if _get_file(old) == _get_file(new) and _get_state(old) != _get_state(new)
    ]
    if states:
        tx.execute(WRITE_STATES, {"rows": to_json(states).decode()})
    if files:
        tx.execute(WRITE_FILES, {"rows": to_json(files).decode()})
    if changed:
        tx.execute(KEEP, {"rows": to_json([new for _, new in changed]).decode()})
