"""The claim in SQL: lock due commands and their videos' rows; or commands by id."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from db.session import Connection, forget_plans, to_array, wait_briefly
from publish_worker_client.rows import to_values
from schemas.values.video_facts import ClaimedCommand

_ALWAYS = """id, video_id, workspace_id, state, trigger, edits, accepted_at, due_at, patient_until,
       checks, attempts, correlation_id, traceparent"""
_SOMETIMES = """action, asked_for, local_time, time_zone, fold, fell_due_at, publish_before,
       expected_revision, expected_etag, counterpart_id, is_announced"""
_CLAIMED = f"{_ALWAYS}, {_SOMETIMES}"

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

# A command that is open and was postponed, or backs off. Its index holds few rows.
_POSTPONED = f"{_OPEN} AND fell_due_at IS NOT NULL"

# No command overtakes an older one of its video that was postponed or backs off, and comes later
# in the order of the claim …
_NO_OLDER_POSTPONED = f"""(
        SELECT older.id FROM publisher.publish_command older
        WHERE older.video_id = c.video_id AND older.{_POSTPONED}
          AND older.fell_due_at <= least(now(), coalesce(c.fell_due_at, c.due_at))
          AND (older.due_at, older.id) > (c.due_at, c.id)
          AND {_PLACE.format(command="older")} < {_PLACE.format(command="c")}
        LIMIT 1
    ) IS NULL"""

# … or one that is due and not in the same claim: locked by another transaction, or above the limit.
# Two look-ups, each in an index: the commands that were never postponed, and the others.
_OLDER = f"""SELECT older.id FROM publisher.publish_command older
        WHERE older.video_id = c.video_id AND older.{{which}} AND older.id <> c.id
          AND older.{{since}} <= least(now(), coalesce(c.fell_due_at, c.due_at))
          AND {_PLACE.format(command="older")} < {_PLACE.format(command="c")}
          AND older.id NOT IN (SELECT id FROM sized WHERE bytes_before < %(bytes)s)
        LIMIT 1"""
_NO_OLDER_LEFT = f"""(
        {_OLDER.format(which=f"{_OPEN} AND older.fell_due_at IS NULL", since="due_at")}
    ) IS NULL AND (
        {_OLDER.format(which=_POSTPONED, since="fell_due_at")}
    ) IS NULL"""

_CLAIM = f"""
WITH RECURSIVE {{due}},
ranked AS (
    SELECT due.*,
           row_number() OVER (PARTITION BY workspace_id, is_late ORDER BY due_at, id) AS nth
    FROM due
),
sized AS (
    SELECT ranked.*, sum(edits_bytes) OVER (ORDER BY nth, due_at, id) - edits_bytes AS bytes_before
    FROM ranked
),
taken AS (
    SELECT * FROM sized c WHERE bytes_before < %(bytes)s AND {_NO_OLDER_LEFT}
),
held AS (
    SELECT v.id FROM video v
    WHERE v.id IN (SELECT video_id FROM taken)
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT {_ALWAYS},
       video_id IN (SELECT id FROM held) AS video_held,
       EXISTS (SELECT FROM video v WHERE v.id = taken.video_id) AS video_exists,
       clock_timestamp() AS now,
       {_SOMETIMES},
       {_WAS_PUBLISHED.format(command="taken")},
       {_COUNTERPART.format(command="taken")}{{more}}
FROM taken
ORDER BY {_PLACE.format(command="taken")}
"""

# Commands that fell due before are not read.
_SINCE = "%(since)s::timestamptz"

_MOST = "least(%(limit)s, greatest(1, %(limit)s * 4 / 5))"

# Claim due commands, the oldest first, and lock their videos' rows.
#
# If more are due than fit, up to four fifths of the batch are divided among the workspaces:
# `in_turn` are those with a due command, read from the index one by one, from `after` on. Then late
# commands fill these four fifths: after an outage they never fill the whole batch. The rest is for
# commands that become due now.
CLAIM_DUE = _CLAIM.format(
    due=f"""open_workspaces (workspace_id, due_at, nth) AS (
    (
        SELECT workspace_id, due_at, 1 FROM publisher.publish_command
        WHERE {_OPEN} AND workspace_id > %(after)s AND EXISTS (
            SELECT FROM publisher.publish_command
            WHERE {_OPEN} AND due_at >= {_SINCE} AND due_at <= now()
            ORDER BY due_at OFFSET %(limit)s
        )
        ORDER BY workspace_id, due_at LIMIT 1
    )
    UNION ALL
    SELECT next.workspace_id, next.due_at, nth + 1 FROM open_workspaces o CROSS JOIN LATERAL (
        SELECT workspace_id, due_at FROM publisher.publish_command
        WHERE {_OPEN} AND workspace_id > o.workspace_id
        ORDER BY workspace_id, due_at LIMIT 1
    ) next
    WHERE nth < %(workspaces)s
),
in_turn AS MATERIALIZED (
    SELECT workspace_id FROM open_workspaces WHERE due_at <= now() LIMIT {_MOST}
),
fair AS (
    SELECT c.* FROM in_turn CROSS JOIN LATERAL (
        SELECT {_CLAIMED}, edits_bytes, due_at <= now() - %(late)s AS is_late
        FROM publisher.publish_command c
        -- As a pair, so that no plan reads another index and filters.
        WHERE {_OPEN} AND workspace_id = in_turn.workspace_id
          AND (workspace_id, due_at) <= (in_turn.workspace_id, now()) AND due_at >= {_SINCE}
          AND {_NO_OLDER_POSTPONED}
        ORDER BY due_at, id
        LIMIT {_MOST} / (SELECT count(*) FROM in_turn)
        FOR UPDATE SKIP LOCKED
    ) c
),
late AS (
    SELECT {_CLAIMED}, edits_bytes, true AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND due_at >= {_SINCE} AND due_at <= now() - %(late)s AND {_NO_OLDER_POSTPONED}
      AND id NOT IN (SELECT id FROM fair)
    ORDER BY due_at, id
    LIMIT {_MOST} - (SELECT count(*) FROM fair)
    FOR UPDATE SKIP LOCKED
),
fresh AS (
    SELECT {_CLAIMED}, edits_bytes, false AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND due_at > now() - %(late)s AND due_at <= now() AND {_NO_OLDER_POSTPONED}
      AND id NOT IN (SELECT id FROM fair)
    ORDER BY due_at, id
    LIMIT %(limit)s - (SELECT count(*) FROM fair) - (SELECT count(*) FROM late)
    FOR UPDATE SKIP LOCKED
),
due AS (SELECT * FROM fair UNION ALL SELECT * FROM late UNION ALL SELECT * FROM fresh)""",
    more=f""",
       CASE WHEN (SELECT count(*) FROM in_turn) = {_MOST}
            THEN (SELECT max(workspace_id) FROM in_turn)
            WHEN (SELECT count(*) FROM open_workspaces) = %(workspaces)s
            THEN (SELECT max(workspace_id) FROM open_workspaces)
            ELSE -1 END AS next_turn""",
)

# Whether more commands are due than fit. Those that other transactions have locked count, too.
ARE_MANY_DUE = f"""
SELECT EXISTS (
    SELECT FROM publisher.publish_command
    WHERE {_OPEN} AND due_at >= {_SINCE} AND due_at <= now()
    ORDER BY due_at OFFSET %(limit)s
)
"""

# Claim all due commands if they fit, the oldest first; else none. It takes half a millisecond less
# than the other claim, which the server spends on preparing a plan that it then hardly uses.
CLAIM_FEW = _CLAIM.format(
    due=f"""due AS (
    SELECT {_CLAIMED}, edits_bytes, due_at <= now() - %(late)s AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND due_at >= {_SINCE} AND due_at <= now() AND {_NO_OLDER_POSTPONED}
    ORDER BY due_at, id
    LIMIT CASE WHEN ({ARE_MANY_DUE}) THEN 0 ELSE %(limit)s END
    FOR UPDATE SKIP LOCKED
)""",
    more="",
)

# When the oldest open command falls due, or now, less a second for transactions that are under way.
OLDEST_OPEN = f"""
SELECT (least(now(), (
    SELECT due_at FROM publisher.publish_command WHERE {_OPEN} ORDER BY due_at LIMIT 1
)) - interval '1 second')::text
"""

# How many seconds the oldest command that can be claimed has been due.
LATENESS = f"""
SELECT extract(epoch FROM clock_timestamp() - due_at)::float8
FROM publisher.publish_command c
WHERE {_OPEN} AND due_at <= now() AND {_NO_OLDER_POSTPONED}
ORDER BY due_at, id
LIMIT 1
"""

# Claim these commands again after their batch failed.
CLAIM_THESE = _CLAIM.format(
    due=f"""due AS (
    SELECT {_CLAIMED}, edits_bytes, false AS is_late
    FROM publisher.publish_command c
    WHERE {_OPEN} AND id = ANY(%(ids)s::uuid[])
    ORDER BY due_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)""",
    more="",
)

# Lock commands that have not ended. This waits for other transactions.
LOCK = f"""
SELECT {_ALWAYS}, true AS video_held, true AS video_exists, clock_timestamp() AS now,
       {_SOMETIMES},
       {_WAS_PUBLISHED.format(command="c")},
       {_COUNTERPART.format(command="c")}
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
SELECT {_ALWAYS}, true AS video_held, true AS video_exists, clock_timestamp() AS now,
       {_SOMETIMES},
       {_WAS_PUBLISHED.format(command="c")},
       {_COUNTERPART.format(command="c")}
FROM publisher.publish_command c
WHERE state = 'scheduled' AND time_zone = %(zone)s AND zone_digest = %(digest)s AND is_announced
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

# Lock timed commands that were enqueued in SQL, and of which no event was recorded.
LOCK_UNANNOUNCED = f"""
SELECT {_ALWAYS}, true AS video_held, true AS video_exists, clock_timestamp() AS now,
       {_SOMETIMES},
       {_WAS_PUBLISHED.format(command="c")},
       {_COUNTERPART.format(command="c")}
FROM publisher.publish_command c
WHERE NOT is_announced AND state = 'scheduled' AND asked_for > accepted_at
ORDER BY id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

MAX_BYTES = 4 * 1024 * 1024
"""The size of the edits in one claim: the worker and the server hold a batch in memory."""

MAX_WORKSPACES = 1000
"""The workspaces that one claim looks at. The next one continues after them."""

NOBODY = -1
"""Less than the id of every workspace."""

SLOW_SECONDS = 0.2
"""A claim that takes longer has probably the plan of a time with few open commands: with few, every
partial index costs the same, and the one that was chosen may be read whole for each command."""

DEAD_SECONDS = 0.05
"""A claim that takes longer probably reads rows of commands that have ended: while a transaction is
open anywhere, a backup for example, PostgreSQL keeps every row version that this one can see."""

QUICK_SECONDS = 0.01
"""If the oldest open command is found sooner, few ended ones lie before it."""

SHARE_OF_LOOKS = 0.1
"""The share of the time that looking for the oldest open command may take, up to `MAX_PAUSE`."""

MAX_PAUSE = 30.0
"""Seconds. A look may also be slow because it waited for the machine."""

EVER = "-infinity"

LATE = timedelta(seconds=1)
"""Commands that are later than this were delayed by an outage."""


@dataclass(slots=True)
class NextClaim:
    """Where the next claim of a process begins."""

    after: int = NOBODY
    """The last workspace of the claim before."""
    since: str = EVER
    """The oldest due time that is read."""
    holds_until: float = 0.0
    """By `time.monotonic()`: how long `since` holds."""
    are_many_ended: bool = False
    """Whether a claim of everything probably reads many ended commands again and again."""
    are_many_due: bool = False
    """Whether more is probably due than fits, so that the next claim divides it."""


def claim_due(tx: Connection, limit: int, start: NextClaim | None = None) -> list[ClaimedCommand]:
    """Claim up to `limit` due commands, fairly over workspaces, the oldest first; skip locked ones.

    `start` is moved on: give it to the next claim.
    """
    start = start or NextClaim()
    if time.monotonic() >= start.holds_until:
        start.since = EVER
        if start.are_many_ended:
            _begin_at_oldest(tx, start)
    began = time.monotonic()
    try:
        claimed = _claim(tx, claim_parameters(limit, start.after, start.since), start)
    finally:  # also if the server ended it, as it would the next one
        seconds = time.monotonic() - began
        start.are_many_ended |= start.since == EVER and seconds > DEAD_SECONDS
    if seconds > SLOW_SECONDS:
        forget_plans(tx)
    start.after = claimed[0].next_turn if claimed else NOBODY
    return claimed


def _begin_at_oldest(tx: Connection, start: NextClaim) -> None:
    """Begin this claim, and those of a while, at the oldest open command.

    This reads the ended commands before it once, and a claim several times.
    """
    began = time.monotonic()
    [[start.since]] = tx.execute(OLDEST_OPEN)
    now = time.monotonic()
    start.holds_until = now + _to_pause(now - began)
    start.are_many_ended = now - began > QUICK_SECONDS


def _claim(tx: Connection, values: dict[str, Any], start: NextClaim) -> list[ClaimedCommand]:
    """Claim all that is due if it fits, else divide it. This changes `start.are_many_due`."""
    if not start.are_many_due:
        with tx.pipeline():  # one round trip, with BEGIN
            claimed = _open_cursor(tx).execute(CLAIM_FEW, values)
            found = tx.execute(ARE_MANY_DUE, {name: values[name] for name in ("since", "limit")})
        [[start.are_many_due]] = found
        if not start.are_many_due:
            return claimed.fetchall()
    divided = _open_cursor(tx).execute(CLAIM_DUE, values).fetchall()
    start.are_many_due = 5 * len(divided) >= 4 * values["limit"]
    return divided


def _open_cursor(tx: Connection) -> psycopg.Cursor[ClaimedCommand]:
    return tx.cursor(row_factory=to_values(ClaimedCommand), binary=True)


def claim_parameters(limit: int, after: int = NOBODY, since: str = EVER) -> dict[str, Any]:
    """Return the parameters of `CLAIM_DUE` and `CLAIM_FEW`."""
    return {
        "limit": limit,
        "bytes": MAX_BYTES,
        "late": LATE,
        "workspaces": MAX_WORKSPACES,
        "after": after,
        "since": since,
    }


def _to_pause(seconds: float) -> float:
    """Return how long claims begin at the oldest open command, after a look for it.

    A command of a transaction that is committed later, and that fell due before, waits for this
    long.
    """
    return min(max(seconds / SHARE_OF_LOOKS, 1.0), MAX_PAUSE)


def read_lateness(tx: Connection) -> float:
    """Return how many seconds the oldest command that can be claimed has been due; 0: none."""
    row = tx.execute(LATENESS).fetchone()
    return row[0] if row else 0.0


def claim_these(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Claim those of these commands that have not ended and are not locked."""
    values = {"ids": to_array(ids), "limit": len(ids), "bytes": MAX_BYTES}
    return _open_cursor(tx).execute(CLAIM_THESE, values).fetchall()


def lock_commands(tx: Connection, ids: Sequence[UUID]) -> list[ClaimedCommand]:
    """Lock commands by id, waiting for other transactions; omit those that have ended by then.

    Raises LockNotAvailable after a while: a platform's transaction that ends generation may hold
    them for as long as it likes.
    """
    wait_briefly(tx)
    return _open_cursor(tx).execute(LOCK, {"ids": to_array(ids)}).fetchall()


def read_zones(tx: Connection) -> list[tuple[str, str]]:
    """Return the time zones of scheduled commands, with the digests of the rules that were used."""
    return tx.execute(ZONES).fetchall()  # pyright: ignore[reportReturnType] - two texts


def lock_outdated(tx: Connection, zone: str, digest: str, limit: int) -> list[ClaimedCommand]:
    """Lock scheduled commands of a zone whose instants were computed with these rules."""
    values = {"zone": zone, "digest": digest, "limit": limit}
    return _open_cursor(tx).execute(LOCK_OUTDATED, values).fetchall()


def lock_unannounced(tx: Connection, limit: int) -> list[ClaimedCommand]:
    """Lock timed commands that were enqueued in SQL, and of which no event was recorded."""
    return _open_cursor(tx).execute(LOCK_UNANNOUNCED, {"limit": limit}).fetchall()
