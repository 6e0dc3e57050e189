"""custom_url: where a published video is found. A pure rule: the same each time it is computed.

`{workspace's custom_url}/{title slug}-{short id}`: a path without the domain, so that moving the
site changes no row. Every old URL, whatever its slug, still finds the video by its short id.
"""

import re
from functools import lru_cache
from hashlib import sha256
from typing import Any
from unicodedata import normalize
from uuid import UUID

from slugify import slugify, smart_truncate
from text_unidecode import (  # pyright: ignore[reportMissingTypeStubs]
    unidecode,  # pyright: ignore[reportUnknownVariableType]
)

SLUG_LENGTH = 60
EMPTY_SLUG = "video"
TRANSLITERATION = "text-unidecode"
"""Named, since slugify takes whichever it finds, and another one would change every URL."""
_OPTIONS: dict[str, Any] = {
    "max_length": SLUG_LENGTH,
    "word_boundary": True,
    "save_order": True,
    "backend": TRANSLITERATION,
}
SHORT_ID_LENGTH = 13
"""Base32 characters: 65 bits, which cannot be guessed; the database checks that it is unique."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base32: no i, l, o or u, which people misread."""
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
"""Two characters at a time: half the steps."""
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d)")
_SEPARATORS = re.compile(r"[^a-z0-9]+")
_SHORT_ID_AT_END = re.compile(rf"(?:^|[-/])([{_ALPHABET}]{{{SHORT_ID_LENGTH}}})/?$")


def build_custom_url(workspace_url: str, title: str, short_id: str) -> str:
    """Return the path, such as `ai-research-studio/what-is-attention-k3v9x2a7qd5mp`."""
    return f"{workspace_url}/{to_slug(title)}-{short_id}"


def to_slug(title: str) -> str:
    """Transliterate the title to at most 60 of a-z, 0-9 and hyphens, cut after a word.

    The result of `slugify`, whose steps for any option take eight times as long.
    """
    text = _NOT_ASCII.sub(_transliterate, title)
    if "&" in text or not text.isascii():  # HTML entities
        slug = slugify(title, **_OPTIONS)
        return slug or EMPTY_SLUG
    text = _SEPARATORS.sub("-", _COMMA_IN_NUMBER.sub("", text.lower())).strip("-")
    slug = smart_truncate(text, SLUG_LENGTH, word_boundary=True, separator="-", save_order=True)
    return slug or EMPTY_SLUG


def _transliterate(found: re.Match[str]) -> str:
    return _to_ascii(found[0])


@lru_cache(maxsize=1_000)
def _to_ascii(text: str) -> str:
    """Transliterate characters that are not ASCII; an apostrophe among them separates nothing."""
    return unidecode(normalize("NFKD", text)).replace("'", "")


def compute_short_id(uid: UUID) -> str:
    """Return the first 65 bits of the SHA-256 of the uid's sixteen bytes, in base32."""
    bits = int.from_bytes(sha256(uid.bytes).digest()[:9]) >> 7  # of 72
    return (  # without a loop, in half the time
        f"{_PAIRS[bits >> 55]}{_PAIRS[bits >> 45 & 1023]}{_PAIRS[bits >> 35 & 1023]}"
        f"{_PAIRS[bits >> 25 & 1023]}{_PAIRS[bits >> 15 & 1023]}{_PAIRS[bits >> 5 & 1023]}"
        f"{_ALPHABET[bits & 31]}"
    )


def find_short_id(path: str) -> str | None:
    """Find the short id at the end of a path, new or old; None when there is none."""
    found = _SHORT_ID_AT_END.search(path)
    return found.group(1) if found else None


def to_absolute_url(base_url: str, path: str) -> str:
    """Put the public base URL in front of a path."""
    return f"{base_url.rstrip('/')}/{path}"
