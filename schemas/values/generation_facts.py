"""Generation facts: a video's row as far as generation goes, and the reports that decided it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFacts:
    """A video's generation columns, and what is kept of the reports that decided them."""

    video_id: int
    workspace_id: int
    status: str
    internal_status: str
    generation_progress: int
    is_regenerating: bool
    video: str | None
    duration: int | None

    # Of the last report that decided the status; None: there was none.
    run: int | None = None
    is_final: bool | None = None
    reported_at: datetime | None = None
    completed: bool | None = None
    detail: str | None = None
    progress: int | None = None
    """The row's progress when the last report was applied; the platform may have changed it."""
    # Of the report that named the rendered file; None: there was none.
    file_run: int | None = None
    file_reported_at: datetime | None = None

    is_stale: bool = False
    """Whether status, stage and progress are still those of the run before; not stored."""
