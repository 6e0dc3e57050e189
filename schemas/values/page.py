"""A page of rows, and the start of the next page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows in the requested order."""

    items: Sequence[T] = ()
    next_after: T | None = None
    """The last item if more rows follow. None: this is the last page."""


def to_page(rows: Sequence[T], limit: int) -> Page[T]:
    """Make a page of at most `limit` rows from `limit + 1` that were read."""
    has_more = len(rows) > limit
    return Page(rows[:limit], rows[limit - 1] if has_more else None)
