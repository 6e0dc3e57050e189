"""Generation's statements: hold many videos, read where they stand, write what reports changed."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg.rows import class_row
from pydantic_core import to_json

from db.session import Connection, array_of, wait_briefly
from schemas.generation import GenerationFacts

# Hold the videos that reports are about, in one order for everybody, so that no two batches wait
# for each other.
_HOLD = """
SELECT v.id FROM video v
WHERE v.id = ANY(%(ids)s::bigint[])
  AND (%(workspace_id)s::bigint IS NULL OR v.workspace_id = %(workspace_id)s)
ORDER BY v.id
FOR NO KEY UPDATE{passing_over}
"""

# Which of the videos that were passed over exist all the same: somebody else holds them.
BUSY = "SELECT id FROM video WHERE id = ANY(%(ids)s::bigint[])"

HOLD = _HOLD.format(passing_over="")
HOLD_FREE = _HOLD.format(passing_over=" SKIP LOCKED")

# Where these videos stand. Run once their rows are held: a statement that waits for a row sees its
# new version, but of a joined table what was there before it waited.
READ = """
SELECT v.id AS video_id, v.workspace_id, v.status, v.internal_status, v.generation_progress,
       v.is_regenerating, v.video, v.duration,
       g.run, g.is_final, g.reported_at, g.progress, g.completed, g.detail,
       g.file_run, g.file_reported_at
FROM video v LEFT JOIN publisher.video_generation g ON g.video_id = v.id
WHERE v.id = ANY(%(ids)s::bigint[])
"""

# Write the rows that changed, but for their files.
WRITE_STATES = """
UPDATE video v SET
    status = s.status, internal_status = s.internal_status,
    generation_progress = s.generation_progress, is_regenerating = s.is_regenerating,
    updated_at = now()
FROM jsonb_to_recordset(%(states)s::jsonb) AS s(
    video_id bigint, status text, internal_status text, generation_progress int,
    is_regenerating boolean
)
WHERE v.id = s.video_id
"""

# Write the rows of which a report named the file.
WRITE_FILES = """
UPDATE video v SET
    status = s.status, internal_status = s.internal_status,
    generation_progress = s.generation_progress, is_regenerating = s.is_regenerating,
    video = s.video, duration = s.duration, updated_at = now()
FROM jsonb_to_recordset(%(states)s::jsonb) AS s(
    video_id bigint, status text, internal_status text, generation_progress int,
    is_regenerating boolean, video text, duration int
)
WHERE v.id = s.video_id
"""

# Keep which reports counted.
KEEP = """
INSERT INTO publisher.video_generation AS g
    (video_id, run, is_final, reported_at, progress, completed, detail, file_run, file_reported_at)
SELECT video_id, run, is_final, reported_at, progress, completed, detail, file_run,
       file_reported_at
FROM jsonb_to_recordset(%(kept)s::jsonb) AS (
    video_id bigint, run int, is_final boolean, reported_at timestamptz, progress int,
    completed boolean, detail text, file_run int, file_reported_at timestamptz
)
ON CONFLICT (video_id) DO UPDATE SET
    run = excluded.run, is_final = excluded.is_final, reported_at = excluded.reported_at,
    progress = excluded.progress, completed = excluded.completed, detail = excluded.detail,
    file_run = excluded.file_run, file_reported_at = excluded.file_reported_at
"""

_FILE = ("video", "duration")
_STATE = ("status", "internal_status", "generation_progress", "is_regenerating")


def hold(
    tx: Connection, video_ids: Iterable[int], workspace_id: int | None
) -> dict[int, GenerationFacts]:
    """Hold these videos' rows and read where they stand, by id.

    What does not exist in the caller's workspace is left out. Waits for whoever holds a row, but
    not for long: then LockNotAvailable.
    """
    wait_briefly(tx)
    asked = {"ids": array_of(video_ids), "workspace_id": workspace_id}
    return _read(tx, [row[0] for row in tx.execute(HOLD, asked)])


def hold_free(
    tx: Connection, video_ids: Iterable[int]
) -> tuple[dict[int, GenerationFacts], set[int]]:
    """Hold those of these videos' rows that nobody else holds; return them, and the others' ids."""
    asked = set(video_ids)
    values = {"ids": array_of(asked), "workspace_id": None}
    held = [row[0] for row in tx.execute(HOLD_FREE, values)]
    passed_over = asked.difference(held)
    busy = tx.execute(BUSY, {"ids": array_of(passed_over)}) if passed_over else ()
    return _read(tx, held), {row[0] for row in busy}


def _read(tx: Connection, held: Sequence[int]) -> dict[int, GenerationFacts]:
    with tx.cursor(row_factory=class_row(GenerationFacts)) as cursor:
        rows = cursor.execute(READ, {"ids": array_of(held)}).fetchall()
    return {facts.video_id: facts for facts in rows}


def write(
    tx: Connection, before: dict[int, GenerationFacts], after: Sequence[GenerationFacts]
) -> None:
    """Write what changed of these videos: rows that stay as they are, are not touched."""
    states = [facts for facts in after if _differs(before[facts.video_id], facts, _STATE)]
    files = [facts for facts in after if _differs(before[facts.video_id], facts, _FILE)]
    named = {facts.video_id for facts in files}
    others = [facts for facts in states if facts.video_id not in named]
    if others:
        tx.execute(WRITE_STATES, {"states": to_json(others).decode()})
    if files:
        tx.execute(WRITE_FILES, {"states": to_json(files).decode()})
    if after:
        tx.execute(KEEP, {"kept": to_json(after).decode()})


def _differs(one: GenerationFacts, other: GenerationFacts, fields: tuple[str, ...]) -> bool:
    def values(facts: GenerationFacts) -> list[Any]:
        return [getattr(facts, field) for field in fields]

    return values(one) != values(other)
