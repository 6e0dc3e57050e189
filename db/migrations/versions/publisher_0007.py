"""Allow the scope `events` for API keys."""

from alembic import op

revision = "publisher_0007"
down_revision = "publisher_0006"


def upgrade() -> None:
    _allow("events", "read", "publish", "admin")


def downgrade() -> None:
    """Revoke keys of the scope: the version before would take none of them, or too much."""
    op.execute(
        "UPDATE publisher.api_key SET scope = 'read', revoked_at = coalesce(revoked_at, now())"
        " WHERE scope = 'events'"
    )
    _allow("read", "publish", "admin")


def _allow(*scopes: str) -> None:
    check = f"CHECK (scope IN ({', '.join(map(repr, scopes))}))"
    op.execute("ALTER TABLE publisher.api_key DROP CONSTRAINT IF EXISTS ck_api_key_scope")
    op.execute(f"ALTER TABLE publisher.api_key ADD CONSTRAINT ck_api_key_scope {check}")
