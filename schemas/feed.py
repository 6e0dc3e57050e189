"""The feed: what a reader of events asks for, and an event as readers get it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field

from schemas.events import EventType
from schemas.fields import Frozen, Id

MAX_POSITION = 10**18
MAX_PAGE, PAGE = 1_000, 100
"""Events in one answer: at most, and unless said otherwise."""


class StreamFilter(Frozen):
    """Which events a live reader wants, and from where on."""

    after: Annotated[int, Field(ge=0, le=MAX_POSITION, examples=[1000])] | None = None
    """The last position that was seen; the events after it follow."""
    type: Annotated[list[EventType], Field(max_length=len(EventType))] = Field(default=[])
    """Only these types; may be given several times. Without it, all."""
    video_id: Annotated[int, Field(ge=1, le=MAX_POSITION, examples=[7])] | None = None
    """Only events about this video."""


class FeedFilter(StreamFilter):
    """Which events a page is to have, and from where on."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = PAGE
    """The largest number of events in the answer."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """An event on its way to readers."""

    position: int
    type: str
    subject: str
    workspace_id: int
    document: str
    """The CloudEvents document."""

    @cached_property
    def frame(self) -> bytes:
        """The event as `text/event-stream` has it; made once for all who read it."""
        one_line = self.document.replace("\r", " ").replace("\n", " ")
        return f"id: {self.position}\nevent: {self.type}\ndata: {one_line}\n\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events a reader may and wants to see."""

    workspace_id: int | None
    """None: every workspace."""
    types: frozenset[str] = frozenset()
    """None of them: all."""
    video_id: Id | None = None

    @property
    def is_everything(self) -> bool:
        """Whether there is nothing to filter but the workspace."""
        return not self.types and self.video_id is None

    def of(self, events: Iterable[Told]) -> list[Told]:
        """Those that are wanted."""
        return [event for event in events if self.matches(event)]

    def matches(self, event: Told) -> bool:
        """Whether it is wanted."""
        return (
            self.workspace_id in (None, event.workspace_id)
            and (not self.types or event.type in self.types)
            and (self.video_id is None or event.subject == str(self.video_id))
        )
