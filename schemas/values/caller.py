"""Callers: API keys and people of the identity provider, their scopes and workspaces."""

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


class KnownPerson(Frozen):
    """A person of the identity provider."""

    id: UUID
    name: str
    """As the provider gave it at the last sign-in: for people, not for decisions."""


class Caller(Frozen):
    """Who is authenticated: an API key, or a person who has signed in to the console."""

    key_id: UUID | None = None
    """None: a person."""
    person: KnownPerson | None = None
    """None: an API key."""
    scope: Scope
    workspace_id: int | None
    """None: every workspace."""

    @property
    def id(self) -> UUID:
        """The id of the key, or of the person."""
        found = self.key_id or (self.person and self.person.id)
        if found is None:
            raise ValueError("A caller is a key or a person.")
        return found


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
