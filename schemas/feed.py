"""The feed: which events a reader requests, and an event as readers receive it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field

from publish_worker_client.events.names import EventType
from schemas.fields import Frozen, Id

MAX_POSITION = 10**18
MAX_PAGE, PAGE = 1_000, 100
"""Events in one answer: the limit, and the default."""


class StreamFilter(Frozen):
    """Which events a live reader requests, and from which position."""

    after: Annotated[int, Field(ge=0, le=MAX_POSITION, examples=[1000])] | None = None
    """The last position that was read: the events after it follow."""
    type: Annotated[list[EventType], Field(max_length=len(EventType))] = Field(default=[])
    """Only these types; may be repeated. Default: all types."""
    video_id: Annotated[int, Field(ge=1, le=MAX_POSITION, examples=[7])] | None = None
    """Only events about this video."""


class FeedFilter(StreamFilter):
    """Which events a page contains, and from which position."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = PAGE
    """The highest number of events in the page."""


@dataclass(frozen=True, kw_only=True)
class FeedEvent:
    """An event as the feed, the live tail and their filters need it."""

    position: int
    type: str
    subject: str
    workspace_id: int
    document: str
    """The CloudEvents document, as JSON."""

    @cached_property
    def frame(self) -> bytes:
        """The event in the format `text/event-stream`; rendered once for all readers."""
        one_line = self.document.replace("\r", " ").replace("\n", " ")
        return f"id: {self.position}\nevent: {self.type}\ndata: {one_line}\n\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events a reader may see and has requested."""

    workspace_id: int | None
    """None: every workspace."""
    types: frozenset[str] = frozenset()
    """Empty: all types."""
    video_id: Id | None = None

    @property
    def is_workspace_only(self) -> bool:
        """Whether nothing but the workspace restricts the events."""
        return not self.types and self.video_id is None

    def select(self, events: Iterable[FeedEvent]) -> list[FeedEvent]:
        """The events that match."""
        return [event for event in events if self.matches(event)]

    def matches(self, event: FeedEvent) -> bool:
        """Whether the event passes this filter."""
        return (
            self.workspace_id in (None, event.workspace_id)
            and (not self.types or event.type in self.types)
            and (self.video_id is None or event.subject == str(self.video_id))
        )
