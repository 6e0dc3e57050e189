"""The metrics of a release."""

from dataclasses import dataclass
from datetime import datetime

from publish_worker_client.events.documented import documented


@documented
@dataclass(slots=True, kw_only=True)
class Metrics:
    """Computed from the sections, the script and the daily engagement sums."""

    duration_seconds: int
    section_count: int
    script_words: int
    words_per_minute: float
    """0 while the duration is 0."""
    tag_count: int
    generation_seconds: int | None
    """From the creation of the first section to the last change of a section. null: no sections."""
    views: int
    unique_viewers: int
    """The sum of each day's unique viewers."""
    plays: int
    watch_seconds: int
    completion_rate: float
    """Completed plays per play, 0 to 1; 0 while there are no plays."""
    likes: int
    bookmarks: int
    shares: int
    comments: int
    computed_at: datetime
