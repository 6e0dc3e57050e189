"""Fairness: indexes of the claim by workspace and of postponed commands, counts of open ones."""

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
    op.execute(
        "CREATE TABLE publisher.open_command_count ("
        " workspace_id bigint NOT NULL, commands bigint NOT NULL,"
        " counted_at timestamp with time zone NOT NULL,"
        " CONSTRAINT pk_open_command_count PRIMARY KEY (workspace_id))"
    )


def downgrade() -> None:
    op.execute("DROP TABLE publisher.open_command_count")
    op.execute("DROP INDEX publisher.ix_publish_command_postponed")
    op.execute("DROP INDEX publisher.ix_publish_command_fair")
