"""A session of a person keeps the provider's id of its own session, for back-channel log-out.

The new column is null: no row is rewritten.
"""

from alembic import op

revision = "publisher_0019"
down_revision = "publisher_0018"


def upgrade() -> None:
    op.execute("ALTER TABLE publisher.console_session ADD COLUMN provider_session text")


def downgrade() -> None:
    op.execute("ALTER TABLE publisher.console_session DROP COLUMN provider_session")
