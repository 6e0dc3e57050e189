"""A command as the API shows it, and lists of commands."""

from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Command(BaseModel):
    """A command. What a newer API adds is read: other values as text, fields in `model_extra`."""

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
    publish_at: datetime | None = None
    """When to publish. None: at once, or a command to unpublish."""
    unpublish_at: datetime | None = None
    """When to unpublish. None: at once, or a command to publish."""
    publish_before: datetime | None = None
    """The deadline. None: it is carried out however late."""
    counterpart: str | None = None
    """The URL of the other command, of a publication that has an end."""
    due_at: datetime
    """When it may next be claimed."""
    finished_at: datetime | None = None
    correlation_id: str

    @property
    def counterpart_id(self) -> UUID | None:
        """The id of the other command: of the one that publishes, the one that unpublishes."""
        path = urlsplit(self.counterpart or "").path
        return UUID(path.rpartition("/")[2]) if path else None

    @property
    def has_ended(self) -> bool:
        """Whether it has an outcome."""
        return self.finished_at is not None


class CommandPage(BaseModel):
    """A part of a list of commands."""

    commands: list[Command]
    next: str | None = None
    """The URL of the next part."""

    @property
    def next_query(self) -> str | None:
        """The query of the next part: the API's own host may be another one than the caller's."""
        return urlsplit(self.next).query if self.next else None


class Generation(BaseModel):
    """The state of a video's generation after a report. More is in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    video_id: int
    applied: bool
    """Whether the report changed anything. False is not an error: do not send it again."""
    reason: str | None = None
    """Why not: `behind` (a later report was applied before), `repeated` (a duplicate)."""
    run: int
    status: str
    internal_status: str
    generation_progress: int
