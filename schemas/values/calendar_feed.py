"""The secret address of a workspace's iCal feed."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarFeed:
    """An address without its token."""

    id: UUID
    workspace_id: int
    created_at: datetime
    created_by: UUID | None
    """The API key that created it. None: an operator."""
    revoked_at: datetime | None
    last_read_at: datetime | None
    """Accurate to a minute."""
