"""Publish requests with the documented body."""

from typing import Any

from schemas.command import PublishRequest


def body(**fields: Any) -> dict[str, Any]:
    """The documented request with its required fields."""
    return {"template": {}, "owner": {}, "title": "What is light?", "workspace": 1, **fields}


def request(video_id: int, **fields: Any) -> PublishRequest:
    """A request with these editorial fields."""
    return PublishRequest.model_validate({"video_id": video_id, "video": body(**fields)})
