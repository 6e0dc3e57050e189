"""Edits: which of a command's editorial fields differ from the video, and their application."""

from dataclasses import replace
from typing import Any

from schemas.values.video_facts import Names, VideoFacts


def find_changes(video: VideoFacts, edits: dict[str, Any] | None) -> dict[str, Any]:
    """Return the edits that differ from the video, by column (`tags` by field)."""
    if not edits:
        return {}
    current = {
        "title": video.title,
        "description": video.description,
        "visibility": video.visibility,
        "category_id": video.category_id,
        "subcategory_id": video.subcategory_id,
        "tags": sorted(video.tag_ids),
        "cover_image": video.cover_image,
        "thumbnail": video.thumbnail,
    }
    wanted = {_to_column(field): value for field, value in edits.items()}
    return {column: value for column, value in wanted.items() if current[column] != value}


def apply_changes(video: VideoFacts, changes: dict[str, Any], names: Names) -> VideoFacts:
    """Return the video's facts with the changes applied, and the names that belong to them."""
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


def _to_column(field: str) -> str:
    return f"{field}_id" if field in ("category", "subcategory") else field
