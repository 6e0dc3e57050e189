"""The summary of events, from which charts are drawn."""

from alembic import op

revision = "publisher_0014"
down_revision = "publisher_0013"

TABLE = """
CREATE TABLE publisher.event_summary (
    workspace_id bigint NOT NULL,
    began_at timestamptz NOT NULL,
    type text NOT NULL,
    step smallint NOT NULL,
    events bigint NOT NULL,
    CONSTRAINT pk_event_summary PRIMARY KEY (workspace_id, began_at, type, step)
)
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE publisher.event_summary")
