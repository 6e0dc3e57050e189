"""The demo's screen: live tables where there is a terminal, plain lines where there is none."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker.local.demo.board import Board, Bulk, VideoRow, after, kind, says, tidy, way
from worker.local.demo.subscriber import Seen

PAUSE_SECONDS = 0.7
"""Between scenes, for people to read; a log needs none."""
BULK_STEPS = 5
TITLE_SHOWN = 60
"""Characters of a title in a plain line."""
MARKS = {True: ("✓", "bold green"), False: ("✗", "bold red")}


class Screen:
    """Shows scenes as they are played; may be told things from any thread."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = console.is_terminal
        self.board = Board()
        self._lock = threading.RLock()
        self._pause = threading.Event()

    @contextmanager
    def scene(self, number: int, title: str, about: str) -> Generator[None]:
        """Show one scene; what is told within is part of it."""
        self._heading(number, title, about)
        self.board = Board()
        if not self.live:
            yield
            self.console.print()
            return
        with Live(
            get_renderable=lambda: self.board,
            console=self.console,
            refresh_per_second=20,
        ):
            yield
        self._pause.wait(PAUSE_SECONDS)

    def say(self, line: Text) -> None:
        """A line in the scene."""
        with self._lock:
            self.board.lines.append(line)
        self._plainly(line)

    def check(self, ok: bool, text: str) -> None:
        """A finding."""
        mark, style = MARKS[ok]
        self.say(Text.assemble((f"{mark} ", style), text))

    def video(self, video_id: int, title: str, state: str) -> None:
        """A video enters the scene."""
        with self._lock:
            self.board.videos[video_id] = VideoRow(title=title, way=[state])

    def step(self, video_id: int, state: str) -> None:
        """A video gets on; told twice, it is shown once."""
        with self._lock:
            row = self.board.videos.get(video_id)
            if row and row.advance(state):
                title = tidy(row.title)[:TITLE_SHOWN]
                self._plainly(Text.assemble(f"video {video_id:<4} ", way(row.way), f"  {title}"))

    def bulk(self, total: int) -> None:
        """Many videos enter the scene, to be shown as one bar."""
        with self._lock:
            self.board.bulk = Bulk(total=total)

    def event(self, seen: Seen) -> None:
        """An event arrives at the subscriber."""
        with self._lock:
            self.board.events.append(seen)
            if self.board.bulk:
                self._count(self.board.bulk)
                return
            row = self.board.videos.get(seen.video_id)
            if row:
                row.advance(seen.type.removeprefix("video.").removeprefix("publish_"))
                row.url = seen.data.get("custom_url", row.url)
            self._plainly(
                Text.assemble(
                    *(f"event {seen.position:<4} ", kind(seen), f"  video {seen.video_id:<4} "),
                    *(f"{self.board.title(seen)[:TITLE_SHOWN]}  ", says(seen)),
                    (f"  after {after(seen)}" if seen.is_due else "", "dim"),
                )
            )

    def _count(self, bulk: Bulk) -> None:
        bulk.done += 1
        if bulk.done % (bulk.total // BULK_STEPS) == 0:
            self._plainly(Text(f"{bulk.done} of {bulk.total} published"))

    def _heading(self, number: int, title: str, about: str) -> None:
        self.console.rule(Text.assemble((f"{number} ", "dim"), (title, "bold")), align="left")
        self.console.print(Text(about, "italic dim"), soft_wrap=not self.live)
        if self.live:
            self.console.print()

    def _plainly(self, line: Text) -> None:
        if not self.live:
            self.console.print(Text.assemble("  ", line), soft_wrap=True)
