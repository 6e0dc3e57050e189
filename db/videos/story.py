"""The story of a video in SQL: a fixed number of statements, each with a limit of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json

from db.session import Connection, to_array

# The video's beginning, its release and the last report of its generation.
READ_STATE = """
SELECT v.created_at::timestamptz, r.metrics, r.withdrawn_at,
       g.run, g.is_final, g.reported_at, g.progress, g.completed, g.detail
FROM video v
LEFT JOIN publisher.video_release r ON r.video_id = v.id
LEFT JOIN publisher.video_generation g ON g.video_id = v.id
WHERE v.id = %(video_id)s
"""

# The newest commands of a video, in its workspace.
READ_COMMANDS = """
SELECT id, action, state, reason, left(detail, 4000) AS detail, trigger, accepted_at, asked_for,
       due_at, fell_due_at, claimed_at, finished_at, attempts
FROM publisher.publish_command
WHERE video_id = %(video_id)s AND workspace_id = %(workspace_id)s AND trigger <> 'canary'
ORDER BY video_id DESC, id DESC
LIMIT %(limit)s
"""

# The events of commands. The outbox has no index of videos or commands, because it would slow down
# every insert: positions follow time, so the position of each moment is found by bisection. Events
# near it are read, because concurrent batches overlap.
FIND_EVENTS = """
WITH RECURSIVE moment AS (
    SELECT row_number() OVER () AS nth, command_id, at
    FROM jsonb_to_recordset(%(moments)s::jsonb) AS (command_id uuid, at timestamptz)
),
bisection AS (
    SELECT nth, at, ends.first AS low, ends.last + 1 AS high
    FROM moment, (
        SELECT (SELECT min(position) FROM publisher.outbox_event) AS first, position AS last
        FROM publisher.event_position
    ) ends
    WHERE ends.first IS NOT NULL
    UNION ALL
    SELECT nth, at,
           CASE WHEN probe.occurred_at < at THEN (low + high) / 2 + 1 ELSE low END,
           CASE WHEN probe.occurred_at < at THEN high ELSE (low + high) / 2 END
    FROM bisection LEFT JOIN LATERAL (
        SELECT occurred_at FROM publisher.outbox_event WHERE position = (low + high) / 2
    ) probe ON true
    WHERE low < high
)
SELECT DISTINCT ON (near.position) near.*
FROM moment JOIN bisection USING (nth) CROSS JOIN LATERAL (
    SELECT position, type, occurred_at, command_id, revision,
           CASE WHEN type = 'video.published' THEN data->>'custom_url' END AS custom_url
    FROM (
        -- With a limit, so that each plan begins in the index.
        SELECT * FROM publisher.outbox_event WHERE position >= low - %(slack)s
        ORDER BY position LIMIT 2 * %(slack)s + 1
    ) window_of_moment
    WHERE command_id = moment.command_id
) near
WHERE low = high
ORDER BY near.position DESC
"""

# The newest deliveries of these events, at the endpoints of the video's workspace.
READ_DELIVERIES = """
SELECT d.id, d.endpoint_id, e.url, d.position, d.event_type, d.state, d.attempts, d.created_at,
       d.finished_at
