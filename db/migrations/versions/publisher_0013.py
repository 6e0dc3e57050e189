"""An index for lists of videos whose commands wait, or ended without effect."""

from alembic import op

revision = "publisher_0013"
down_revision = "publisher_0012"

TROUBLE = """
CREATE INDEX ix_publish_command_trouble ON publisher.publish_command (state, video_id, id)
WHERE state IN ('waiting', 'failed', 'rejected', 'expired')
"""


def upgrade() -> None:
    op.execute(TROUBLE)


def downgrade() -> None:
    op.execute("DROP INDEX publisher.ix_publish_command_trouble")
