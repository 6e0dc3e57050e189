"""An index for lists of commands in the order of their due times."""

from alembic import op

revision = "publisher_0008"
down_revision = "publisher_0007"

COLUMNS = ["workspace_id", "state", "due_at", "id"]


def upgrade() -> None:
    op.create_index("ix_publish_command_due", "publish_command", COLUMNS, schema="publisher")


def downgrade() -> None:
    op.drop_index("ix_publish_command_due", "publish_command", schema="publisher")
