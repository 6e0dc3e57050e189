"""The claim: due commands taken exclusively, with their videos' rows; or single ones, by id."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from psycopg.rows import class_row

from db.session import Connection, array_of, wait_briefly
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

# A command's place in its video's order: when it fell due, whatever postponed it since.
_PLACE = "(coalesce({command}.fell_due_at, {command}.due_at), {command}.id)"

_OPEN = "state IN ('scheduled', 'waiting')"

# No command overtakes an older one of its video: neither a postponed one nor one that backs off …
_NO_OLDER_POSTPONED = f"""(
        SELECT older.id FROM publisher.publish_command older
        WHERE older.video_id = c.video_id AND older.{_OPEN}
          AND older.due_at > now() AND older.fell_due_at <= now()
          AND {_PLACE.format(command="older")} < {_PLACE.format(command="c")}
        LIMIT 1
    ) IS NULL"""

# … and not one that is due, but not in the same claim: held by another, or beyond the limit.
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

# Take the commands that are due, oldest first, and hold their videos' rows. After an outage those
# that are late never fill the batch: a part of it is for what falls due now.
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

# Take these commands again, after their batch failed.
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

# Lock commands that have not ended; wait for other transactions that have locked them.
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

# How many open commands were computed by which version of which zone's rules.
ZONES = """
SELECT DISTINCT time_zone, zone_digest FROM publisher.publish_command
WHERE state = 'scheduled' AND time_zone IS NOT NULL
"""

# Take timed commands whose instants were computed by these rules, to compute them again.
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
"""Of edits, that one claim takes; what a batch weighs, the worker and the server hold in memory."""

LATE = timedelta(seconds=1)
"""What is later than this is of an outage, and leaves room for what falls due now."""


def claim_due(tx: Connection, limit: int) -> list[ClaimedCommand]:
    """Take up to `limit` due commands, oldest first; what others hold is passed over."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"limit": limit, "bytes": MAX_BYTES, "late": LATE}
        return cursor.execute(CLAIM_DUE, values).fetchall()


def claim_these(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Claim those of these commands that have not ended and are not locked."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"ids": array_of(ids), "limit": len(ids), "bytes": MAX_BYTES}
        return cursor.execute(CLAIM_THESE, values).fetchall()


def lock_commands(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Lock commands by id, waiting for other transactions; omit those that have ended by then.

    Raises LockNotAvailable after a while: a platform's transaction that ends generation may hold
    them for as long as it likes.
    """
    wait_briefly(tx)
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        return cursor.execute(LOCK, {"ids": array_of(ids)}).fetchall()


def read_zones(tx: Connection) -> list[tuple[str, str]]:
    """Return each zone that scheduled commands were told in, with the digest of its rules then."""
    return tx.execute(ZONES).fetchall()  # pyright: ignore[reportReturnType] - two texts


def lock_outdated(tx: Connection, zone: str, digest: str, limit: int) -> list[ClaimedCommand]:
    """Take scheduled commands of a zone that were computed by these rules."""
    with tx.cursor(row_factory=class_row(ClaimedCommand), binary=True) as cursor:
        values = {"zone": zone, "digest": digest, "limit": limit}
        return cursor.execute(LOCK_OUTDATED, values).fetchall()
