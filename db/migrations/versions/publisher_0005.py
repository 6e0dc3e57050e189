"""Rename the function that the trigger on videos calls; triggers keep calling it."""

from alembic import op

revision = "publisher_0005"
down_revision = "publisher_0004"

OLD, NEW = "video_turned", "video_changed"
IS_THERE = "SELECT to_regproc('publisher.{name}') IS NOT NULL"
IS_CALLED = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = to_regproc('publisher.{name}'))"
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
    """Rename it; an operator may have dropped it or made the new one already."""
    if holds(IS_THERE, NEW) and not holds(IS_CALLED, NEW):
        op.execute(f"DROP FUNCTION publisher.{NEW}()")
    _rename(OLD, NEW)
    op.execute(BODY)
    if holds(IS_THERE, OLD):  # triggers call both
        op.execute(BODY.replace(NEW, OLD))


def downgrade() -> None:
    _rename(NEW, OLD)


def _rename(old: str, new: str) -> None:
    if holds(IS_THERE, old) and not holds(IS_THERE, new):
        op.execute(f"ALTER FUNCTION publisher.{old}() RENAME TO {new}")


def holds(query: str, name: str) -> bool:
    """Whether one of the queries above, with this name, is true."""
    return bool(op.get_bind().exec_driver_sql(query.format(name=name)).scalar())
