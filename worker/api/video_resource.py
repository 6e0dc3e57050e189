"""The Video resource: from a row to the JSON that the platform documents."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from db.session import transaction
from db.videos import lookup
from schemas.values.caller import Caller
from schemas.video import Video
from worker.rules.etag import compute_etag


@dataclass(frozen=True, kw_only=True)
class VideoResource:
    """A video and the ETag of this version."""

    video: Video
    etag: str


def read_video(engine: Engine, video_id: int, workspace_id: int | None) -> VideoResource | None:
    """Read the whole Video; None if it does not exist in the workspace (None: in any)."""
    with transaction(engine) as tx:
        row = lookup.read_resource(tx, video_id, workspace_id)
    return (
        VideoResource(
            video=_to_video(row), etag=compute_etag(row["id"], row["revision"], row["updated_at"])
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
