"""Indexes for lists of videos: by workspace in the order of ids, and by tag."""

from alembic import op

revision = "platform_0005"
down_revision = "platform_0004"

EXISTS = "SELECT to_regclass('{table}') IS NOT NULL"


def upgrade() -> None:
    """Create them where the tables are; an operator may have moved or dropped one."""
    if _exists("video"):
        op.execute("CREATE INDEX ix_video_workspace_id_id ON video (workspace_id, id)")
        op.execute("DROP INDEX IF EXISTS ix_video_workspace_id")
    if _exists("video_tag"):
        op.execute("CREATE INDEX ix_video_tag_tag_id_video_id ON video_tag (tag_id, video_id)")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS ix_video_tag_tag_id_video_id")
    if _exists("video"):
        op.execute("CREATE INDEX ix_video_workspace_id ON video (workspace_id)")
    op.execute("DROP INDEX IF EXISTS ix_video_workspace_id_id")


def _exists(table: str) -> bool:
    return bool(op.get_bind().exec_driver_sql(EXISTS.format(table=table)).scalar())
