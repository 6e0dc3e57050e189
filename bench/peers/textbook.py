"""The peer: a textbook Celery worker, one task per video.

    SELECT … FOR UPDATE, check, compute, UPDATE, INSERT into an outbox, commit; then XADD

The same rules, the same facts and the same event as ours, so that only the way of working differs.
It is given what a good engineer would give it, and a little more: see PREFETCH, `_transaction` and
`publish_video`. It promises less than ours: a crash between commit and XADD loses the event until
some sweep that is not written here, and a retry after the XADD would be a second event.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import psycopg
from celery import Celery
from psycopg.rows import TupleRow
from pydantic_core import to_json
from redis import Redis

from db.videos import facts_and_release
from schemas.command import CommandState, Trigger
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand, Names, VideoFacts
from worker.rules.decision import decide

STREAM = "textbook.events"
QUEUE = "textbook"
PREFETCH = 4
"""Messages per process fetched ahead: Celery's default, and what its guide has for short tasks."""

OUTBOX = """
CREATE TABLE IF NOT EXISTS textbook_outbox (
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
RECORD = "INSERT INTO textbook_outbox (event_id, video_id, data) VALUES (%s, %s, %s)"

app = Celery("textbook")
app.conf.update(
    broker_url=os.environ.get("BROKER_URL"),
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,  # or a killed worker loses the video in hand
    worker_prefetch_multiplier=PREFETCH,
    broker_transport_options={"global_keyprefix": "textbook:"},
)

Connection = psycopg.Connection[TupleRow]


@lru_cache(maxsize=1)
def database() -> Connection:
    """One open connection per process, as a pool in a prefork worker has."""
    return psycopg.connect(os.environ["DATABASE_URL"].replace("+psycopg", ""))


@lru_cache(maxsize=1)
def redis() -> Redis:
    """A client per process."""
    return Redis.from_url(os.environ["REDIS_URL"])


@app.task(name="textbook.publish_video")
def publish_video(video_id: int) -> None:
    """Publish one video. The event is not marked as sent in the outbox: a write less."""
    if event := _transaction(video_id):
        redis().xadd(STREAM, {"event": event})


def _transaction(video_id: int) -> bytes | None:
    """One transaction, through psycopg: an ORM would only add to it."""
    with database().transaction():
        tx = database()
        row = tx.execute(LOCK, (video_id,)).fetchone()
        if row is None:
            return None
        facts = facts_and_release.read_facts(tx, [video_id])[video_id]
        decision = _decide(facts, *row)
        return _write(tx, facts, decision) if decision.state is CommandState.PUBLISHED else None


def _decide(facts: VideoFacts, workspace_id: int, now: Any) -> Decision:
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


def _write(tx: Connection, facts: VideoFacts, decision: Decision) -> bytes:
    release, event = decision.release, decision.event
    assert release is not None
    assert event is not None
    tx.execute(FLIP, (facts.now, facts.id))
    tx.execute(
        RELEASE,
        (
            facts.id,
            release.short_id,
            release.custom_url,
            to_json(release.metrics).decode(),
            release.revision,
            release.first_published_at,
            release.published_at,
        ),
    )
    data = to_json(event.data)
    tx.execute(RECORD, (event.id, facts.id, data.decode()))
    return _cloud_event(event.id, facts.id, data)


def _cloud_event(event_id: UUID, video_id: int, data: bytes) -> bytes:
    head = {"specversion": "1.0", "type": "video.published", "id": event_id, "subject": video_id}
    return to_json(head)[:-1] + b',"data":' + data + b"}"


def send_all(broker_url: str, video_ids: Sequence[int]) -> None:
    """One message per video, over one kept producer: `delay` would fetch one for each."""
    app.conf.update(broker_url=broker_url)
    with app.producer_or_acquire() as producer:
        for video_id in video_ids:
            publish_video.apply_async((video_id,), producer=producer)
