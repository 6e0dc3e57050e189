"""Rename the function that the trigger on videos calls; triggers keep calling it."""

from alembic import op

revision = "publisher_0005"
down_revision = "publisher_0004"

BODY = """
CREATE OR REPLACE FUNCTION publisher.video_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, publisher AS $$
DECLARE
    changed_at timestamptz := clock_timestamp();
BEGIN
    UPDATE publisher.publish_command SET due_at = changed_at, fell_due_at = NULL
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
    -- In a stricter isolation level, another transaction has changed the command since the
    -- snapshot. The platform's transaction must not fail: the command is checked again anyway.
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.execute("ALTER FUNCTION publisher.video_turned() RENAME TO video_changed")
    op.execute(BODY)


def downgrade() -> None:
    op.execute("ALTER FUNCTION publisher.video_changed() RENAME TO video_turned")
