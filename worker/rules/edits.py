"""Edits: which of the editorial fields that a command brings differ, and the video with them."""

from dataclasses import replace
from typing import Any

from schemas.values.video_facts import Names, VideoFacts


def changed(video: VideoFacts, edits: dict[str, Any] | None) -> dict[str, Any]:
    """The edits that differ from what the video has, by column (`tags` by field)."""
    if not edits:
        return {}
    has = {
        "title": video.title,
        "description": video.description,
        "visibility": video.visibility,
        "category_id": video.category_id,
        "subcategory_id": video.subcategory_id,
        "tags": sorted(video.tag_ids),
        "cover_image": video.cover_image,
        "thumbnail": video.thumbnail,
    }
    wanted = {_column(field): value for field, value in edits.items()}
    return {column: value for column, value in wanted.items() if has[column] != value}


def edited(video: VideoFacts, changes: dict[str, Any], names: Names) -> VideoFacts:
    """The video's facts with the changes applied, names looked up."""
    if not changes:
        return video
    plain = {column: value for column, value in changes.items() if column != "tags"}
    if "category_id" in changes:
        plain["category"] = names.categories.get(changes["category_id"])
    if "subcategory_id" in changes:
        plain["subcategory"] = names.subcategories.get(changes["subcategory_id"])
    if "tags" in changes:
        plain["tag_ids"] = tuple(changes["tags"])
        plain["tags"] = tuple(names.tags[tag] for tag in changes["tags"] if tag in names.tags)
    return replace(video, **plain)


def _column(field: str) -> str:
    return f"{field}_id" if field in ("category", "subcategory") else field
