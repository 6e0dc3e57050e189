"""Enqueuing in SQL: any time zone's text may come with a key, and the kept count limits every
transaction.
"""

from alembic import op

from db.tables.enqueue_functions import ACCEPT, CHECK_LIMITS

revision = "publisher_0021"
down_revision = "publisher_0020"


def upgrade() -> None:
    op.execute(CHECK_LIMITS)
    op.execute(ACCEPT)


def downgrade() -> None:
    """Nothing: the functions have the same names and arguments."""
