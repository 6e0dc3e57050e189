"""Indexes for lists of videos: by workspace in the order of ids, and by tag."""

from alembic import op

revision = "platform_0005"
down_revision = "platform_0004"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_video_workspace_id_id ON video (workspace_id, id)")
    op.execute("DROP INDEX IF EXISTS ix_video_workspace_id")
    op.execute("CREATE INDEX ix_video_tag_tag_id_video_id ON video_tag (tag_id, video_id)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_video_tag_tag_id_video_id")
    op.execute("CREATE INDEX ix_video_workspace_id ON video (workspace_id)")
    op.execute("DROP INDEX ix_video_workspace_id_id")
