"""A command as the API shows it."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Command(BaseModel):
    """A command. Fields that a newer API adds are in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    id: UUID
    video_id: int
    workspace_id: int
    action: str
    """`publish` or `unpublish`."""
    state: str
    """`scheduled`, `waiting`, or an outcome: `published`, `unpublished`, `unchanged`, `rejected`,
    `expired`, `cancelled`, `failed`."""
    reason: str | None = None
    detail: str | None = None
    """Why it was not carried out, for people."""
    accepted_at: datetime
    due_at: datetime
    """When it may next be claimed."""
    finished_at: datetime | None = None
    correlation_id: str

    @property
    def has_ended(self) -> bool:
        """Whether it has an outcome."""
        return self.finished_at is not None