FROM publisher.webhook_endpoint e CROSS JOIN LATERAL (
    SELECT * FROM publisher.webhook_delivery
    WHERE endpoint_id = e.id AND position = ANY(%(positions)s::bigint[])
) d
WHERE e.workspace_id = %(workspace_id)s
ORDER BY d.position DESC, d.id
LIMIT %(limit)s
"""

# The last attempts of each of these deliveries.
READ_ATTEMPTS = """
SELECT last.* FROM unnest(%(ids)s::uuid[]) AS delivery (id) CROSS JOIN LATERAL (
    SELECT delivery_id, started_at, duration_ms, status, error FROM publisher.webhook_attempt
    WHERE delivery_id = delivery.id
    ORDER BY id DESC
    LIMIT %(limit)s
) last
"""

MAX_COMMANDS = 50
MAX_FOLLOWED = 20
"""How many of the newest commands are followed to their events."""
MAX_DELIVERIES = 100
MAX_ATTEMPTS = 5
"""How many of the last attempts of each delivery are read."""
SLACK = 1000
"""How many positions around the moment of an event are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryState:
    """The rest of a video's state. `run` None: no report."""

    created_at: datetime
    metrics: dict[str, Any] | None
    withdrawn_at: datetime | None
    run: int | None
    is_final: bool | None
    reported_at: datetime | None
    progress: int | None
    completed: bool | None
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryCommand:
    """A command, without what it changes."""

    id: UUID
    action: str
    state: str
    reason: str | None
    detail: str | None
    trigger: str
    accepted_at: datetime
    asked_for: datetime | None
    due_at: datetime
    fell_due_at: datetime | None
    claimed_at: datetime | None
    finished_at: datetime | None
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryEvent:
    """An event of a command. `custom_url`: the path, if it is a publication."""

    position: int
    type: str
    occurred_at: datetime
    command_id: UUID
    revision: int | None
    custom_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryDelivery:
    """A delivery of one of these events."""

    id: UUID
    endpoint_id: UUID
    url: str
    position: int
    event_type: str
    state: str
    attempts: int
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryAttempt:
    """An attempt at one of these deliveries."""

    delivery_id: UUID
    started_at: datetime
    duration_ms: int
    status: int | None
    error: str | None


def read_state(tx: Connection, video_id: int) -> StoryState:
    """Read the beginning, the release and the last report of a video that exists."""
    with tx.cursor(row_factory=class_row(StoryState)) as cursor:
        [state] = cursor.execute(READ_STATE, {"video_id": video_id}, prepare=False).fetchall()
    return state


def read_commands(tx: Connection, video_id: int, workspace_id: int) -> list[StoryCommand]:
    """Read the newest `MAX_COMMANDS` commands of a video, and one more if there are more."""
    values = {"video_id": video_id, "workspace_id": workspace_id, "limit": MAX_COMMANDS + 1}
    with tx.cursor(row_factory=class_row(StoryCommand)) as cursor:
        return cursor.execute(READ_COMMANDS, values).fetchall()


def find_events(tx: Connection, commands: Sequence[StoryCommand]) -> list[StoryEvent]:
    """Find the events of the newest `MAX_FOLLOWED` commands: of their acceptance and their end.

    Not those of a reschedule, nor of a failure before a retry: their times are not stored.
    """
    moments = [
        {"command_id": command.id, "at": at}
        for command in commands[:MAX_FOLLOWED]
        for at in (command.asked_for and command.accepted_at, command.finished_at)
        if at is not None
    ]
    values = {"moments": to_json(moments).decode(), "slack": SLACK}
    with tx.cursor(row_factory=class_row(StoryEvent)) as cursor:
        return cursor.execute(FIND_EVENTS, values).fetchall()


def read_deliveries(
    tx: Connection, positions: Sequence[int], workspace_id: int
) -> list[StoryDelivery]:
    """Read the newest `MAX_DELIVERIES` deliveries of events, and one more if there are more."""
    values = {
        "positions": to_array(positions),
        "workspace_id": workspace_id,
        "limit": MAX_DELIVERIES + 1,
    }
    with tx.cursor(row_factory=class_row(StoryDelivery)) as cursor:
        return cursor.execute(READ_DELIVERIES, values).fetchall()


def read_attempts(tx: Connection, deliveries: Sequence[StoryDelivery]) -> list[StoryAttempt]:
    """Read the last `MAX_ATTEMPTS` attempts of each delivery."""
    values = {"ids": to_array(each.id for each in deliveries), "limit": MAX_ATTEMPTS}
    with tx.cursor(row_factory=class_row(StoryAttempt)) as cursor:
        return cursor.execute(READ_ATTEMPTS, values).fetchall()
