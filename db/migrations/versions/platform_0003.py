"""Rename the trigger on videos after the function that it calls."""

from alembic import op

revision = "platform_0003"
down_revision = "platform_0002"


HAS_TRIGGER = "SELECT FROM pg_trigger WHERE tgrelid = 'video'::regclass AND tgname = '{name}'"


def upgrade() -> None:
    _rename("publisher_video_turned", "publisher_video_changed")


def downgrade() -> None:
    _rename("publisher_video_changed", "publisher_video_turned")


def _rename(old: str, new: str) -> None:
    """Rename the trigger; one that was dropped stays away, one that was made again stays single."""
    connection = op.get_bind()
    if not connection.exec_driver_sql(HAS_TRIGGER.format(name=old)).rowcount:
        return
    if connection.exec_driver_sql(HAS_TRIGGER.format(name=new)).rowcount:
        op.execute(f"DROP TRIGGER {old} ON video")
    else:
        op.execute(f"ALTER TRIGGER {old} ON video RENAME TO {new}")
