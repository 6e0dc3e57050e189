"""The claim in SQL: lock due commands and their videos' rows; or commands by id."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from psycopg.rows import class_row

from db.session import Connection, to_array, wait_briefly
from schemas.values.video_facts import ClaimedCommand

_CLAIMED = """id, action, video_id, workspace_id, state, trigger, edits, accepted_at, asked_for,
       local_time, time_zone, fold, due_at, fell_due_at, publish_before, patient_until,
       expected_revision, expected_etag, counterpart_id, checks, attempts, correlation_id,
       traceparent"""

_WAS_PUBLISHED = """EXISTS (
           SELECT FROM publisher.video_release r WHERE r.video_id = {command}.video_id
       ) AS was_published"""

_COUNTERPART = """CASE WHEN {command}.counterpart_id IS NOT NULL THEN (
           SELECT other.asked_for FROM publisher.publish_command other
           WHERE other.id = {command}.counterpart_id AND other.state <> 'cancelled'
       ) END AS counterpart_at,
       CASE WHEN {command}.counterpart_id IS NOT NULL THEN (
           SELECT other.state FROM publisher.publish_command other
           WHERE other.id = {command}.counterpart_id
       ) END AS counterpart_state"""

# A command's place in the order of its video: when it first became due. Postponing keeps it.
_PLACE = "(coalesce({command}.fell_due_at, {command}.due_at), {command}.id)"

_OPEN = "state IN ('scheduled', 'waiting')"

# No command overtakes an older one of its video that was postponed or backs off …
_NO_OLDER_POSTPONED = f"""(
        SELECT older.id FROM publisher.publish_command older
        WHERE older.video_id = c.video_id AND older.{_OPEN}
          AND older.due_at > now() AND older.fell_due_at <= now()
          AND {_PLACE.format(command="older")} < {_PLACE.format(command="c")}
        LIMIT 1
    ) IS NULL"""

# … or one that is due and not in the same claim: locked by another transaction, or above the limit.
_CLAIM = f"""
WITH {{due}},
ranked AS (
    SELECT due.*, row_number() OVER (PARTITION BY is_late ORDER BY due_at, id) AS nth FROM due
),
sized AS (
    SELECT ranked.*, sum(edits_bytes) OVER (ORDER BY nth, due_at, id) - edits_bytes AS bytes_before
    FROM ranked
),
taken AS (
    SELECT * FROM sized c
    WHERE bytes_before < %(bytes)s AND (
        SELECT older.id FROM publisher.publish_command older
        WHERE older.video_id = c.video_id AND older.{_OPEN} AND older.id <> c.id
          AND coalesce(older.fell_due_at, older.due_at) <= now()
          AND {_PLACE.format(command="older")} < {_PLACE.format(command="c")}
          AND older.id NOT IN (SELECT id FROM sized WHERE bytes_before < %(bytes)s)
        LIMIT 1
    ) IS NULL
),
held AS (
    SELECT v.id FROM video v
    WHERE v.id IN (SELECT video_id FROM taken)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT {_CLAIMED},
       video_id IN (SELECT id FROM held) AS video_held,
       EXISTS (SELECT FROM video v WHERE v.id = taken.video_id) AS video_exists,
       {_WAS_PUBLISHED.format(command="taken")},
       {_COUNTERPART.format(command="taken")},
       clock_timestamp() AS now
FROM taken
ORDER BY {_PLACE.format(command="taken")}
"""

# Claim due commands, the oldest first, and lock their videos' rows. After an outage, late commands
# never fill the whole batch: a fifth is for commands that become due now.
CLAIM_DUE = _CLAIM.format(
    due=f"""late AS (
    SELECT {_CLAIMED}, edits_bytes, true AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND due_at <= now() - %(late)s AND {_NO_OLDER_POSTPONED}
    ORDER BY due_at, id
    LIMIT least(%(limit)s, greatest(1, %(limit)s * 4 / 5))
    FOR UPDATE SKIP LOCKED
),
fresh AS (
    SELECT {_CLAIMED}, edits_bytes, false AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND due_at > now() - %(late)s AND due_at <= now() AND {_NO_OLDER_POSTPONED}
    ORDER BY due_at, id
    LIMIT %(limit)s - (SELECT count(*) FROM late)
    FOR UPDATE SKIP LOCKED
),
due AS (SELECT * FROM late UNION ALL SELECT * FROM fresh)"""
)

# Claim these commands again after their batch failed.
CLAIM_THESE = _CLAIM.format(
    due=f"""due AS (
    SELECT {_CLAIMED}, edits_bytes, false AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND id = ANY(%(ids)s::uuid[])
    ORDER BY due_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)"""
)

# Lock commands that have not ended. This waits for other transactions.
LOCK = f"""
SELECT {_CLAIMED}, true AS video_held, true AS video_exists,
       {_WAS_PUBLISHED.format(command="c")},
       {_COUNTERPART.format(command="c")},
       clock_timestamp() AS now
FROM publisher.publish_command c
WHERE id = ANY(%(ids)s::uuid[]) AND {_OPEN}
ORDER BY id
FOR UPDATE
"""

# The time zones of scheduled commands, with the digests of the rules that were used.
ZONES = """
SELECT DISTINCT time_zone, zone_digest FROM publisher.publish_command
WHERE state = 'scheduled' AND time_zone IS NOT NULL
"""

# Lock scheduled commands whose instants were computed with these rules.
LOCK_OUTDATED = f"""
SELECT {_CLAIMED}, true AS video_held, true AS video_exists,
       {_WAS_PUBLISHED.format(command="c")},
       {_COUNTERPART.format(command="c")},
       clock_timestamp() AS now
FROM publisher.publish_command c
WHERE state = 'scheduled' AND time_zone = %(zone)s AND zone_digest = %(digest)s
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

MAX_BYTES = 4 * 1024 * 1024
"""The size of the edits in one claim: the worker and the server hold a batch in memory."""

LATE = timedelta(seconds=1)
"""Commands that are later than this were delayed by an outage."""


def claim_due(tx: Connection, limit: int) -> list[ClaimedCommand]:
    """Claim up to `limit` due commands, the oldest first; skip locked ones."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"limit": limit, "bytes": MAX_BYTES, "late": LATE}
        return cursor.execute(CLAIM_DUE, values).fetchall()


def claim_these(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Claim those of these commands that have not ended and are not locked."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"ids": to_array(ids), "limit": len(ids), "bytes": MAX_BYTES}
        return cursor.execute(CLAIM_THESE, values).fetchall()


def lock_commands(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Lock commands by id, waiting for other transactions; omit those that have ended by then.

    Raises LockNotAvailable after a while: a platform's transaction that ends generation may hold
    them for as long as it likes.
    """
    wait_briefly(tx)
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        return cursor.execute(LOCK, {"ids": to_array(ids)}).fetchall()


def read_zones(tx: Connection) -> list[tuple[str, str]]:
    """Return the time zones of scheduled commands, with the digests of the rules that were used."""
    return tx.execute(ZONES).fetchall()  # pyright: ignore[reportReturnType] - two texts


def lock_outdated(tx: Connection, zone: str, digest: str, limit: int) -> list[ClaimedCommand]:
    """Lock scheduled commands of a zone whose instants were computed with these rules."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"zone": zone, "digest": digest, "limit": limit}
        return cursor.execute(LOCK_OUTDATED, values).fetchall()
