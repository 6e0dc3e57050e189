"""Our own tables, in the Postgres schema `publisher`: inbox, outbox, releases, webhooks, keys.

No foreign key references the platform's tables: they may be views.
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
from publish_worker_client.events.names import Action, EventType, Trigger
from schemas.audit import ActorKind, AuditOutcome, Door
from schemas.command import CommandState
from schemas.values.caller import Scope
from schemas.values.process import ProcessRole
from schemas.webhook import DeliveryState, EndpointState

SCHEMA = "publisher"

_open = text("state IN ('scheduled', 'waiting')")
_rare = text("state IN ('unpublished', 'unchanged', 'rejected', 'expired', 'cancelled')")
_trouble = text("state IN ('waiting', 'failed', 'rejected', 'expired')")
_failed = text("state = 'failed'")
_shown = ["action", "reason", "cause", "finished_at", "trigger"]
_unannounced = text("NOT is_announced AND state = 'scheduled' AND asked_for > accepted_at")
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
    """The inbox: commands and their outcomes."""

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
        Index("ix_publish_command_fair", "workspace_id", "due_at", "id", postgresql_where=_open),
        Index("ix_publish_command_open", "video_id", "due_at", postgresql_where=_open),
        Index(
            "ix_publish_command_postponed",
            "video_id",
            "fell_due_at",
            postgresql_where=text("state IN ('scheduled', 'waiting') AND fell_due_at IS NOT NULL"),
        ),
        # Of failed commands, with all that a page reads of them: rows are not read.
        Index(
            "ix_publish_command_failed",
            "id",
            postgresql_where=_failed,
            postgresql_include=["workspace_id", *_shown],
        ),
        Index(
            "ix_publish_command_failed_workspace",
            "workspace_id",
            "id",
            postgresql_where=_failed,
            postgresql_include=_shown,
        ),
        Index("ix_publish_command_rare", "state", "id", postgresql_where=_rare),
        # Of commands that wait or ended without effect: an ordinary one is never in it.
        Index("ix_publish_command_trouble", "state", "video_id", "id", postgresql_where=_trouble),
        Index("ix_publish_command_canary", "id", postgresql_where=text("trigger = 'canary'")),
        # Of timed commands without their first event: empty but for moments.
        Index("ix_publish_command_unannounced", "id", postgresql_where=_unannounced),
        Index("ix_publish_command_video", "video_id", "id"),
        Index("ix_publish_command_workspace", "workspace_id", "id"),
        Index("ix_publish_command_due", "workspace_id", "state", "due_at", "id"),
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
    cause: Mapped[str | None]
    """Of a failure: its detail, without what differs between commands. Pages group by it."""
    trigger: Mapped[str]
    edits: Mapped[dict[str, Any] | None]
    edits_bytes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The size of `edits` as text. A claim limits the sum."""
    accepted_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    asked_for: Mapped[datetime | None]
    """The requested time. None: at once."""
    local_time: Mapped[datetime | None] = mapped_column(DateTime(timezone=False))
    """`asked_for` as a wall-clock time in `time_zone`, if it was requested so."""
    time_zone: Mapped[str | None]
    fold: Mapped[int | None] = mapped_column(SmallInteger)
    zone_digest: Mapped[str | None]
    """The digest of the time zone's rules that `asked_for` was computed with."""
    due_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    fell_due_at: Mapped[datetime | None]
    """When it first became due. Lateness is measured from here; postponing does not change it."""
    claimed_at: Mapped[datetime | None]
    publish_before: Mapped[datetime | None]
    patient_until: Mapped[datetime] = mapped_column(
        server_default=text("now() + interval '24 hours'")
    )
    """The end of the wait for generation if the caller set no deadline."""
    expected_revision: Mapped[int | None] = mapped_column(Integer)
    expected_etag: Mapped[str | None]
    counterpart_id: Mapped[UUID | None]
    """The other command of the publication window."""
    checks: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How often readiness was NotYet. The pauses between checks grow with it."""
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    finished_at: Mapped[datetime | None]
    rescheduled_at: Mapped[datetime | None]
    """When its time or deadline was last changed."""
    correlation_id: Mapped[str]
    traceparent: Mapped[str | None]
    requested_by: Mapped[UUID | None]
    """The API key or person that asked for it. None: the queue, the command line, the canary."""
    is_announced: Mapped[bool] = mapped_column(server_default=text("true"))
    """False: it was enqueued in SQL, and a worker has yet to record that it is scheduled."""


class CommandAttemptRow(Publisher):
    """A failed attempt at a command. No foreign key: it would slow down the pruning of commands."""

    __tablename__ = "command_attempt"
    __table_args__ = (Index(None, "command_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    command_id: Mapped[UUID]
    attempt: Mapped[int] = mapped_column(Integer)
    failed_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    error: Mapped[str]


class OpenCommandCountRow(Publisher):
    """How many open commands large workspaces had a few seconds ago."""

    __tablename__ = "open_command_count"

    workspace_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    commands: Mapped[int]
    counted_at: Mapped[datetime]


class IdempotencyKeyRow(Publisher):
    """Idempotency keys: the first request with each key, and its commands."""

    __tablename__ = "idempotency_key"

    scope: Mapped[str] = mapped_column(primary_key=True)
    """The API key's id, `queue` or `cli`."""
    key: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[bytes]
    """SHA-256 of the request."""
    command_ids: Mapped[list[UUID]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"), index=True)


class OutboxEventRow(Publisher):
    """The outbox: recorded events. Insert-only.

    One B-tree, and BRIN for the age: each further index would slow down every insert.
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
    """The subject, if it is not the video."""
    workspace_id: Mapped[int]
    occurred_at: Mapped[datetime]
    revision: Mapped[int | None] = mapped_column(Integer)
    command_id: Mapped[UUID | None]
    correlation_id: Mapped[str]
    traceparent: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    """json, not jsonb: it is only read as a whole."""


class EventPositionRow(Publisher):
    """The position counter: a single row, locked last in each transaction."""

    __tablename__ = "event_position"
    __table_args__ = (CheckConstraint("single", name="one_row"),)

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    position: Mapped[int] = mapped_column(server_default=text("0"))


COUNTER = "INSERT INTO publisher.event_position DEFAULT VALUES"
"""Creates the only row."""


class VideoReleaseRow(Publisher):
    """The release of each video that was ever published."""

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
    """The last report that set each video's generation state. Earlier reports are ignored."""

    __tablename__ = "video_generation"

    video_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    run: Mapped[int] = mapped_column(Integer)
    """1 for the first generation, plus 1 for each further one."""
    is_final: Mapped[bool]
    """Whether the run has completed or failed."""
    reported_at: Mapped[datetime]
    """The report's time on the pipeline's clock."""
    progress: Mapped[int] = mapped_column(Integer)
    completed: Mapped[bool]
    detail: Mapped[str | None]
    """Why the run failed."""
    file_run: Mapped[int | None] = mapped_column(Integer)
    """The run of the report that set the rendered file. None: no report."""
    file_reported_at: Mapped[datetime | None]


class OutletRow(Publisher):
    """The last relayed position of each outlet except the stream, which stores its own."""

    __tablename__ = "outlet"

    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    """The last relayed position."""


class EventSummaryRow(Publisher):
    """How many events there were in each ten seconds and each quarter of an hour, for charts."""

    __tablename__ = "event_summary"

    workspace_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """0: every workspace."""
    began_at: Mapped[datetime] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    """The step of lateness (`db/events/summary.py`). -1: not measured. -2: a quarter of an hour."""
    events: Mapped[int]


class WebhookEndpointRow(Publisher):
    """Webhook endpoints: the URL, the event types and the signing secrets."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (one_of("state", EndpointState), Index(None, "workspace_id", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace_id: Mapped[int]
    url: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    event_types: Mapped[list[str] | None]
    """None: every type."""
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    """Both secrets sign until this time."""
    state: Mapped[str] = mapped_column(server_default="enabled")
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    """The first failed attempt after the last successful one."""
    after_position: Mapped[int] = mapped_column(server_default=text("0"))
    """The endpoint receives later events only: the last position when it was created or enabled."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class WebhookDeliveryRow(Publisher):
    """Deliveries: one event for one endpoint."""

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
    """The end of the lease. After it, the process that claimed the delivery has died."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    finished_at: Mapped[datetime | None]


class WebhookAttemptRow(Publisher):
    """One attempt of a delivery."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (Index(None, "delivery_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("publisher.webhook_delivery.id", ondelete="CASCADE")
    )
    started_at: Mapped[datetime]
    duration_ms: Mapped[int] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    """None: no answer arrived."""
    error: Mapped[str | None]
    answer: Mapped[str | None]
    """The first KiB of the answer's body."""


