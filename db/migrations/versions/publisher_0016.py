"""The failed attempts at commands, each with its error."""

from alembic import op

revision = "publisher_0016"
down_revision = "publisher_0015"

TABLE = """
CREATE TABLE publisher.command_attempt (
    id uuid NOT NULL,
    command_id uuid NOT NULL,
    attempt integer NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text NOT NULL,
    CONSTRAINT pk_command_attempt PRIMARY KEY (id)
)
"""
INDEX = """
CREATE INDEX ix_command_attempt_command_id_id ON publisher.command_attempt (command_id, id)
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(INDEX)


def downgrade() -> None:
    op.execute("DROP TABLE publisher.command_attempt")
