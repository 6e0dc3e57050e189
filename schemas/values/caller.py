"""API keys: their scopes and workspaces."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from schemas.fields import Frozen


class Scope(StrEnum):
    """The permissions of a key. Each scope includes the ones before it."""

    EVENTS = "events"
    """Only the feeds of events, without those about webhooks; the only scope of a key in a URL."""
    READ = "read"
    PUBLISH = "publish"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        """Whether a key with this scope has the permissions of `needed`."""
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(needed)


class Caller(Frozen):
    """An authenticated API key."""

    key_id: UUID
    scope: Scope
    workspace_id: int | None
    """None: every workspace."""


class ApiKey(Frozen):
    """A key without its secret."""

    id: UUID
    name: str
    scope: Scope
    workspace_id: int | None
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    """Accurate to a minute or two. None: never since this is recorded."""