class ApiKeyRow(Publisher):
    """API keys. Only the SHA-256 of a key is stored; the key is shown once."""

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
    last_used_at: Mapped[datetime | None]
    """Accurate to a minute or two."""


class AuditEntryRow(Publisher):
    """The audit log. Append-only: see `db/tables/triggers.py`.

    Actions and subjects are checked by the code alone: a new one does not need a migration.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        one_of("actor", ActorKind),
        one_of("door", Door),
        one_of("outcome", AuditOutcome),
        Index(None, "workspace_id", "id"),
        Index(
            "ix_audit_entry_subject",
            "subject_id",
            "id",
            postgresql_where=text("subject_id IS NOT NULL"),
        ),
        Index("ix_audit_entry_key", "key_id", "id", postgresql_where=text("key_id IS NOT NULL")),
        Index(
            "ix_audit_entry_person",
            "person_id",
            "id",
            postgresql_where=text("person_id IS NOT NULL"),
        ),
        Index(None, "at", postgresql_using="brin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    actor: Mapped[str]
    key_id: Mapped[UUID | None]
    person_id: Mapped[UUID | None]
    actor_name: Mapped[str | None]
    """The key's or the person's name at that time, or `user@host`."""
    door: Mapped[str]
    client: Mapped[str | None]
    correlation_id: Mapped[str | None]
    action: Mapped[str]
    subject: Mapped[str | None]
    subject_id: Mapped[str | None]
    workspace_id: Mapped[int | None]
    outcome: Mapped[str]
    problem: Mapped[str | None]
    details: Mapped[dict[str, Any]]


class PersonRow(Publisher):
    """People of the identity provider who have signed in to the console, or tried to."""

    __tablename__ = "person"
    __table_args__ = (Index(None, "issuer", "subject", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    issuer: Mapped[str]
    subject: Mapped[str]
    """The provider's own id of the person: it stays when the name or the address changes."""
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    signed_in_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    """The last time."""


