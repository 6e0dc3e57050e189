"""API keys: what a key may do, and where."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from schemas.fields import Frozen


class Scope(StrEnum):
    """What a key may do; each scope includes the ones before it."""

    READ = "read"
    PUBLISH = "publish"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        """Whether a key of this scope may do what `needed` asks for."""
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(needed)


class Caller(Frozen):
    """Who is calling: a key, what it may do, and the workspace that it is confined to."""

    key_id: UUID
    scope: Scope
    workspace_id: int | None
    """None: every workspace."""


class ApiKey(Frozen):
    """A key as it is listed: never the secret."""

    id: UUID
    name: str
    scope: Scope
    workspace_id: int | None
    created_at: datetime
    revoked_at: datetime | None
