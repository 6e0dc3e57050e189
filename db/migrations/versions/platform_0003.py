"""Rename the trigger on videos after the function that it calls."""

from alembic import op

revision = "platform_0003"
down_revision = "platform_0002"


def upgrade() -> None:
    op.execute("ALTER TRIGGER publisher_video_turned ON video RENAME TO publisher_video_changed")


def downgrade() -> None:
    op.execute("ALTER TRIGGER publisher_video_changed ON video RENAME TO publisher_video_turned")
