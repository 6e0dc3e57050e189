"""Indexes for a claim that is fair to workspaces, and looks up postponed commands by video."""

from alembic import op

revision = "publisher_0006"
down_revision = "publisher_0005"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX ix_publish_command_fair"
        " ON publisher.publish_command (workspace_id, due_at, id)"
        " WHERE state IN ('scheduled', 'waiting')"
    )
    op.execute(
        "CREATE INDEX ix_publish_command_postponed"
        " ON publisher.publish_command (video_id, fell_due_at)"
        " WHERE state IN ('scheduled', 'waiting') AND fell_due_at IS NOT NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX publisher.ix_publish_command_postponed")
    op.execute("DROP INDEX publisher.ix_publish_command_fair")
