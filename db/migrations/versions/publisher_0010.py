"""Keep no statistics of states (`db/tables/statistics.py`); an index for lists of rare states."""

from alembic import op

from db.migrations.versions.publisher_0009 import ON_WAIT_ENDED

revision = "publisher_0010"
down_revision = "publisher_0009"

TABLES = ("publish_command", "webhook_delivery")
VERSION = "SELECT current_setting('server_version_num')::int"
CLEARS_STATISTICS = 180_000
"""The first version that has a function for it."""
RARE = """
CREATE INDEX ix_publish_command_rare ON publisher.publish_command (state, id)
WHERE state IN ('unpublished', 'unchanged', 'rejected', 'expired', 'cancelled')
"""


def upgrade() -> None:
    op.execute(RARE)
    for table in TABLES:
        op.execute(f"ALTER TABLE publisher.{table} ALTER COLUMN state SET STATISTICS 0")
    if op.get_bind().exec_driver_sql(VERSION).scalar_one() >= CLEARS_STATISTICS:
        for table in TABLES:
            op.execute(f"SELECT pg_clear_attribute_stats('publisher', '{table}', 'state', false)")
    else:
        _set_type_again()


def downgrade() -> None:
    op.execute("DROP INDEX publisher.ix_publish_command_rare")
    for table in TABLES:
        op.execute(f"ALTER TABLE publisher.{table} ALTER COLUMN state SET STATISTICS -1")


def _set_type_again() -> None:
    """Set the columns' type, to the same one: that drops the statistics.

    No row is rewritten; the partial indexes are made again. A trigger on the column is in the way.
    """
    op.execute("DROP TRIGGER IF EXISTS publisher_wait_ended ON publisher.publish_command")
    for table in TABLES:
        op.execute(f"ALTER TABLE publisher.{table} ALTER COLUMN state TYPE text")
    op.execute(ON_WAIT_ENDED)
