"""A subscriber's own record, in its own database, of the events whose effect is there."""

import psycopg
from psycopg.rows import TupleRow

CREATE = """
CREATE TABLE IF NOT EXISTS subscriber_position (
    group_name text NOT NULL,
    position bigint NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, position)
)
"""

# Record that an event is handled; no row if it was before. Another transaction that is at it just
# now is waited for.
RECORD = """
INSERT INTO subscriber_position (group_name, position) VALUES (%(group)s, %(position)s)
ON CONFLICT DO NOTHING RETURNING position
"""

# The end of the first run of positions without a gap: what comes behind may be unhandled.
HANDLED = """
SELECT min(position) FROM subscriber_position AS here
WHERE group_name = %(group)s AND NOT EXISTS (
    SELECT FROM subscriber_position AS following
    WHERE following.group_name = here.group_name AND following.position = here.position + 1
)
"""

FORGET = """
DELETE FROM subscriber_position WHERE group_name = %(group)s AND position < %(before)s
"""

Own = psycopg.Connection[TupleRow]
OwnAsync = psycopg.AsyncConnection[TupleRow]


def create(connection: Own) -> None:
    """Make the table, unless it is there."""
    connection.execute(CREATE)


def record(connection: Own, group: str, position: int) -> bool:
    """Record a position; False: it was recorded before."""
    values = {"group": group, "position": position}
    return connection.execute(RECORD, values).fetchone() is not None


async def record_async(connection: OwnAsync, group: str, position: int) -> bool:
    """Record a position; False: it was recorded before."""
    cursor = await connection.execute(RECORD, {"group": group, "position": position})
    return await cursor.fetchone() is not None


def handled(connection: Own, group: str) -> int | None:
    """The last position before the first gap."""
    row = connection.execute(HANDLED, {"group": group}).fetchone()
    return row[0] if row else None


def forget(connection: Own, group: str, before: int) -> int:
    """Forget positions; return how many."""
    return connection.execute(FORGET, {"group": group, "before": before}).rowcount
