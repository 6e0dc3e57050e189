"""Leave room in the videos' pages: a row's next version then touches no index."""

from alembic import op

revision = "platform_0004"
down_revision = "platform_0003"


def upgrade() -> None:
    op.execute("ALTER TABLE IF EXISTS video SET (fillfactor = 60)")


def downgrade() -> None:
    op.execute("ALTER TABLE IF EXISTS video RESET (fillfactor)")
