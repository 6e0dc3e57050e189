"""Processes in SQL: each one's heartbeat, and which are alive. All times are the database's."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db.session import Connection
from publish_worker_client.rows import to_values
from schemas.values.process import ProcessRole

ALIVE_SECONDS = 15.0
"""Without a heartbeat for this long, a process is gone: it has missed three."""

# Write a process's row. Ages become times here, so the clocks of hosts need not agree.
BEAT = """
INSERT INTO publisher.process AS process
    (id, role, name, pid, version, processes, queues, started_at, seen_at,
     batch_at, relay_at, delivery_at)
SELECT %(id)s, %(role)s, %(name)s, %(pid)s, %(version)s, %(processes)s, %(queues)s,
       now - make_interval(secs => %(age)s), now,
       now - make_interval(secs => %(batch_age)s),
       now - make_interval(secs => %(relay_age)s),
       now - make_interval(secs => %(delivery_age)s)
FROM clock_timestamp() AS now
ON CONFLICT (id) DO UPDATE SET
    processes = excluded.processes, queues = excluded.queues, seen_at = excluded.seen_at,
    batch_at = excluded.batch_at, relay_at = excluded.relay_at, delivery_at = excluded.delivery_at
"""

# Delete the row of a process that ends.
REMOVE = "DELETE FROM publisher.process WHERE id = %(id)s"

# The processes that are alive, and those that have gone within the last hour without shutting down,
# unless one of the same name has started since: others of that name ran beside them.
READ = """
SELECT id, role, name, pid, version, processes, queues, started_at, seen_at, batch_at, relay_at,
       delivery_at, extract(epoch FROM now - seen_at)::float8 AS seen_seconds,
       extract(epoch FROM now - batch_at)::float8 AS batch_seconds, seen_at > alive AS is_alive
FROM publisher.process AS process, clock_timestamp() AS now,
     LATERAL (SELECT now - make_interval(secs => %(alive)s) AS alive) AS since
WHERE seen_at > now - interval '1 hour' AND (seen_at > alive OR NOT EXISTS (
    SELECT FROM publisher.process AS other
    WHERE (other.role, other.name) = (process.role, process.name) AND other.seen_at > alive
      AND other.started_at > process.seen_at
))
ORDER BY array_position('{worker,beat,api}', role), name, pid
LIMIT 1000
"""

# Delete the rows of processes that have been gone for long, a limited number at a time.
PRUNE = """
DELETE FROM publisher.process WHERE id IN (
    SELECT id FROM publisher.process WHERE seen_at < now() - interval '1 day' LIMIT %(limit)s
)
"""


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """A process as it reports itself; ages in seconds, None: it never did that."""

    id: UUID
    role: ProcessRole
    name: str
    pid: int
    version: str
    processes: int
    queues: list[str]
    age: float
    batch_age: float | None = None
    relay_age: float | None = None
    delivery_age: float | None = None


@dataclass(frozen=True, slots=True)
class SeenProcess:
    """A process as its last heartbeat shows it."""

    id: UUID
    role: str
    name: str
    pid: int
    version: str
    processes: int
    """Of a worker's pool; 1 for others."""
    queues: list[str]
    started_at: datetime
    seen_at: datetime
    batch_at: datetime | None
    relay_at: datetime | None
    delivery_at: datetime | None
    seen_seconds: float
    """How long ago the last heartbeat was."""
    batch_seconds: float | None
    is_alive: bool
    """False: it has gone without shutting down, or is stopped."""


def beat(tx: Connection, state: ProcessState) -> None:
    """Write the row of a process."""
    tx.execute(BEAT, {**vars(state)})


def remove(tx: Connection, process_id: UUID) -> None:
    """Delete the row of a process."""
    tx.execute(REMOVE, {"id": process_id})


def read(tx: Connection) -> list[SeenProcess]:
    """Return the processes that are alive or went within the last hour, at most 1,000."""
    with tx.cursor(row_factory=to_values(SeenProcess)) as cursor:
        return cursor.execute(READ, {"alive": ALIVE_SECONDS}).fetchall()


def prune(tx: Connection, *, limit: int) -> int:
    """Delete up to `limit` rows without a heartbeat for a day."""
    return tx.execute(PRUNE, {"limit": limit}).rowcount
