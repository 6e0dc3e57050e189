"""Fill a run's database as after weeks of work: commands of every kind, events, webhooks, keys.

The rows are made by the server, from `generate_series`: 1,000,000 commands, 10,000,000 events and
1,000,000 videos need about ten minutes and 45 GB.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg import ClientCursor, sql
from sqlalchemy import Engine

from bench.many_videos import UNCHECKED, make_videos
from bench.ours import ORIGIN
from bench.setup import Run, unlimited, vacuum
from db.commands.failures import to_cause
from db.events import summary
from db.session import Connection, transaction
from publish_worker_client.events.cloud_event import to_cloud_event
from publish_worker_client.events.outbox import read_after, read_ends
from publish_worker_client.events.stream_entries import STREAM
from schemas.command import PublishRequest
from worker.enqueue.accept import enqueue
from worker.events.foreign_entries import RELAYED
from worker.publish.run import run_due
from worker.runtime.wake_ups import Waker

BASE_URL = "https://videos.example.com"
PER_STATEMENT = 1_000_000
"""Rows that one statement inserts."""

# While filling, nothing waits for the disk; everything is flushed before anything is measured.
CARELESS = ("fsync", "synchronous_commit", "full_page_writes")

# A command's id and time by its number. A UUIDv7, so that ids follow time.
FUNCTIONS = sql.SQL("""
CREATE FUNCTION pg_temp.time_of(i bigint) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT {now}::timestamptz - interval '20 days' * (1 - least(1, i / {commands}::float8))
$$;
CREATE FUNCTION pg_temp.id_of(i bigint) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (lpad(to_hex((1000 * extract(epoch FROM pg_temp.time_of(i)))::bigint), 12, '0')
            || '7000800' || lpad(to_hex(i), 13, '0'))::uuid
$$;
""")

# Every second video, those with odd ids, is an old one: published, or still in generation.
OLD_VIDEOS = """
UPDATE video SET is_draft = false, workspace_id = id / 2 %% 2 + 1
WHERE id %% 2 = 1 AND id BETWEEN %(odd)s AND %(last)s
"""
RELEASES = """
INSERT INTO publisher.video_release (
    video_id, short_id, custom_url, metrics, revision, first_published_at, published_at
)
SELECT id, lpad(id::text, 13, '0'), 'studio/' || lpad(id::text, 13, '0'),
       (SELECT metrics FROM publisher.video_release LIMIT 1), 1, now(), now()
FROM video WHERE id %% 2 = 1 AND id BETWEEN %(odd)s AND %(last)s
"""
UNFINISHED = """
UPDATE video SET is_draft = true, status = 'in_progress', internal_status = 'rendering'
WHERE id IN (SELECT video_id FROM publisher.publish_command WHERE state = 'waiting')
"""

# Commands of old videos: failed, scheduled, waiting and published, spread over time; then the
# backlog of videos with even ids.
COMMANDS = """
INSERT INTO publisher.publish_command (
    id, video_id, workspace_id, state, reason, detail, trigger, accepted_at, asked_for, due_at,
    fell_due_at, claimed_at, attempts, finished_at, patient_until, correlation_id
)
SELECT pg_temp.id_of(i), video_id,
       CASE WHEN video_id %% 2 = 1 THEN video_id / 2 %% 2 + 1 ELSE 1 END, state,
       CASE state WHEN 'failed' THEN 'error' WHEN 'waiting' THEN 'generation_in_progress' END,
       CASE state WHEN 'failed' THEN format((ARRAY[
           'UniqueViolation: duplicate key value violates unique constraint "uq_release_%%1$s"',
           'NumericValueOutOfRange: value "%%1$s000000000" is out of range for type integer',
           'DataError: invalid input for column duration of video %%1$s: ''%%1$s s''',
           'CheckViolation: new row for relation "video" violates check constraint "ck_%%1$s"',
           'ValidationError: 1 validation error for VideoMetrics of section %%1$s',
           'ProgramLimitExceeded: index row size %%1$s exceeds btree version 4 maximum 2704'
       ])[1 + i / 7 %% 6], i) END,
       'api', at, CASE WHEN state IN ('scheduled', 'waiting') AND NOT is_backlog THEN due_at END,
       due_at, CASE WHEN state <> 'scheduled' THEN at END,
       CASE WHEN state IN ('failed', 'published') THEN at END,
       CASE state WHEN 'failed' THEN 5 ELSE 0 END,
       CASE WHEN state IN ('failed', 'published')
            THEN at + interval '1 ms' * (8 + i %% 40) END,
       due_at + interval '24 hours', 'bench'
