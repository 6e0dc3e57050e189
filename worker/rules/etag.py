"""The Video's ETag: which version of it a caller has seen."""

from datetime import datetime
from hashlib import sha256


def etag(video_id: int, revision: int, updated_at: datetime) -> str:
    """A strong entity tag (RFC 9110): changes with every publication and every dated change."""
    version = f"{video_id}-{revision}-{updated_at.isoformat()}"
    return f'"{sha256(version.encode()).hexdigest()[:20]}"'


def matches(expected: str, current: str) -> bool:
    """Whether an `If-Match` header allows this version: `*`, or a list of strong tags."""
    return expected.strip() == "*" or current in (tag.strip() for tag in expected.split(","))
