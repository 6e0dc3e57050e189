"""Notify the schedulers from a deferred trigger, one transaction at a time."""

from alembic import op

from db.migrations.versions import publisher_0005 as before

revision = "publisher_0009"
down_revision = "publisher_0008"

NOTIFY = """    IF FOUND THEN
        PERFORM pg_notify('publisher_due', '');
    END IF;
"""
NOTIFY_DUE = """
CREATE OR REPLACE FUNCTION publisher.notify_due() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF pg_try_advisory_xact_lock(7305112027) THEN
        PERFORM pg_notify('publisher_due', '');
    END IF;
    RETURN NULL;
END
$$
"""
ON_WAIT_ENDED = """
CREATE CONSTRAINT TRIGGER publisher_wait_ended
AFTER UPDATE OF due_at ON publisher.publish_command
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW
WHEN (NEW.state = 'waiting' AND NEW.fell_due_at IS NULL)
EXECUTE FUNCTION publisher.notify_due()
"""


def upgrade() -> None:
    _replace(before.BODY.replace(NOTIFY, ""))
    op.execute(NOTIFY_DUE)
    op.execute("DROP TRIGGER IF EXISTS publisher_wait_ended ON publisher.publish_command")
    op.execute(ON_WAIT_ENDED)


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS publisher_wait_ended ON publisher.publish_command")
    op.execute("DROP FUNCTION IF EXISTS publisher.notify_due()")
    _replace(before.BODY)


def _replace(body: str) -> None:
    """Replace the function that the trigger on videos calls, under each name that it has."""
    op.execute(body)
    if before.holds(before.IS_THERE, before.OLD):
        op.execute(body.replace(before.NEW, before.OLD))
