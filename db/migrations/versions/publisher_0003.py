"""Webhooks: endpoints, deliveries, attempts; how far each outlet is; events that are of no video."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0003"
down_revision = "publisher_0002"
branch_labels = None
depends_on = None

SCHEMA = "publisher"
TYPES_BEFORE = (
    "type IN ('video.published', 'video.unpublished', 'video.publish_scheduled', "
    "'video.publish_rescheduled', 'video.publish_rejected', 'video.publish_expired', "
    "'video.publish_cancelled', 'video.publish_failed')"
)
TYPES_AFTER = f"{TYPES_BEFORE[:-1]}, 'webhook.endpoint_disabled')"


def upgrade() -> None:
    op.add_column("outbox_event", sa.Column("subject", sa.Text()), schema=SCHEMA)
    for column in ("video_id", "command_id"):
        op.alter_column("outbox_event", column, nullable=True, schema=SCHEMA)
    _allow_types(TYPES_AFTER)
    op.create_table(
        "outlet",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_outlet")),
        schema=SCHEMA,
    )
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("event_types", sa.ARRAY(sa.Text())),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text()),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True)),
        sa.Column("state", sa.Text(), server_default="enabled", nullable=False),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column("failing_since", sa.DateTime(timezone=True)),
        sa.Column("after_position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('enabled', 'disabled')", name=op.f("ck_webhook_endpoint_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_webhook_endpoint_workspace_id_id",
        "webhook_endpoint",
        ["workspace_id", "id"],
        schema=SCHEMA,
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("video_id", sa.BigInteger()),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("claimed_until", sa.DateTime(timezone=True)),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'failed', 'cancelled')",
            name=op.f("ck_webhook_delivery_state"),
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            [f"{SCHEMA}.webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_webhook_delivery_endpoint_id_position",
        "webhook_delivery",
        ["endpoint_id", "position"],
        unique=True,
        schema=SCHEMA,
    )
    for name, columns, condition in (
        ("due", ["endpoint_id", "due_at", "position"], "state = 'pending'"),
        ("claimed", ["endpoint_id"], "state = 'pending' AND claimed_until IS NOT NULL"),
        ("video", ["endpoint_id", "video_id", "position"], "state = 'pending'"),
        ("failed", ["endpoint_id", "position"], "state = 'failed'"),
    ):
        op.create_index(
            f"ix_webhook_delivery_{name}",
            "webhook_delivery",
            columns,
            schema=SCHEMA,
            postgresql_where=sa.text(condition),
        )
    op.create_index(
        "ix_webhook_delivery_finished",
        "webhook_delivery",
        ["finished_at"],
        schema=SCHEMA,
        postgresql_using="brin",
    )
    op.create_table(
        "webhook_attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            [f"{SCHEMA}.webhook_delivery.id"],
            name=op.f("fk_webhook_attempt_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempt")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_webhook_attempt_delivery_id_id",
        "webhook_attempt",
        ["delivery_id", "id"],
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("webhook_attempt", "webhook_delivery", "webhook_endpoint", "outlet"):
        op.drop_table(table, schema=SCHEMA)
    # Positions have no gaps, so no event may go: those of no video keep a number that no video has.
    op.execute(f"UPDATE {SCHEMA}.outbox_event SET video_id = 0 WHERE video_id IS NULL")
    op.execute(f"UPDATE {SCHEMA}.outbox_event SET command_id = id WHERE command_id IS NULL")
    for column in ("video_id", "command_id"):
        op.alter_column("outbox_event", column, nullable=False, schema=SCHEMA)
    op.drop_column("outbox_event", "subject", schema=SCHEMA)
    _allow_types(TYPES_BEFORE, " NOT VALID")


def _allow_types(condition: str, validity: str = "") -> None:
    op.execute(f"ALTER TABLE {SCHEMA}.outbox_event DROP CONSTRAINT ck_outbox_event_type")
    op.execute(
        f"ALTER TABLE {SCHEMA}.outbox_event ADD CONSTRAINT ck_outbox_event_type"
        f" CHECK ({condition}){validity}"
    )
