"""What the demo prints: requests, events and checks as they come, then each video's way."""

import threading
import time
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from worker.local.demo.subscriber import ReceivedEvent

PAUSE_SECONDS = 0.7
"""Between scenarios in a terminal, for people to read."""
WIDEST = 150
"""Columns; wider tables are hard to read, and a log has no width of its own."""
TITLE_SHOWN = 48
"""Characters of a title in an event's line."""
PROGRESS_STEPS = 5
MARKS = {True: ("✓", "bold green"), False: ("✗", "bold red")}
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
ORDER = ("accepted", "scheduled", "waiting")
"""States before an outcome, in their order on a video's way."""


@dataclass
class VideoProgress:
    """A video's way through the scenario: its states, and the URL that it got."""

    title: str
    way: list[str]
    url: str = ""

    def advance(self, state: str) -> None:
        """Put a state in its place, once: the event may arrive before the request's answer."""
        if state not in self.way[1:]:
            self.way = [self.way[0], *sorted([*self.way[1:], state], key=_rank)]


class Screen:
    """Prints the scenarios as they run. The main thread and the subscriber's thread use it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        if not console.is_terminal:
            console.width = WIDEST
        self._videos: dict[int, VideoProgress] = {}
        self._bulk, self._published = 0, 0
        self._lock = threading.Lock()

    @contextmanager
    def scenario(self, number: int, title: str, about: str) -> Generator[None]:
        """Print a heading, and at the end of the block the way of each video."""
        self._videos, self._bulk, self._published = {}, 0, 0
        self.console.rule(Text.assemble((f"{number} ", "dim"), (title, "bold")), align="left")
        self.console.print(Text(about, "italic dim"), soft_wrap=not self.console.is_terminal)
        yield
        if self._videos:
            width = min(self.console.width, WIDEST)
            self.console.print()
            self.console.print(Padding(self._video_table(), (0, 0, 0, 2)), width=width)
        self.console.print()
        if self.console.is_terminal:
            time.sleep(PAUSE_SECONDS)

    def print(self, line: Text) -> None:
        """Print a line; a terminal cuts it at its width."""
        terminal = self.console.is_terminal
        overflow = "ellipsis" if terminal else "ignore"
        self.console.print(
            Text.assemble("  ", line), no_wrap=True, overflow=overflow, crop=terminal
        )

    def check(self, ok: bool, text: str) -> None:
        """Print the result of a check."""
        self.console.print(Text.assemble("  ", check_line(ok, text)), soft_wrap=True)

    def add_video(self, video_id: int, title: str, state: str) -> None:
        """Add a video to the scenario."""
        with self._lock:
            self._videos[video_id] = VideoProgress(title=_to_one_line(title), way=[state])

    def advance(self, video_id: int, state: str) -> None:
        """Add a state to a video's way."""
        with self._lock:
            if row := self._videos.get(video_id):
                row.advance(state)

    def count_events(self, total: int) -> None:
        """Count this scenario's events instead of printing each."""
        self._bulk = total

    def print_event(self, event: ReceivedEvent) -> None:
        """Print an event as a subscriber receives it."""
        if self._bulk:
            self._count()
            return
        with self._lock:
            row = self._videos.get(event.video_id, VideoProgress(title="", way=[""]))
            row.advance(event.type.removeprefix("video.").removeprefix("publish_"))
            row.url = event.data.get("custom_url", row.url)
        title = _to_one_line(event.data.get("title", "")) or row.title
        late = f"  {event.latency * 1000:,.0f} ms after it was due" if event.is_outcome else ""
        self.print(
            Text.assemble(
                f"event {event.position:<4} ",
                (event.type, COLOURS.get(row.way[-1], "")),
                f"  video {event.video_id:<4} {_shorten(title)}  {_to_text(event)}",
                (late, "dim"),
            )
        )

    def _count(self) -> None:
        self._published += 1
        if self._published % (self._bulk // PROGRESS_STEPS) == 0:
            self.print(Text(f"{self._published} of {self._bulk} published", "green"))

    def _video_table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim italic", expand=True)
        table.add_column("video", justify="right", style="dim", no_wrap=True)
        table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=3)
        table.add_column("its way", no_wrap=True)
        table.add_column("custom_url", overflow="ellipsis", no_wrap=True, ratio=4)
        for video_id, row in self._videos.items():
            way = Text(" → ", "dim").join(Text(state, COLOURS.get(state, "")) for state in row.way)
            table.add_row(str(video_id), row.title, way, row.url)
        return table


def check_line(ok: bool, text: str) -> Text:
    """A check with its mark."""
    mark, style = MARKS[ok]
    return Text.assemble((f"{mark} ", style), text)


def _to_text(event: ReceivedEvent) -> str:
    data = event.data
    if not event.is_outcome:
        return f"{data['action']} at {data['due_at']}"
    return data.get("url") or f"{data['reason']}: {data['detail']}"


def _to_one_line(title: str) -> str:
    """A title without characters that move the cursor or are invisible."""
    visible = "".join(" " if unicodedata.category(c) == "Cc" else c for c in title)
    return " ".join("".join(c for c in visible if unicodedata.category(c) != "Cf").split())


def _shorten(title: str) -> str:
    return title if len(title) <= TITLE_SHOWN else f"{title[: TITLE_SHOWN - 1]}…"


def _rank(state: str) -> int:
    return ORDER.index(state) if state in ORDER else len(ORDER)