FROM (
    SELECT i, at, state, is_backlog,
           CASE WHEN is_backlog THEN %(odd)s - 1 + 2 * (i - %(settled)s - 1)
                ELSE %(odd)s + 2 * (i %% (%(videos)s / 2 - 1)) END AS video_id,
           CASE WHEN is_backlog OR state IN ('failed', 'published') THEN at
                WHEN state = 'waiting' THEN %(now)s::timestamptz + interval '1 hour'
                ELSE %(now)s::timestamptz + interval '1 hour'
                     + interval '30 days' * (i / %(settled)s::float8) END AS due_at
    FROM (
        SELECT i, i > %(settled)s AS is_backlog, pg_temp.time_of(i) AS at,
               CASE WHEN i > %(settled)s OR i %% (%(settled)s / %(scheduled)s) = 1 THEN 'scheduled'
                    WHEN i %% (%(settled)s / %(failed)s) = 0 THEN 'failed'
                    WHEN i %% (%(settled)s / %(waiting)s) = 2 THEN 'waiting'
                    ELSE 'published' END AS state
        FROM generate_series(%(begin)s::bigint, %(end)s::bigint) i
    ) numbered
) placed
"""

CAUSES = f"""
UPDATE publisher.publish_command SET cause = {to_cause("detail")} WHERE state = 'failed'
"""

# Events with the data of a real one.
EVENTS = """
INSERT INTO publisher.outbox_event (
    position, id, type, video_id, workspace_id, occurred_at, revision, command_id, correlation_id,
    data
)
SELECT i, gen_random_uuid(), CASE WHEN i %% 50 = 0 THEN 'video.publish_failed'
                                  WHEN i %% 50 = 1 THEN 'video.publish_scheduled'
                                  ELSE 'video.published' END,
       %(odd)s + 2 * (command %% (%(videos)s / 2 - 1)),
       (%(odd)s / 2 + command %% (%(videos)s / 2 - 1)) %% 2 + 1,
       pg_temp.time_of(command) + interval '1 ms' * (8 + command %% 40), 1,
       pg_temp.id_of(command), 'bench', data
FROM (SELECT data FROM publisher.outbox_event WHERE position = 1) real,
     (SELECT i, 1 + (i - 1) * %(settled)s / %(events)s AS command
      FROM generate_series(%(begin)s::bigint, %(end)s::bigint) i) numbered
"""
FIRST_EVENT = """
UPDATE publisher.outbox_event SET occurred_at = pg_temp.time_of(1) WHERE position = 1
"""
ADVANCE = """
WITH last AS (UPDATE publisher.event_position SET position = %(events)s RETURNING position)
INSERT INTO publisher.outlet (name, position) SELECT 'webhooks', position FROM last
ON CONFLICT (name) DO UPDATE SET position = excluded.position
"""

# Twenty endpoints that are disabled, so that nothing is sent, with deliveries.
ENDPOINTS = """
INSERT INTO publisher.webhook_endpoint (id, workspace_id, url, secret, state, disabled_reason)
SELECT gen_random_uuid(), 1 + i %% 2, 'https://receiver.example/' || i, 'whsec_' || i, 'disabled',
       'by the caller'
FROM generate_series(1, 20) i
"""
DELIVERIES = """
INSERT INTO publisher.webhook_delivery (
    id, endpoint_id, position, event_id, event_type, video_id, state, attempts, due_at, finished_at
)
SELECT gen_random_uuid(), endpoint.id, e.position, e.id, e.type, e.video_id,
       CASE WHEN e.position %% 10 = 0 THEN 'failed' WHEN e.position %% 10 = 1 THEN 'cancelled'
            ELSE 'delivered' END, 1, e.occurred_at, e.occurred_at
FROM publisher.webhook_endpoint endpoint, publisher.outbox_event e
WHERE e.position > (SELECT max(position) FROM publisher.outbox_event) - %(deliveries)s
"""
KEYS = """
INSERT INTO publisher.api_key (id, name, digest, scope, workspace_id)
SELECT gen_random_uuid(), 'key ' || i, sha256(i::text::bytea), 'publish', 1 + i %% 2
FROM generate_series(1, 100) i
"""
AUDIT = """
INSERT INTO publisher.audit_entry (
    id, at, actor, key_id, actor_name, door, client, action, subject, subject_id, workspace_id,
    outcome, details
)
SELECT pg_temp.id_of(i), pg_temp.time_of(i), 'api_key', (SELECT id FROM publisher.api_key LIMIT 1),
       'editor', 'api', '10.0.0.1', 'command.cancel', 'command', pg_temp.id_of(i)::text,
       1 + i %% 2, 'ok', '{}'
FROM generate_series(1, %(settled)s, 10) i
"""

# Open commands that are due within the next year, and some that wait.
OPEN = """
INSERT INTO publisher.publish_command (
    id, video_id, workspace_id, state, trigger, asked_for, due_at, correlation_id
)
SELECT gen_random_uuid(), i, 1 + i %% 2, CASE WHEN i %% 20 = 0 THEN 'waiting' ELSE 'scheduled' END,
       'api', now() + interval '1 hour' + i * interval '30 s',
       now() + interval '1 hour' + i * interval '30 s', 'bench'
