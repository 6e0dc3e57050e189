"""Commands can be enqueued in SQL, in the caller's transaction: `publisher.enqueue_publish`.

The new column has a constant default: no row is rewritten.
"""

from alembic import op

from db.tables.enqueue_functions import ENQUEUE
from db.tables.triggers import COMMAND_COMMITTED, NOTIFY_DUE, ON_COMMAND_COMMITTED, PRUNE_AUDIT

revision = "publisher_0020"
down_revision = "publisher_0019"

COLUMN = """
ALTER TABLE publisher.publish_command ADD COLUMN is_announced boolean NOT NULL DEFAULT true
"""
INDEX = """
CREATE INDEX ix_publish_command_unannounced ON publisher.publish_command (id)
WHERE NOT is_announced AND state = 'scheduled' AND asked_for > accepted_at
"""
DROP_FUNCTIONS = """
DO $do$
DECLARE
    name regprocedure;
BEGIN
    FOR name IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'publisher'::regnamespace
          AND prorettype <> 'trigger'::regtype AND proname <> 'prune_audit_log'
    LOOP
        EXECUTE format('DROP FUNCTION %s', name);
    END LOOP;
END
$do$
"""


def upgrade() -> None:
    op.execute(COLUMN)
    op.execute(INDEX)
    for statement in (NOTIFY_DUE, COMMAND_COMMITTED, ON_COMMAND_COMMITTED, *ENQUEUE):
        op.execute(statement)
    # A role with the right to enqueue may use the schema: it must not prune the audit log.
    op.execute(PRUNE_AUDIT)


def downgrade() -> None:
    op.execute(DROP_FUNCTIONS)
    op.execute("DROP TRIGGER publisher_command_committed ON publisher.publish_command")
    op.execute("DROP FUNCTION publisher.command_committed()")
    op.execute("DROP INDEX publisher.ix_publish_command_unannounced")
    op.execute("ALTER TABLE publisher.publish_command DROP COLUMN is_announced")
