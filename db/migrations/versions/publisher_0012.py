"""The audit log, who asked for a command, the last use of keys, console sessions, iCal feeds."""

from alembic import op

revision = "publisher_0012"
down_revision = "publisher_0011"

COLUMNS = (
    "publisher.publish_command ADD COLUMN requested_by uuid",
    "publisher.api_key ADD COLUMN last_used_at timestamptz",
)
TABLES = (
    """
CREATE TABLE publisher.audit_entry (
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    key_id uuid,
    actor_name text,
    door text NOT NULL,
    client text,
    correlation_id text,
    action text NOT NULL,
    subject text,
    subject_id text,
    workspace_id bigint,
    outcome text NOT NULL,
    problem text,
    details jsonb NOT NULL,
    CONSTRAINT pk_audit_entry PRIMARY KEY (id),
    CONSTRAINT ck_audit_entry_actor CHECK (actor IN ('api_key', 'operator', 'system')),
    CONSTRAINT ck_audit_entry_door CHECK (door IN ('api', 'cli', 'console', 'worker')),
    CONSTRAINT ck_audit_entry_outcome CHECK (outcome IN ('ok', 'refused', 'failed'))
)
""",
    """
CREATE INDEX ix_audit_entry_key ON publisher.audit_entry (key_id, id) WHERE key_id IS NOT NULL
""",
    "CREATE INDEX ix_audit_entry_workspace_id_id ON publisher.audit_entry (workspace_id, id)",
    "CREATE INDEX ix_audit_entry_at ON publisher.audit_entry USING brin (at)",
    """
CREATE INDEX ix_audit_entry_subject ON publisher.audit_entry (subject_id, id)
WHERE subject_id IS NOT NULL
""",
    """
CREATE TABLE publisher.console_session (
    digest bytea NOT NULL,
    id uuid NOT NULL,
    key_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    user_agent text,
    CONSTRAINT pk_console_session PRIMARY KEY (digest),
    CONSTRAINT fk_console_session_key_id FOREIGN KEY (key_id) REFERENCES publisher.api_key (id)
)
""",
    "CREATE INDEX ix_console_session_expires_at ON publisher.console_session (expires_at)",
    """
CREATE TABLE publisher.sign_in_code (
    digest bytea NOT NULL,
    key_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_sign_in_code PRIMARY KEY (digest),
    CONSTRAINT fk_sign_in_code_key_id FOREIGN KEY (key_id) REFERENCES publisher.api_key (id)
)
""",
    """
CREATE TABLE publisher.calendar_feed (
    id uuid NOT NULL,
    digest bytea NOT NULL,
    workspace_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    revoked_at timestamptz,
    last_read_at timestamptz,
    CONSTRAINT pk_calendar_feed PRIMARY KEY (id),
    CONSTRAINT uq_calendar_feed_digest UNIQUE (digest)
)
""",
    "CREATE INDEX ix_calendar_feed_workspace_id_id ON publisher.calendar_feed (workspace_id, id)",
)
APPEND_ONLY = (
    """
CREATE FUNCTION publisher.keep_audit_entry() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at < now() - interval '30 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: nothing was changed'
        USING ERRCODE = 'restrict_violation',
              HINT = 'Entries older than AUDIT_KEEP_DAYS are deleted by retention.';
END
$$
""",
    """
CREATE TRIGGER publisher_audit_changed
BEFORE UPDATE OR TRUNCATE ON publisher.audit_entry
FOR EACH STATEMENT
EXECUTE FUNCTION publisher.keep_audit_entry()
""",
    """
CREATE TRIGGER publisher_audit_deleted
BEFORE DELETE ON publisher.audit_entry
FOR EACH ROW
EXECUTE FUNCTION publisher.keep_audit_entry()
""",
    """
CREATE FUNCTION publisher.prune_audit_log(age interval, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH pruned AS (
        DELETE FROM publisher.audit_entry WHERE id IN (
            SELECT id FROM publisher.audit_entry
            WHERE at < now() - greatest(age, interval '30 days') LIMIT at_most
        )
        RETURNING id
    )
    SELECT count(*) FROM pruned
$$
""",
)


def upgrade() -> None:
    for column in COLUMNS:
        op.execute(f"ALTER TABLE {column}")
    for statement in (*TABLES, *APPEND_ONLY):
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables: the audit log is lost."""
    op.execute("DROP FUNCTION publisher.prune_audit_log")
    for table in ("audit_entry", "console_session", "sign_in_code", "calendar_feed"):
        op.execute(f"DROP TABLE publisher.{table}")
    op.execute("DROP FUNCTION publisher.keep_audit_entry")
    op.execute("ALTER TABLE publisher.api_key DROP COLUMN last_used_at")
    op.execute("ALTER TABLE publisher.publish_command DROP COLUMN requested_by")