FROM generate_series(1, %(count)s) i
"""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How much to make."""

    videos: int
    commands: int
    """Of every kind."""
    events: int
    failed: int
    scheduled: int
    waiting: int
    backlog: int
    """Commands that are due and can be published; at most half of the videos."""
    deliveries: int
    """Of each endpoint."""

    @property
    def settled(self) -> int:
        """How many are not in the backlog."""
        return self.commands - self.backlog


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What was made."""

    videos: range
    """Old ones."""


def fill(run: Run, wanted: Filling, say: Callable[[str], None]) -> Filled:
    """Fill the database of a run and its stream; `say` gets each step's name."""
    _publish_one(run)
    with _careless(run.engine):
        say(f"{wanted.videos:,} videos")
        even = make_videos(run.engine, run.video_ids[1:], wanted.videos, each=2)
        odd = even[0] + 1
        values: dict[str, Any] = asdict(wanted) | {
            "settled": wanted.settled,
            "odd": odd,
            "last": even[-1],
            "now": datetime.now(UTC),
        }
        with unlimited(run.engine) as tx:
            _fill(tx, wanted, values, say)
        say("VACUUM ANALYZE and a checkpoint")
        vacuum(run.engine, checkpoint=True)
        say("the summary of events")
        _summarise(run.engine)
    _fill_stream(run)
    return Filled(videos=range(odd, even[-1], 2))


def add_open_commands(engine: Engine, count: int) -> None:
    """Add open commands that no worker takes yet."""
    with _careless(engine):
        with unlimited(engine) as tx:
            tx.execute(OPEN, {"count": count})
        vacuum(engine, checkpoint=True)


def _fill(
    tx: Connection, wanted: Filling, values: dict[str, Any], say: Callable[[str], None]
) -> None:
    tx.execute(UNCHECKED)
    tx.execute(
        FUNCTIONS.format(now=sql.Literal(values["now"]), commands=sql.Literal(wanted.settled))
    )
    for statement in (OLD_VIDEOS, RELEASES):
        _execute(tx, statement, values)
    for name, statement, first, last in (
        ("commands", COMMANDS, 1, wanted.commands),
        ("events", EVENTS, 2, wanted.events),
    ):
        for begin in range(first, last + 1, PER_STATEMENT):
            say(f"{name} {begin:,} and following")
            end = min(begin + PER_STATEMENT - 1, last)
            _execute(tx, statement, values | {"begin": begin, "end": end})
    say("webhooks, keys, audit log")
    for statement in (CAUSES, UNFINISHED, FIRST_EVENT, ADVANCE, ENDPOINTS, DELIVERIES, KEYS, AUDIT):
        _execute(tx, statement, values)


def _execute(tx: Connection, statement: str, values: dict[str, Any]) -> None:
    """Execute with the values written into the text, where their types need no guess."""
    ClientCursor(tx).execute(statement, values)  # pyright: ignore[reportArgumentType, reportCallIssue] - constants only


def _publish_one(run: Run) -> None:
    """Publish a video, for an event and a release with real data."""
    waker = Waker(redis=run.redis, send=lambda _: None)
    enqueue(run.engine, waker, [PublishRequest(video_id=run.video_ids[0])], ORIGIN)
    run_due(run.engine, base_url=BASE_URL, wake=lambda: None, committed=lambda _: None)


def _summarise(engine: Engine) -> None:
    """Count the events of the last day, as a worker's sweep does."""
    while True:
        with transaction(engine) as tx:
            if summary.summarise(tx) < summary.LIMIT:
                return


def _fill_stream(run: Run) -> None:
    """Let the stream end with the last event, as a relay leaves it."""
    with transaction(run.engine) as tx:
        last, _ = read_ends(tx)
        [event] = read_after(tx, last - 1, 1)
    run.redis.delete(STREAM)
    run.redis.xadd(STREAM, {"event": to_cloud_event(event, BASE_URL)}, id=f"{last}-0")
    run.redis.set(RELAYED, last)


@contextmanager
def _careless(engine: Engine) -> Generator[None]:
    """Let the server not wait for the disk; flush everything at the end."""
    try:
        _configure(engine, "ALTER SYSTEM SET {} = off")
        yield
    finally:
        _configure(engine, "ALTER SYSTEM RESET {}")
        os.sync()


def _configure(engine: Engine, statement: LiteralString) -> None:
    with unlimited(engine, autocommit=True) as session:
        for name in CARELESS:
            session.execute(sql.SQL(statement).format(sql.Identifier(name)))
        session.execute("SELECT pg_reload_conf()")
