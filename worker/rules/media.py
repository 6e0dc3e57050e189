"""Media: a row may have a file's path, as Django's FileField does, where the Video has a URI."""

import re
from typing import Any
from urllib.parse import quote, unquote, urljoin

EDITED = ("cover_image", "thumbnail")
"""The editorial fields with a URI."""
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_SAFE = "/~!*()'"
"""What Django's `filepath_to_uri` leaves as it is."""


def to_media_url(base_url: str | None, path: str | None) -> str | None:
    """Return a path as a URI below `base_url`. What is absolute or empty stays as it is."""
    if not base_url or not path or _ABSOLUTE.match(path):
        return path
    return urljoin(f"{base_url.rstrip('/')}/", quote(path, safe=_SAFE))


def to_stored_edits(base_url: str | None, edits: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return edits with the paths that a row has, where they have URIs below `base_url`."""
    if not base_url or not edits:
        return edits
    prefix = f"{base_url.rstrip('/')}/"
    return {
        name: unquote(value.removeprefix(prefix))
        if name in EDITED and value and value.startswith(prefix)
        else value
        for name, value in edits.items()
    }
