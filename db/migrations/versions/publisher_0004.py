"""Rename `set_aside_message` to `quarantined_message`; its rows stay."""

from alembic import op

revision = "publisher_0004"
down_revision = "publisher_0003"
branch_labels = None
depends_on = None

SCHEMA = "publisher"
OLD, NEW = "set_aside_message", "quarantined_message"


def upgrade() -> None:
    _rename(OLD, NEW)


def downgrade() -> None:
    _rename(NEW, OLD)


def _rename(old: str, new: str) -> None:
    op.rename_table(old, new, schema=SCHEMA)
    op.execute(f"ALTER INDEX {SCHEMA}.pk_{old} RENAME TO pk_{new}")
    op.execute(f"ALTER SEQUENCE {SCHEMA}.{old}_id_seq RENAME TO {new}_id_seq")
