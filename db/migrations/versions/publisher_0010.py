"""Keep no statistics of the states: see `db/tables/statistics.py`."""

from alembic import op

from db.migrations.versions.publisher_0009 import ON_WAIT_ENDED

revision = "publisher_0010"
down_revision = "publisher_0009"

TABLES = ("publish_command", "webhook_delivery")


def upgrade() -> None:
    _set_statistics(0)


def downgrade() -> None:
    _set_statistics(-1)


def _set_statistics(target: int) -> None:
    """Set the columns' statistics target; -1: the default.

    Servers before 18 drop statistics that are there only when the type is set, to the same one. No
    row is rewritten; the partial indexes are made again. A trigger on the column is in the way.
    """
    op.execute("DROP TRIGGER IF EXISTS publisher_wait_ended ON publisher.publish_command")
    for table in TABLES:
        op.execute(
            f"ALTER TABLE publisher.{table} ALTER COLUMN state TYPE text,"
            f" ALTER COLUMN state SET STATISTICS {target}"
        )
    op.execute(ON_WAIT_ENDED)
