"""The processes that work, each with its last heartbeat."""

from alembic import op

revision = "publisher_0011"
down_revision = "publisher_0010"

PROCESS = """
CREATE UNLOGGED TABLE publisher.process (
    id uuid CONSTRAINT pk_process PRIMARY KEY,
    role text NOT NULL,
    name text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    processes integer NOT NULL,
    queues text[] NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    batch_at timestamptz,
    relay_at timestamptz,
    delivery_at timestamptz,
    CONSTRAINT ck_process_role CHECK (role IN ('worker', 'beat', 'api'))
)
"""


def upgrade() -> None:
    op.execute(PROCESS)


def downgrade() -> None:
    op.execute("DROP TABLE publisher.process")
