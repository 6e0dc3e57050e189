"""When a command's time was last changed: calendars show the newest version of an entry."""

from alembic import op

revision = "publisher_0015"
down_revision = "publisher_0014"


def upgrade() -> None:
    op.execute("ALTER TABLE publisher.publish_command ADD COLUMN rescheduled_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE publisher.publish_command DROP COLUMN rescheduled_at")
