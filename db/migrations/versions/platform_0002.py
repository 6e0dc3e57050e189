"""A trigger on videos: the end of generation makes waiting commands due, whichever program writes it."""

from alembic import op

revision = "platform_0002"
down_revision = "platform_0001"
branch_labels = None
depends_on = None  # db.migrate upgrades `publisher` first; its heads are all that is recorded

VIDEO_TURNED = """
CREATE TRIGGER publisher_video_turned
AFTER UPDATE OF status, internal_status, is_regenerating, is_active, deleted_at, video ON video
FOR EACH ROW
WHEN (
    (OLD.status, OLD.internal_status, OLD.is_regenerating, OLD.is_active, OLD.deleted_at, OLD.video)
    IS DISTINCT FROM
    (NEW.status, NEW.internal_status, NEW.is_regenerating, NEW.is_active, NEW.deleted_at, NEW.video)
    AND (
        (NEW.status = 'completed' AND NEW.internal_status = 'completed' AND NOT NEW.is_regenerating)
        OR NEW.status = 'failed' OR NEW.internal_status = 'failed'
        OR NOT NEW.is_active OR NEW.deleted_at IS NOT NULL
    )
)
EXECUTE FUNCTION publisher.video_turned()
"""


def upgrade() -> None:
    op.execute(VIDEO_TURNED)


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS publisher_video_turned ON video")
