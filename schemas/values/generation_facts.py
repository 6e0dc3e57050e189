"""Generation facts: a video's generation columns, and the last applied reports."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFacts:
    """A video's generation columns, and the stored fields of the reports that set them."""

    video_id: int
    workspace_id: int
    status: str
    internal_status: str
    generation_progress: int
    is_regenerating: bool
    video: str | None
    duration: int | None

    # The last report that set the status. None: no report.
    run: int | None = None
    is_final: bool | None = None
    reported_at: datetime | None = None
    completed: bool | None = None
    detail: str | None = None
    progress: int | None = None
    """The row's progress when the last report was applied. The platform may have changed it."""
    # The report that set the rendered file. None: no report.
    file_run: int | None = None
    file_reported_at: datetime | None = None

    is_stale: bool = False
    """Whether status, stage and progress are from the previous run. Not stored."""
