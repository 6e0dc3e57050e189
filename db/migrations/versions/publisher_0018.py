"""The cause of a failure is stored, and indexes have all that pages read of failed commands.

The new column is null: no row is rewritten but the failed ones. The summary of events begins again,
because it counts quarters of an hour as well; a worker's sweep fills it within seconds.
"""

from alembic import op

revision = "publisher_0018"
down_revision = "publisher_0017"

# As `to_cause` of db/commands/failures.py.
STORE = """
UPDATE publisher.publish_command SET cause = left(regexp_replace(
    left(coalesce(detail, ''), 300),
    '"[^"]*"|''[^'']*''|[0-9a-f]+-[0-9a-f]+-[0-9a-f-]+|[0-9]+', '…', 'g'
), 255)
WHERE state = 'failed'
"""
BY_ID = """
CREATE INDEX ix_publish_command_failed ON publisher.publish_command (id)
INCLUDE (workspace_id, action, reason, cause, finished_at, trigger) WHERE state = 'failed'
"""
BY_WORKSPACE = """
CREATE INDEX ix_publish_command_failed_workspace ON publisher.publish_command (workspace_id, id)
INCLUDE (action, reason, cause, finished_at, trigger) WHERE state = 'failed'
"""
FORGET_SUMMARY = """
WITH place AS (DELETE FROM publisher.outlet WHERE name = 'summary')
DELETE FROM publisher.event_summary
"""
BEFORE = """
CREATE INDEX ix_publish_command_failed ON publisher.publish_command (id) WHERE state = 'failed'
"""


def upgrade() -> None:
    op.execute("ALTER TABLE publisher.publish_command ADD COLUMN cause text")
    op.execute(STORE)
    op.execute("DROP INDEX publisher.ix_publish_command_failed")
    op.execute(BY_ID)
    op.execute(BY_WORKSPACE)
    op.execute(FORGET_SUMMARY)


def downgrade() -> None:
    op.execute(FORGET_SUMMARY)
    op.execute("DROP INDEX publisher.ix_publish_command_failed_workspace")
    op.execute("DROP INDEX publisher.ix_publish_command_failed")
    op.execute(BEFORE)
    op.execute("ALTER TABLE publisher.publish_command DROP COLUMN cause")
