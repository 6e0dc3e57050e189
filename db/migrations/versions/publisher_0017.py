"""People of an identity provider: their sessions, sign-ins under way, and the audit log."""

from alembic import op

revision = "publisher_0017"
down_revision = "publisher_0016"

PERSON = """
CREATE TABLE publisher.person (
    id uuid NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    signed_in_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_person PRIMARY KEY (id)
)
"""
ATTEMPT = """
CREATE TABLE publisher.sign_in_attempt (
    digest bytea NOT NULL,
    after text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_sign_in_attempt PRIMARY KEY (digest)
)
"""
SESSION = """
ALTER TABLE publisher.console_session
    ALTER COLUMN key_id DROP NOT NULL,
    ADD COLUMN person_id uuid,
    ADD COLUMN groups text[],
    ADD CONSTRAINT fk_console_session_person_id
        FOREIGN KEY (person_id) REFERENCES publisher.person (id),
    ADD CONSTRAINT ck_console_session_owner CHECK ((key_id IS NULL) <> (person_id IS NULL)),
    ADD CONSTRAINT ck_console_session_groups CHECK ((person_id IS NULL) = (groups IS NULL))
"""
SESSION_BEFORE = """
ALTER TABLE publisher.console_session
    DROP CONSTRAINT ck_console_session_owner, DROP CONSTRAINT ck_console_session_groups,
    DROP COLUMN person_id, DROP COLUMN groups, ALTER COLUMN key_id SET NOT NULL
"""

ACTORS = """
ALTER TABLE publisher.audit_entry
    DROP CONSTRAINT ck_audit_entry_actor,
    ADD CONSTRAINT ck_audit_entry_actor CHECK (actor IN ({})) {}
"""


def upgrade() -> None:
    op.execute(PERSON)
    op.execute("CREATE UNIQUE INDEX ix_person_issuer_subject ON publisher.person (issuer, subject)")
    op.execute(ATTEMPT)
    op.execute(
        "CREATE INDEX ix_sign_in_attempt_expires_at ON publisher.sign_in_attempt (expires_at)"
    )
    op.execute(SESSION)
    op.execute(
        "CREATE INDEX ix_console_session_person_id ON publisher.console_session (person_id)"
        " WHERE person_id IS NOT NULL"
    )
    op.execute("ALTER TABLE publisher.audit_entry ADD COLUMN person_id uuid")
    op.execute(
        "CREATE INDEX ix_audit_entry_person ON publisher.audit_entry (person_id, id)"
        " WHERE person_id IS NOT NULL"
    )
    op.execute(ACTORS.format("'api_key', 'person', 'operator', 'system'", ""))


def downgrade() -> None:
    op.execute("DELETE FROM publisher.console_session WHERE person_id IS NOT NULL")
    op.execute(ACTORS.format("'api_key', 'operator', 'system'", "NOT VALID"))
    op.execute("ALTER TABLE publisher.audit_entry DROP COLUMN person_id")
    op.execute(SESSION_BEFORE)
    op.execute("DROP TABLE publisher.sign_in_attempt")
    op.execute("DROP TABLE publisher.person")
