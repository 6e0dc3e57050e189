"""What one scene of the demo shows: its requests and findings, its videos' ways, its events."""

import unicodedata
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.local.demo.subscriber import Seen

EVENTS_SHOWN = 5
WIDEST = 150
"""Columns; wider tables are hard to read."""
COLOURS = {
    "draft": "dim",
    "accepted": "cyan",
    "waiting": "yellow",
    "scheduled": "magenta",
    "published": "bold green",
    "unpublished": "bold blue",
    "unchanged": "blue",
    "rejected": "bold red",
}
KINDS = {
    "video.published": "green",
    "video.unpublished": "blue",
    "video.publish_scheduled": "magenta",
}
BEFORE_THE_END = ("accepted", "scheduled", "waiting")


@dataclass
class VideoRow:
    """A video's way through the scene."""

    title: str
    way: list[str]
    url: str = ""

    def advance(self, state: str) -> bool:
        """Put a state in its place on the way; False if it is there already.

        The event may be here before the answer to the request that caused it.
        """
        if state in self.way[1:]:
            return False
        self.way = [self.way[0], *sorted([*self.way[1:], state], key=_rank)]
        return True


@dataclass
class Bulk:
    """Many videos as one bar."""

    total: int
    done: int = 0


@dataclass
class Board:
    """Everything that one scene shows; what is changed here is on the screen a moment later."""

    videos: dict[int, VideoRow] = field(default_factory=dict[int, VideoRow])
    events: list[Seen] = field(default_factory=list[Seen])
    lines: list[Text] = field(default_factory=list[Text])
    bulk: Bulk | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As Rich draws it, live and at the end."""
        parts: list[RenderableType] = [Text("\n").join(self.lines)] if self.lines else []
        if self.videos:
            parts.append(self._video_table())
        if self.bulk:
            parts.append(_bar(self.bulk))
        if self.events:
            parts.append(self._event_table())
        blocks = Group(*(Padding(part, (0, 0, 1, 2)) for part in parts))
        yield from console.render(blocks, options.update(width=min(options.max_width, WIDEST)))

    def title(self, seen: Seen) -> str:
        """What the event's video is called, even where the event does not say."""
        row = self.videos.get(seen.video_id)
        return tidy(seen.data.get("title") or (row.title if row else ""))

    def _video_table(self) -> Table:
        table = _table()
        table.add_column("video", justify="right", style="dim", no_wrap=True)
        table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("its way", no_wrap=True)
        table.add_column("custom_url", overflow="ellipsis", no_wrap=True, ratio=4)
        for video_id, row in self.videos.items():
            table.add_row(str(video_id), tidy(row.title), way(row.way), end_of(row.url))
        return table

    def _event_table(self) -> Table:
        table = _table()
        table.add_column("event", justify="right", style="dim", no_wrap=True)
        table.add_column("as a subscriber gets it", no_wrap=True)
        table.add_column("video", justify="right", style="dim", no_wrap=True)
        table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("url, or why not", overflow="ellipsis", no_wrap=True, ratio=5)
        table.add_column("after", justify="right", no_wrap=True)
        for seen in self.events[-EVENTS_SHOWN:]:
            told = end_of(seen.data["url"]) if "url" in seen.data else says(seen)
            position, video = str(seen.position), str(seen.video_id)
            table.add_row(position, kind(seen), video, self.title(seen), told, after(seen))
        if len(self.events) > EVENTS_SHOWN:
            table.caption = f"the last {EVENTS_SHOWN} of {len(self.events)}"
        return table


def way(states: list[str]) -> Text:
    """`draft → accepted → published`, each in its colour."""
    return Text(" → ", "dim").join(Text(state, COLOURS.get(state, "")) for state in states)


def kind(seen: Seen) -> Text:
    """The event's type in its outcome's colour."""
    return Text(seen.type, KINDS.get(seen.type, "red"))


def says(seen: Seen) -> Text:
    """The point of the event: the URL, or why not."""
    data = seen.data
    if not seen.is_due:
        return Text(f"{data['action']} at {data['due_at']}")
    return Text(data.get("url") or f"{data['reason']}: {data['detail']}")


def after(seen: Seen) -> str:
    """How long after the command was due."""
    return f"{seen.latency * 1000:,.0f} ms" if seen.is_due else "ahead"


def end_of(url: str) -> str:
    """What differs from one URL to the next."""
    return f"…/{url.rpartition('/')[2]}" if url else ""


def tidy(title: str) -> str:
    """A title on one line, without what would move the cursor or hide in it."""
    visible = "".join(" " if unicodedata.category(c) == "Cc" else c for c in title)
    shown = "".join(c for c in visible if unicodedata.category(c) != "Cf")
    return " ".join(shown.split())


def _rank(state: str) -> int:
    return BEFORE_THE_END.index(state) if state in BEFORE_THE_END else len(BEFORE_THE_END)


def _bar(bulk: Bulk) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    counted = Text(f"{bulk.done} of {bulk.total} published", "green")
    row.add_row(ProgressBar(bulk.total, bulk.done, width=40), counted)
    return row


def _table() -> Table:
    return Table(
        box=None, pad_edge=False, header_style="dim italic", caption_style="dim italic", expand=True
    )
