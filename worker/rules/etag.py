"""The Video's ETag: identifies the version that a caller has read."""

from datetime import datetime
from hashlib import sha256


def compute_etag(video_id: int, revision: int, updated_at: datetime) -> str:
    """Return a strong entity tag (RFC 9110) that each publication and dated change changes."""
    version = f"{video_id}-{revision}-{updated_at.isoformat()}"
    return f'"{sha256(version.encode()).hexdigest()[:20]}"'


def is_allowed(expected: str, current: str) -> bool:
    """Whether an `If-Match` header allows this version: `*`, or a list of strong tags."""
    return expected.strip() == "*" or current in (tag.strip() for tag in expected.split(","))
