"""Timed commands, withdrawals, generation reports; the function that a trigger on videos calls."""

import sqlalchemy as sa
from alembic import op

revision = "publisher_0002"
down_revision = "publisher_0001"
branch_labels = None
depends_on = None

COMMAND = "publish_command"
SCHEMA = "publisher"

CHECKS_BEFORE = {
    (COMMAND, "ck_publish_command_state"): (
        "state IN ('scheduled', 'waiting', 'published', 'unchanged', 'rejected', 'expired', "
        "'cancelled', 'failed')"
    ),
    (COMMAND, "ck_publish_command_trigger"): "trigger IN ('api', 'cli', 'pipeline', 'queue')",
    ("outbox_event", "ck_outbox_event_type"): (
        "type IN ('video.published', 'video.publish_rejected', 'video.publish_expired', "
        "'video.publish_cancelled', 'video.publish_failed')"
    ),
}
CHECKS_AFTER = {
    (COMMAND, "ck_publish_command_state"): (
        "state IN ('scheduled', 'waiting', 'published', 'unpublished', 'unchanged', 'rejected', "
        "'expired', 'cancelled', 'failed')"
    ),
    (COMMAND, "ck_publish_command_trigger"): (
        "trigger IN ('api', 'cli', 'pipeline', 'queue', 'schedule', 'canary')"
    ),
    ("outbox_event", "ck_outbox_event_type"): (
        "type IN ('video.published', 'video.unpublished', 'video.publish_scheduled', "
        "'video.publish_rescheduled', 'video.publish_rejected', 'video.publish_expired', "
        "'video.publish_cancelled', 'video.publish_failed')"
    ),
}

# Runs with the rights of our role, whichever role changes the video. Commands that a batch has locked
# are skipped: the batch has either locked the video too, so that no other transaction can have
# changed it, or postpones the command briefly.
VIDEO_TURNED = """
CREATE FUNCTION publisher.video_turned() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, publisher AS $$
DECLARE
    turned_at timestamptz := clock_timestamp();
BEGIN
    UPDATE publisher.publish_command SET due_at = turned_at, fell_due_at = NULL
    WHERE id IN (
        SELECT id FROM publisher.publish_command
        WHERE video_id = NEW.id AND state = 'waiting'
        FOR UPDATE SKIP LOCKED
    );
    IF FOUND THEN
        PERFORM pg_notify('publisher_due', '');
    END IF;
    RETURN NULL;
EXCEPTION WHEN serialization_failure THEN
    -- A stricter isolation level, and the command was asked again since the snapshot: the
    -- platform's transaction is not to fail for that. The command asks again by itself.
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    for column in (
        sa.Column("action", sa.Text(), server_default="publish", nullable=False),
        sa.Column("asked_for", sa.DateTime(timezone=True)),
        sa.Column("local_time", sa.DateTime(timezone=False)),
        sa.Column("time_zone", sa.Text()),
        sa.Column("fold", sa.SmallInteger()),
        sa.Column("zone_digest", sa.Text()),
        sa.Column("fell_due_at", sa.DateTime(timezone=True)),
        sa.Column("claimed_at", sa.DateTime(timezone=True)),
        sa.Column(
            "patient_until",
            sa.DateTime(timezone=True),
            server_default=sa.text("now() + interval '24 hours'"),
            nullable=False,
        ),
        sa.Column("expected_revision", sa.Integer()),
        sa.Column("expected_etag", sa.Text()),
        sa.Column("counterpart_id", sa.Uuid()),
    ):
        op.add_column(COMMAND, column, schema=SCHEMA)
    # Until now every command had a latest moment; it meant how long to wait for generation.
    op.execute("UPDATE publisher.publish_command SET patient_until = publish_before")
    op.alter_column(COMMAND, "publish_before", nullable=True, schema=SCHEMA)
    _replace(CHECKS_AFTER)
    op.create_check_constraint(
        op.f("ck_publish_command_action"),
        COMMAND,
        "action IN ('publish', 'unpublish')",
        schema=SCHEMA,
    )
    op.create_check_constraint(
        op.f("ck_publish_command_local_time"),
        COMMAND,
        "(local_time IS NULL) = (time_zone IS NULL)"
        " AND (local_time IS NULL OR asked_for IS NOT NULL)",
        schema=SCHEMA,
    )
    op.create_index(
        "ix_publish_command_zone",
        COMMAND,
        ["time_zone", "zone_digest"],
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'scheduled' AND time_zone IS NOT NULL"),
    )
    op.create_index(
        "ix_publish_command_open",
        COMMAND,
        ["video_id", "due_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("state IN ('scheduled', 'waiting')"),
    )
    op.create_index(
        "ix_publish_command_failed",
        COMMAND,
        ["id"],
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_index(
        "ix_publish_command_canary",
        COMMAND,
        ["id"],
        schema=SCHEMA,
        postgresql_where=sa.text("trigger = 'canary'"),
    )
    op.create_table(
        "video_generation",
        sa.Column("video_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("file_run", sa.Integer(), nullable=True),
        sa.Column("file_reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("video_id", name=op.f("pk_video_generation")),
        schema=SCHEMA,
    )
    op.execute(VIDEO_TURNED)


def downgrade() -> None:
    op.execute("DROP FUNCTION publisher.video_turned() CASCADE")
    op.drop_table("video_generation", schema=SCHEMA)
    for index in ("canary", "failed", "open", "zone"):
        op.drop_index(f"ix_publish_command_{index}", table_name=COMMAND, schema=SCHEMA)
    for check in ("local_time", "action"):
        op.drop_constraint(op.f(f"ck_publish_command_{check}"), COMMAND, schema=SCHEMA)
    # What the version before does not know is forgotten; the videos stay as they are.
    op.execute(
        "DELETE FROM publisher.publish_command WHERE action = 'unpublish'"
        " OR trigger IN ('schedule', 'canary')"
    )
    op.execute(
        "UPDATE publisher.publish_command SET publish_before = patient_until"
        " WHERE publish_before IS NULL"
    )
    op.alter_column(COMMAND, "publish_before", nullable=False, schema=SCHEMA)
    _replace(CHECKS_BEFORE, " NOT VALID")
    for column in (
        "action",
        "asked_for",
        "local_time",
        "time_zone",
        "fold",
        "zone_digest",
        "fell_due_at",
        "claimed_at",
        "patient_until",
        "expected_revision",
        "expected_etag",
        "counterpart_id",
    ):
        op.drop_column(COMMAND, column, schema=SCHEMA)


def _replace(checks: dict[tuple[str, str], str], validity: str = "") -> None:
    """Put checks in place of those of the same names; going back, old rows are not looked at."""
    for (table, name), condition in checks.items():
        op.execute(f"ALTER TABLE {SCHEMA}.{table} DROP CONSTRAINT {name}")
        op.execute(
            f"ALTER TABLE {SCHEMA}.{table} ADD CONSTRAINT {name} CHECK ({condition}){validity}"
        )
