"""Our own tables, in the Postgres schema `publisher`: inbox, outbox, releases, keys.

No foreign key leads to the platform's tables: where they are adopted through views, none could.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.tables.platform import NAMING, one_of
from schemas.command import Action, CommandState, Trigger
from schemas.events import EventType
from schemas.values.caller import Scope
from schemas.webhook import DeliveryState, EndpointState

SCHEMA = "publisher"

_open = text("state IN ('scheduled', 'waiting')")
_pending = text("state = 'pending'")


class Publisher(DeclarativeBase):
    """Base of our tables."""

    metadata = MetaData(schema=SCHEMA, naming_convention=NAMING)
    type_annotation_map = {
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[UUID]: ARRAY(Uuid),
        list[str]: ARRAY(Text),
    }


class PublishCommandRow(Publisher):
    """The inbox: commands accepted, and what became of them."""

    __tablename__ = "publish_command"
    __table_args__ = (
        one_of("action", Action),
        one_of("state", CommandState),
        one_of("trigger", Trigger),
        CheckConstraint(
            "(local_time IS NULL) = (time_zone IS NULL)"
            " AND (local_time IS NULL OR asked_for IS NOT NULL)",
            name="local_time",
        ),
        CheckConstraint(
            "(finished_at IS NULL) = (state IN ('scheduled', 'waiting'))", name="outcome"
        ),
        Index("ix_publish_command_claim", "due_at", "id", postgresql_where=_open),
        Index(
            "ix_publish_command_zone",
            "time_zone",
            "zone_digest",
            postgresql_where=text("state = 'scheduled' AND time_zone IS NOT NULL"),
        ),
        Index("ix_publish_command_open", "video_id", "due_at", postgresql_where=_open),
        Index("ix_publish_command_failed", "id", postgresql_where=text("state = 'failed'")),
        Index("ix_publish_command_canary", "id", postgresql_where=text("trigger = 'canary'")),
        Index("ix_publish_command_video", "video_id", "id"),
        Index("ix_publish_command_workspace", "workspace_id", "id"),
        Index(
            "ix_publish_command_finished",
            "finished_at",
            postgresql_using="brin",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(server_default="publish")
    video_id: Mapped[int]
    workspace_id: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="scheduled")
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    trigger: Mapped[str]
    edits: Mapped[dict[str, Any] | None]
    edits_bytes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How large they are as text: a claim takes only so much at once."""
    accepted_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    asked_for: Mapped[datetime | None]
    """The time that the caller asked for; None: at once."""
    local_time: Mapped[datetime | None] = mapped_column(DateTime(timezone=False))
    """The same as the caller's wall clock showed it in `time_zone`, if it was said so."""
    time_zone: Mapped[str | None]
    fold: Mapped[int | None] = mapped_column(SmallInteger)
    zone_digest: Mapped[str | None]
    """Of the zone's rules by which `asked_for` was computed."""
    due_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    fell_due_at: Mapped[datetime | None]
    """When it first fell due; what the lateness counts from, whatever postponed it since."""
    claimed_at: Mapped[datetime | None]
    publish_before: Mapped[datetime | None]
    patient_until: Mapped[datetime] = mapped_column(
        server_default=text("now() + interval '24 hours'")
    )
    """How long it waits for generation if the caller set no latest moment."""
    expected_revision: Mapped[int | None] = mapped_column(Integer)
    expected_etag: Mapped[str | None]
    counterpart_id: Mapped[UUID | None]
    """The other command of a window."""
    checks: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How often readiness said NotYet: the pauses grow with it."""
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    finished_at: Mapped[datetime | None]
    correlation_id: Mapped[str]
    traceparent: Mapped[str | None]


class IdempotencyKeyRow(Publisher):
    """What a caller's key was first used for; the same key later means the same commands."""

    __tablename__ = "idempotency_key"

    scope: Mapped[str] = mapped_column(primary_key=True)
    """The API key's id, or the door (`queue`, `cli`)."""
    key: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[bytes]
    """SHA-256 of the request."""
    command_ids: Mapped[list[UUID]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"), index=True)


class OutboxEventRow(Publisher):
    """Events recorded. Insert-only; the relay's progress is the stream's last ID.

    One B-tree only, and BRIN for the age: each index is paid for with every event.
    """

    __tablename__ = "outbox_event"
    __table_args__ = (
        one_of("type", EventType),
        Index(None, "occurred_at", postgresql_using="brin"),
    )

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[UUID]
    type: Mapped[str]
    video_id: Mapped[int | None]
    subject: Mapped[str | None]
    """What the event is about, if not a video."""
    workspace_id: Mapped[int]
    occurred_at: Mapped[datetime]
    revision: Mapped[int | None] = mapped_column(Integer)
    command_id: Mapped[UUID | None]
    correlation_id: Mapped[str]
    traceparent: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Kept as it was written: it is read whole or not at all, so nothing is gained by jsonb."""


class EventPositionRow(Publisher):
    """The counter that orders all events: a single row, locked last."""

    __tablename__ = "event_position"
    __table_args__ = (CheckConstraint("single", name="one_row"),)

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    position: Mapped[int] = mapped_column(server_default=text("0"))


COUNTER = "INSERT INTO publisher.event_position DEFAULT VALUES"
"""Creates the only row."""


class VideoReleaseRow(Publisher):
    """What each video ever published has out."""

    __tablename__ = "video_release"

    video_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    short_id: Mapped[str] = mapped_column(unique=True)
    custom_url: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    revision: Mapped[int] = mapped_column(Integer)
    first_published_at: Mapped[datetime]
    published_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]


class VideoGenerationRow(Publisher):
    """The last report that decided each video's generation; an earlier one is ignored."""

    __tablename__ = "video_generation"

    video_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    run: Mapped[int] = mapped_column(Integer)
    """1 for the first generation, one more for each time that it is generated again."""
    is_final: Mapped[bool]
    """Whether the run has completed or failed."""
    reported_at: Mapped[datetime]
    """The report's own time, by the pipeline's clock."""
    progress: Mapped[int] = mapped_column(Integer)
    completed: Mapped[bool]
    detail: Mapped[str | None]
    """Why the run failed."""
    file_run: Mapped[int | None] = mapped_column(Integer)
    """Of the report that named the rendered file; None: none did."""
    file_reported_at: Mapped[datetime | None]


class OutletRow(Publisher):
    """How far each outlet is that does not keep that itself, as the stream does."""

    __tablename__ = "outlet"

    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    """The last one that it has handed on."""


class WebhookEndpointRow(Publisher):
    """Whom to tell over HTTP: an address, what of, and the secret that signs it."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (one_of("state", EndpointState), Index(None, "workspace_id", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace_id: Mapped[int]
    url: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    event_types: Mapped[list[str] | None]
    """None: all of them."""
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    """Until then both sign."""
    state: Mapped[str] = mapped_column(server_default="enabled")
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    """The first failed attempt since the last one that succeeded."""
    after_position: Mapped[int] = mapped_column(server_default=text("0"))
    """It gets the events after this position: the last one before it was created or enabled."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class WebhookDeliveryRow(Publisher):
    """What must arrive: one event at one endpoint."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        one_of("state", DeliveryState),
        Index(None, "endpoint_id", "position", unique=True),
        Index(
            "ix_webhook_delivery_due",
            "endpoint_id",
            "due_at",
            "position",
            postgresql_where=_pending,
        ),
        Index(
            "ix_webhook_delivery_claimed",
            "endpoint_id",
            postgresql_where=text("state = 'pending' AND claimed_until IS NOT NULL"),
        ),
        Index(
            "ix_webhook_delivery_video",
            "endpoint_id",
            "video_id",
            "position",
            postgresql_where=_pending,
        ),
        Index(
            "ix_webhook_delivery_failed",
            "endpoint_id",
            "position",
            postgresql_where=text("state = 'failed'"),
        ),
        Index("ix_webhook_delivery_finished", "finished_at", postgresql_using="brin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(
        ForeignKey("publisher.webhook_endpoint.id", ondelete="CASCADE")
    )
    position: Mapped[int]
    event_id: Mapped[UUID]
    event_type: Mapped[str]
    video_id: Mapped[int | None]
    state: Mapped[str] = mapped_column(server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    due_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    claimed_until: Mapped[datetime | None]
    """An attempt is under way until then; later, the process that made it has died."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    finished_at: Mapped[datetime | None]


class WebhookAttemptRow(Publisher):
    """One try at a delivery."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (Index(None, "delivery_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("publisher.webhook_delivery.id", ondelete="CASCADE")
    )
    started_at: Mapped[datetime]
    duration_ms: Mapped[int] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    """None: there was no answer."""
    error: Mapped[str | None]
    answer: Mapped[str | None]
    """The first KiB of it."""


class ApiKeyRow(Publisher):
    """Who may call. The key itself is shown once and kept only as its SHA-256."""

    __tablename__ = "api_key"
    __table_args__ = (one_of("scope", Scope),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    scope: Mapped[str]
    workspace_id: Mapped[int | None]
    """None: every workspace."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    revoked_at: Mapped[datetime | None]


class QuarantinedMessageRow(Publisher):
    """Quarantine: unreadable or invalid messages and reports, kept for a person."""

    __tablename__ = "quarantined_message"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    body: Mapped[str]
    error: Mapped[str]
