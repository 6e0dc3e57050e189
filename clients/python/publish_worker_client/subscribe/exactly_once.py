"""Exactly one effect: the position is stored in the consumer's own Postgres, with the effect.

An event may be delivered twice: its consumer may be killed between the effect and the
acknowledgement. One transaction for the effect and the position makes the second one a no-op.

    with once(connection, "search", delivery.event) as is_new:
        if is_new:
            connection.execute(…)  # the effect
    delivery.ack()
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg.rows import TupleRow

from publish_worker_client.events.event import Event

CREATE = """
CREATE TABLE IF NOT EXISTS subscriber_position (
    group_name text NOT NULL,
    position bigint NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, position)
)
"""

# Record that an event is handled; no row if it was before. Waits for another transaction that is
# recording the same position.
RECORD = """
INSERT INTO subscriber_position (group_name, position) VALUES (%(group)s, %(position)s)
ON CONFLICT DO NOTHING RETURNING position
"""

# The end of the first run of positions without a gap: later events may be unhandled.
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

OwnConnection = psycopg.Connection[TupleRow]
OwnAsyncConnection = psycopg.AsyncConnection[TupleRow]


def create_positions(connection: OwnConnection) -> None:
    """Create the table `subscriber_position` in the consumer's database, unless it exists."""
    with connection.transaction():
        connection.execute(CREATE)


@contextmanager
def once(connection: OwnConnection, group: str, event: Event) -> Generator[bool]:
    """Open a transaction for an event's effect; True: the effect is to be done, False: it was done.

    `group` separates consumers with different effects. Events may come in any order, from any
    number of consumers, and redriven. In an open transaction it is a savepoint of that one.
    """
    with connection.transaction():
        values = {"group": group, "position": event.position}
        yield connection.execute(RECORD, values).fetchone() is not None


@asynccontextmanager
async def once_async(
    connection: OwnAsyncConnection, group: str, event: Event
) -> AsyncGenerator[bool]:
    """Do the same as `once` on an asynchronous connection."""
    async with connection.transaction():
        values = {"group": group, "position": event.position}
        cursor = await connection.execute(RECORD, values)
        yield await cursor.fetchone() is not None


def handled_up_to(connection: OwnConnection, group: str) -> int | None:
    """Return the position up to which every event's effect is done; None: there is none.

    Use it for `start_after`. It is meant for consumers that record every event, whatever its type.
    """
    with connection.transaction():
        row = connection.execute(HANDLED, {"group": group}).fetchone()
        return row[0] if row else None


def forget_positions(connection: OwnConnection, group: str, *, before: int) -> int:
    """Delete the positions before one; return their number. Such events must not come again."""
    with connection.transaction():
        return connection.execute(FORGET, {"group": group, "before": before}).rowcount
