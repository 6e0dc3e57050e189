"""The Video's ETag: identifies the version that a caller has read."""

import re
from datetime import datetime
from hashlib import sha256

_CODING = re.compile(r'-{1,2}(?:gzip|br|zstd|deflate)"$')
"""What Apache, Caddy and Jetty append."""


def compute_etag(video_id: int, revision: int, updated_at: datetime) -> str:
    """Return a strong entity tag (RFC 9110) that each publication and dated change changes."""
    version = f"{video_id}-{revision}-{updated_at.isoformat()}"
    return f'"{sha256(version.encode()).hexdigest()[:20]}"'


def is_allowed(expected: str, current: str) -> bool:
    """Whether an `If-Match` header allows this version: `*`, or a list of tags.

    Tags are compared weakly: ours names a version of the video, not the bytes of an answer, and
    a proxy that compresses the answer weakens the tag or appends the coding.
    """
    return expected.strip() == "*" or current in map(_to_own_tag, expected.split(","))


def _to_own_tag(tag: str) -> str:
    return _CODING.sub('"', tag.strip().removeprefix("W/"))
