"""metrics: what a release is like and how it is doing. A pure rule over facts that were read."""

import re
from collections.abc import Iterable
from typing import Any

from publish_worker_client.events.metrics import Metrics
from schemas.values.video_facts import VideoFacts

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")
"""Scripts written without spaces (Han, kana, Thai): there, each character counts as a word."""


def compute(video: VideoFacts) -> Metrics:
    """Compute the metrics as of `video.now`."""
    seconds = video.duration if video.duration is not None else video.sections_seconds
    words = count_script_words(video)
    return Metrics(
        duration_seconds=seconds,
        section_count=video.section_count,
        script_words=words,
        words_per_minute=round(60 * words / seconds, 1) if seconds > 0 else 0.0,
        tag_count=len(video.tag_ids),
        generation_seconds=_measure_generation(video),
        views=video.views,
        unique_viewers=video.unique_viewers,
        plays=video.plays,
        watch_seconds=video.watch_seconds,
        completion_rate=_compute_completion_rate(video),
        likes=video.likes,
        bookmarks=video.bookmarks,
        shares=video.shares,
        comments=video.comments,
        computed_at=video.now,
    )


def count_script_words(video: VideoFacts) -> int:
    """Count the words of the generated script, or else of the sections' turns."""
    if video.generated_script is not None:
        return count_words(video.generated_script)
    return sum(count_words(text) for text in _find_texts(video.contents))


def count_words(text: str) -> int:
    """Count words: runs between white space; where a script has no spaces, characters."""
    if text.isascii():
        return len(text.split())
    spaced, characters = _UNSPACED.subn(" ", text)
    return len(spaced.split()) + characters


def _find_texts(content: Any) -> Iterable[str]:
    """Every turn's text, however deep: a turn is a string, or an object with a `text`."""
    match content:
        case str():
            yield content
        case list():
            for part in content:  # pyright: ignore[reportUnknownVariableType]
                yield from _find_texts(part)
        case {"text": str(text)}:
            yield text
        case _:
            return


def _measure_generation(video: VideoFacts) -> int | None:
    if video.first_section_at is None or video.last_section_at is None:
        return None
    return max(0, int((video.last_section_at - video.first_section_at).total_seconds()))


def _compute_completion_rate(video: VideoFacts) -> float:
    if video.plays <= 0:
        return 0.0
    return round(min(1.0, max(0.0, video.completed_plays / video.plays)), 4)