class ConsoleSessionRow(Publisher):
    """Console sessions, of an API key or a person. Only the SHA-256 of a token is stored."""

    __tablename__ = "console_session"
    __table_args__ = (
        CheckConstraint("(key_id IS NULL) <> (person_id IS NULL)", name="owner"),
        CheckConstraint("(person_id IS NULL) = (groups IS NULL)", name="groups"),
        Index(None, "person_id", postgresql_where=text("person_id IS NOT NULL")),
    )

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    id: Mapped[UUID]
    """For the audit log: the digest finds the session, the id does not."""
    key_id: Mapped[UUID | None] = mapped_column(ForeignKey("publisher.api_key.id"))
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey("publisher.person.id"))
    groups: Mapped[list[str] | None]
    """The person's groups at the sign-in that a rule named. The rules decide at each request."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    last_seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    user_agent: Mapped[str | None]
    provider_session: Mapped[str | None]
    """The identity provider's id of its own session (`sid`), if it gave one."""


class SignInCodeRow(Publisher):
    """Codes that sign in once, for links that must not have an API key in them."""

    __tablename__ = "sign_in_code"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    key_id: Mapped[UUID] = mapped_column(ForeignKey("publisher.api_key.id"))
    expires_at: Mapped[datetime]


class SignInAttemptRow(Publisher):
    """Sign-ins that are at the identity provider now. What proves them is in a cookie alone."""

    __tablename__ = "sign_in_attempt"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    after: Mapped[str]
    """The page of the console that the person asked for."""
    expires_at: Mapped[datetime] = mapped_column(index=True)


class CalendarFeedRow(Publisher):
    """Addresses of iCal feeds. Only the SHA-256 of an address's token is stored."""

    __tablename__ = "calendar_feed"
    __table_args__ = (Index(None, "workspace_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(unique=True)
    workspace_id: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    created_by: Mapped[UUID | None]
    """The API key or the person that created it. None: an operator."""
    revoked_at: Mapped[datetime | None]
    last_read_at: Mapped[datetime | None]
    """Accurate to a minute."""


class QuarantinedMessageRow(Publisher):
    """Quarantine: unreadable or invalid messages and reports, kept for a person."""

    __tablename__ = "quarantined_message"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    body: Mapped[str]
    error: Mapped[str]


class ProcessRow(Publisher):
    """The processes that work, and what each one did last.

    Unlogged: no write waits for the disk. A crash of the server empties the table, and every
    process writes its row again within seconds.
    """

    __tablename__ = "process"
    __table_args__ = (one_of("role", ProcessRole), {"prefixes": ["UNLOGGED"]})

    id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str]
    name: Mapped[str]
    """A worker's is Celery's node name; the others' is the role and the host."""
    pid: Mapped[int] = mapped_column(Integer)
    version: Mapped[str]
    """Of publish-worker."""
    processes: Mapped[int] = mapped_column(Integer)
    """Of a worker's pool; 1 for the others."""
    queues: Mapped[list[str]]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """The last heartbeat."""
    batch_at: Mapped[datetime | None]
    """When it last carried out commands."""
    relay_at: Mapped[datetime | None]
    """When it last relayed events."""
    delivery_at: Mapped[datetime | None]
    """When it last got the answers of webhook endpoints."""
