"""The Video resource: from a row to the JSON that the platform documents."""

import json
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Engine

from db.session import transaction
from db.videos import lookup
from schemas.values.caller import Caller
from schemas.video import Video
from worker.rules.etag import compute_etag
from worker.rules.media import to_media_url


@dataclass(frozen=True, kw_only=True)
class VideoResource:
    """A video and the ETag of this version."""

    video: Video
    etag: str


MEDIA = ("cover_image", "thumbnail", "video", "video_file", "audio_file", "profile_picture")
"""The fields, also of its parts, in which a Video has the URI of a file."""


def read_video(
    engine: Engine, video_id: int, workspace_id: int | None, media_base_url: str | None = None
) -> VideoResource | None:
    """Read the whole Video; None if it does not exist in the workspace (None: in any).

    Paths of files become URIs below `media_base_url`.
    """
    with transaction(engine) as tx:
        row = lookup.read_resource(tx, video_id, workspace_id)
    return (
        VideoResource(
            video=_to_video(_with_media_urls(row, media_base_url)),
            etag=compute_etag(row["id"], row["revision"], row["updated_at"]),
        )
        if row
        else None
    )


def find_current_path(engine: Engine, short_id: str, member: Caller | None) -> str | None:
    """The path of a published video, by the short id in any of its URLs.

    None: not published, or not public and `member` may not see it.
    """
    with transaction(engine) as tx:
        return lookup.find_release(tx, short_id, member)


def _with_media_urls(value: Any, base_url: str | None) -> Any:
    """Return a row, or a part of it, with URIs for paths."""
    if isinstance(value, list):
        return [_with_media_urls(each, base_url) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return {
        name: to_media_url(base_url, part)
        if name in MEDIA and isinstance(part, str)
        else _with_media_urls(part, base_url)
        for name, part in cast("dict[str, Any]", value).items()
    }


def _to_video(row: dict[str, Any]) -> Video:
    tags = row["tag_list"]
    fields = {name: row[name] for name in Video.model_fields if name in row}
    return Video.model_validate(
        {
            **fields,
            "tags": [tag["id"] for tag in tags],
            "tag_names": [tag["name"] for tag in tags],
            "metrics": json.dumps(row["metrics"] or {}, separators=(",", ":")),
        }
    )
