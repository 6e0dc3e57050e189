"""Our tables: inbox, outbox and its counter, releases, keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "publisher_0001"
down_revision = None
branch_labels = ("publisher",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("scope IN ('read', 'publish', 'admin')", name=op.f("ck_api_key_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
        schema="publisher",
    )
    op.create_table(
        "event_position",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_event_position_one_row")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_event_position")),
        schema="publisher",
    )
    op.create_table(
        "idempotency_key",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("command_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_key")),
        schema="publisher",
    )
    op.create_index(
        op.f("ix_idempotency_key_created_at"),
        "idempotency_key",
        ["created_at"],
        unique=False,
        schema="publisher",
    )
    op.create_table(
        "outbox_event",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("command_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "type IN ('video.published', 'video.publish_rejected', 'video.publish_expired', 'video.publish_cancelled', 'video.publish_failed')",
            name=op.f("ck_outbox_event_type"),
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_outbox_event")),
        schema="publisher",
    )
    op.create_index(
        op.f("ix_outbox_event_occurred_at"),
        "outbox_event",
        ["occurred_at"],
        unique=False,
        schema="publisher",
        postgresql_using="brin",
    )
    op.create_table(
        "publish_command",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="scheduled", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("edits", JSONB(), nullable=True),
        sa.Column("edits_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "accepted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("publish_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (state IN ('scheduled', 'waiting'))",
            name=op.f("ck_publish_command_outcome"),
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'waiting', 'published', 'unchanged', 'rejected', 'expired', 'cancelled', 'failed')",
            name=op.f("ck_publish_command_state"),
        ),
        sa.CheckConstraint(
            "trigger IN ('api', 'cli', 'pipeline', 'queue')",
            name=op.f("ck_publish_command_trigger"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publish_command")),
        schema="publisher",
    )
    op.create_index(
        "ix_publish_command_claim",
        "publish_command",
        ["due_at", "id"],
        unique=False,
        schema="publisher",
        postgresql_where=sa.text("state IN ('scheduled', 'waiting')"),
    )
    op.create_index(
        "ix_publish_command_finished",
        "publish_command",
        ["finished_at"],
        unique=False,
        schema="publisher",
        postgresql_using="brin",
    )
    op.create_index(
        "ix_publish_command_video",
        "publish_command",
        ["video_id", "id"],
        unique=False,
        schema="publisher",
    )
    op.create_index(
        "ix_publish_command_workspace",
        "publish_command",
        ["workspace_id", "id"],
        unique=False,
        schema="publisher",
    )
    op.create_table(
        "set_aside_message",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_set_aside_message")),
        schema="publisher",
    )
    op.create_table(
        "video_release",
        sa.Column("video_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("short_id", sa.Text(), nullable=False),
        sa.Column("custom_url", sa.Text(), nullable=False),
        sa.Column("metrics", JSONB(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("first_published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("video_id", name=op.f("pk_video_release")),
        sa.UniqueConstraint("short_id", name=op.f("uq_video_release_short_id")),
        schema="publisher",
    )
    op.execute("INSERT INTO publisher.event_position DEFAULT VALUES")


def downgrade() -> None:
    for table in (
        "video_release",
        "set_aside_message",
        "publish_command",
        "outbox_event",
        "idempotency_key",
        "event_position",
        "api_key",
    ):
        op.drop_table(table, schema="publisher")
