"""The work that every peer does for one video; only who calls it, and how often, differs.

    SELECT … FOR UPDATE, check, compute, UPDATE, INSERT of the release, INSERT into an outbox,
    commit; then XADD to a stream

The rules, the facts query and the event are ours. In the peers' favour: psycopg instead of an ORM,
and the outbox row is never marked as sent. They promise less than ours: a crash between commit and
XADD loses the event until some sweep that is not written here.
"""

import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool
from pydantic_core import to_json
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from db.session import to_array
from db.videos import facts_and_release
from publish_worker_client.events.names import Trigger
from schemas.command import CommandState
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand, Names, VideoFacts
from worker.rules.decision import decide

STREAM = "peer.events"
OUTBOX_TABLE = "peer_outbox"
OUTBOX = """
CREATE TABLE IF NOT EXISTS peer_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    video_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    data jsonb NOT NULL
)
"""
LOCK = "SELECT workspace_id, now() FROM video WHERE id = %s FOR UPDATE"
FLIP = "UPDATE video SET is_draft = false, updated_at = %s WHERE id = %s"
RELEASE = """
INSERT INTO publisher.video_release AS r
    (video_id, short_id, custom_url, metrics, revision, first_published_at, published_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (video_id) DO UPDATE SET
    custom_url = excluded.custom_url, metrics = excluded.metrics,
    revision = excluded.revision, published_at = excluded.published_at
"""
RECORD = "INSERT INTO peer_outbox (event_id, video_id, data) VALUES (%s, %s, %s)"
GENERIC_PLANS = "-c plan_cache_mode=force_generic_plan"
"""Planning the facts query takes longer than running it for one video."""
CONNECTIONS = 8
"""Of each process with asynchronous tasks; as many as Dramatiq has threads."""

Connection = psycopg.Connection[TupleRow]
AsyncConnection = psycopg.AsyncConnection[TupleRow]
Statement = tuple[LiteralString, tuple[Any, ...]]
Send = Callable[[Sequence[int]], None]
"""Hand videos to the workers; returns when the last one is accepted."""

_of_thread = threading.local()


def database_url() -> str:
    """The run's database, as libpq spells it."""
    return os.environ["DATABASE_URL"].replace("+psycopg", "")


def create_outbox() -> None:
    """Create the outbox table of the peers."""
    with psycopg.connect(database_url()) as session:
        session.execute(OUTBOX)


def publish(video_id: int) -> None:
    """Publish one video over this thread's connections, as a synchronous task does."""
    if event := _transaction(_connection(), video_id):
        _redis().xadd(STREAM, {"event": event})


class AsyncWorker:
    """The connections of a process with asynchronous tasks; made in its event loop."""

    def __init__(self) -> None:
        self.redis = AsyncRedis.from_url(os.environ["REDIS_URL"])
        self.pool = AsyncConnectionPool[AsyncConnection](
            database_url(),
            kwargs={"options": GENERIC_PLANS, "autocommit": True},
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            timeout=120,
            open=False,
        )

    async def publish(self, video_id: int) -> None:
        """Publish one video."""
        await self.pool.open()  # does nothing if it is open
        async with self.pool.connection() as connection, connection.transaction():
            event = await _transaction_async(connection, video_id)
        if event:
            await self.redis.xadd(STREAM, {"event": event})


def _connection() -> Connection:
    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = psycopg.connect(
            database_url(), options=GENERIC_PLANS, autocommit=True
        )
    return _of_thread.connection


def _redis() -> Redis:
    if not hasattr(_of_thread, "redis"):
        _of_thread.redis = Redis.from_url(os.environ["REDIS_URL"])
    return _of_thread.redis


def _transaction(tx: Connection, video_id: int) -> bytes | None:
    with tx.transaction():
        row = tx.execute(LOCK, (video_id,)).fetchone()
        if row is None:
            return None
        facts = facts_and_release.read_facts(tx, [video_id])[video_id]
        event, statements = decide_one(facts, *row)
        for statement, values in statements:
            tx.execute(statement, values)
    return event


async def _transaction_async(tx: AsyncConnection, video_id: int) -> bytes | None:
    row = await (await tx.execute(LOCK, (video_id,))).fetchone()
    if row is None:
        return None
    async with tx.cursor(row_factory=class_row(VideoFacts), binary=True) as cursor:
        await cursor.execute(facts_and_release.READ_FACTS, {"ids": to_array([video_id])})
        facts = await cursor.fetchone()
    assert facts is not None
    event, statements = decide_one(facts, *row)
    for statement, values in statements:
        await tx.execute(statement, values)
    return event


def decide_one(
    facts: VideoFacts, workspace_id: int, now: datetime
) -> tuple[bytes | None, list[Statement]]:
    """Apply the rules; return the event (None: not published) and the statements that write it."""
    decision = decide_as_ours(facts, workspace_id, now)
    if decision.state is not CommandState.PUBLISHED:
        return None, []
    release, event = decision.release, decision.event
    assert release is not None
    assert event is not None
    data = to_json(event.data)
    released = (
        *(facts.id, release.short_id, release.custom_url, to_json(release.metrics).decode()),
        *(release.revision, release.first_published_at, release.published_at),
    )
    return to_cloud_event(event.id, facts.id, data), [
        (FLIP, (facts.now, facts.id)),
        (RELEASE, released),
        (RECORD, (event.id, facts.id, data.decode())),
    ]


def decide_as_ours(facts: VideoFacts, workspace_id: int, now: datetime) -> Decision:
    """Decide by this project's rules: readiness, URL, metrics, event."""
    command = ClaimedCommand(
        id=uuid4(),
        video_id=facts.id,
        workspace_id=workspace_id,
        state=CommandState.SCHEDULED,
        trigger=Trigger.PIPELINE,
        edits=None,
        accepted_at=now,
        due_at=now,
        patient_until=facts.now,
        checks=0,
        attempts=0,
        correlation_id="bench",
        traceparent=None,
        video_held=True,
        video_exists=True,
        now=now,
    )
    names = Names(categories={}, subcategories={}, tags={})
    return decide(command, facts, names, os.environ["PUBLIC_BASE_URL"])


def to_cloud_event(event_id: str, video_id: int, data: bytes) -> bytes:
    """Assemble the event as JSON."""
    head = {
        "specversion": "1.0",
        "type": "video.published",
        "id": event_id,
        "subject": str(video_id),
    }
    return to_json(head)[:-1] + b',"data":' + data + b"}"
