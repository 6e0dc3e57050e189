"""Any sequence of calls, turns of generation and crashes: one outcome for each command, and each
video in the state that its events tell.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.events import outbox
from db.events.outbox import Recorded
from db.session import Connection, transaction
from publish_worker_client.events.names import Action, Trigger
from schemas.command import CommandChange, PublishRequest
from tests.support.pipeline import Pipeline, ids
from tests.support.requests import request
from worker.enqueue.changes import Changer, cancel, reschedule
from worker.enqueue.refusals import CommandEnded, RequestInvalid
from worker.publish import run

SOMEBODY = Changer(trigger=Trigger.API, workspace_id=None)
WORKSPACES = (1, 1, 2)
"""Where the videos are."""
VIDEOS = len(WORKSPACES)
BATCH = 3
"""So small that a batch is often full, and divided among the workspaces."""
TURNS = {
    "begins": "status = 'in_progress', internal_status = 'rendering'",
    "completes": "status = 'completed', internal_status = 'completed', is_regenerating = false",
    "fails": "status = 'failed'",
    "begins again": "is_regenerating = true",
}
OUTCOME_EVENTS = {
    "video.published": "published",
    "video.unpublished": "unpublished",
    "video.publish_rejected": "rejected",
    "video.publish_expired": "expired",
    "video.publish_cancelled": "cancelled",
    "video.publish_failed": "failed",
}

video = st.integers(0, VIDEOS - 1)
hours = st.sampled_from([None, -1, 1, 3, 6])
which = st.integers(0, 9)
step = st.one_of(
    st.tuples(st.just("enqueue"), video, st.sampled_from([None, "First", "Second"]), hours),
    st.tuples(st.just("window"), video, hours, st.sampled_from([2, 5])),
    st.tuples(st.just("unpublish"), video, hours),
    st.tuples(st.just("reschedule"), which, st.sampled_from([-1, 1, 4])),
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("generation"), video, st.sampled_from(sorted(TURNS))),
    st.tuples(st.just("time passes"), st.sampled_from([1, 2, 5])),
    st.tuples(st.just("run")),
    st.tuples(st.just("run")),
    st.tuples(st.just("crash"), st.sampled_from(["away", "killed", "bug"]), st.integers(1, 3)),
)


class Bug(Exception):
    """An unexpected error of our own."""


@dataclass
class Crash:
    """Takes the place of the last statement of a transaction, and fails as often as it is told."""

    pipeline: Pipeline
    append: Callable[..., Recorded | None]
    kind: str = ""
    times: int = 0

    def __call__(self, tx: Connection, *events: Sequence[object]) -> Recorded | None:
        if self.times <= 0:
            return self.append(tx, *events)
        self.times -= 1
        if self.kind == "bug":
            raise Bug
        if self.kind == "away":
            raise psycopg.OperationalError("the connection is lost")
        with transaction(self.pipeline.engine) as other:
            other.execute("SELECT pg_terminate_backend(%s, 1000)", (tx.info.backend_pid,))
        return self.append(tx, *events)


@dataclass
class Story:
    """Videos in two workspaces, and what happens to them."""

    pipeline: Pipeline
    crash: Crash
    videos: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self.videos = [self.pipeline.video(workspace_id=each) for each in WORKSPACES]

    def tell(self, name: str, *said: Any) -> None:
        """Let one thing happen; it may be refused, or crash, and then nothing has happened."""
        before = self.written()
        try:
            getattr(self, f"_{name.replace(' ', '_')}")(*said)
        except (CommandEnded, RequestInvalid):
            assert self.written() == before
        except (psycopg.OperationalError, Bug):
            pass  # whatever was not committed did not happen; `check` looks at what was

    def written(self) -> tuple[int, int]:
        read = "SELECT (SELECT count(*) FROM publisher.publish_command), position"
        [row] = self.pipeline.rows(f"{read} FROM publisher.event_position")
        return row[0], row[1]

    def commands(self) -> list[tuple[Any, ...]]:
        read = "SELECT id, state, finished_at FROM publisher.publish_command"
        return self.pipeline.rows(f"{read} WHERE video_id = ANY(%s) ORDER BY id", self.videos)

    def _enqueue(self, nth: int, title: str | None, at: float | None) -> None:
        said = request(self.videos[nth], title=title) if title else None
        asked = said or PublishRequest(video_id=self.videos[nth])
        self.pipeline.accept(asked.model_copy(update={"publish_at": ahead(at)}))

    def _window(self, nth: int, at: float | None, length: float) -> None:
        begin, end = ahead(at), ahead(max(at or 0, 0) + length)
        request = PublishRequest(video_id=self.videos[nth], publish_at=begin, unpublish_at=end)
        self.pipeline.accept(request)

    def _unpublish(self, nth: int, at: float | None) -> None:
        video = self.videos[nth]
        asked = PublishRequest(video_id=video, action=Action.UNPUBLISH, unpublish_at=ahead(at))
        self.pipeline.accept(asked)

    def _reschedule(self, which: int, at: float) -> None:
        if commands := self.commands():
            command = self.pipeline.command(commands[which % len(commands)][0])
            change = CommandChange.model_validate({f"{command.action}_at": ahead(at)})
            reschedule(self.pipeline.engine, self.pipeline.waker, command.id, change, SOMEBODY)

    def _cancel(self, which: int) -> None:
        if commands := self.commands():
            command_id = commands[which % len(commands)][0]
            cancel(self.pipeline.engine, self.pipeline.waker, command_id, SOMEBODY)

    def _generation(self, nth: int, turn: str) -> None:
        self.pipeline.execute(f"UPDATE video SET {TURNS[turn]} WHERE id = %s", self.videos[nth])

    def _time_passes(self, hours: float) -> None:
        self.pipeline.let_pass(hours=hours)

    def _run(self) -> None:
        """Carry out due commands; a video that is not ready stays a draft."""
        unready = {row[0] for row in self.pipeline.rows(UNREADY, self.videos)}
        _, before = self.written()
        try:
            self.pipeline.run()
        finally:
            out = self.pipeline.rows(PUBLISHED_SINCE, before)
            assert not unready & {row[0] for row in out}

    def _crash(self, kind: str, times: int) -> None:
        self.crash.kind, self.crash.times = kind, times

    def drain(self) -> None:
        """Carry out every command."""
        self.crash.times = 0
        for _ in range(40):
            self.pipeline.let_pass(hours=13)
            self.pipeline.run()
            if all(finished for _, _, finished in self.commands()):
                return
        pytest.fail(f"commands without an outcome: {self.commands()}")


UNREADY = """
SELECT id FROM video WHERE id = ANY(%s)
  AND NOT (status = 'completed' AND internal_status = 'completed' AND NOT is_regenerating)
"""
PUBLISHED_SINCE = """
SELECT video_id FROM publisher.outbox_event WHERE position > %s AND type = 'video.published'
"""
EVENTS = """
SELECT type, video_id, command_id, revision, data FROM publisher.outbox_event
WHERE video_id = ANY(%s) ORDER BY position
"""
STANDING = """
SELECT v.is_draft, coalesce(r.revision, 0), r.withdrawn_at IS NOT NULL
FROM video v LEFT JOIN publisher.video_release r ON r.video_id = v.id WHERE v.id = %s
"""


@pytest.mark.parametrize("examples", [20, pytest.param(50, marks=pytest.mark.slow)])
def test_each_command_has_one_outcome_and_the_events_report_it(
    pipeline: Pipeline, examples: int
) -> None:
    @settings(max_examples=examples)
    @given(steps=st.lists(step, min_size=4, max_size=25))
    def tell(steps: list[tuple[Any, ...]]) -> None:
        check_story(pipeline, steps)

    tell()


def check_story(pipeline: Pipeline, steps: list[tuple[Any, ...]]) -> None:
    """Let the steps happen, and look at what became of every command and video."""
    crash = Crash(pipeline, outbox.append)
    with patch.object(outbox, "append", crash), patch.object(run, "BATCH", BATCH):
        story = Story(pipeline, crash)
        for name, *said in steps:
            story.tell(name, *said)
        story.drain()
    check_commands(story)
    for each in story.videos:
        check_video(pipeline, each)
    check_positions(pipeline)


def check_commands(story: Story) -> None:
    """Each has one outcome, and the one event of it, if people wait for it."""
    events = story.pipeline.rows(EVENTS, story.videos)
    ends = Counter((str(e[2]), OUTCOME_EVENTS[e[0]]) for e in events if e[0] in OUTCOME_EVENTS)
    assert ends == Counter(
        (str(command), state) for command, state, _ in story.commands() if state != "unchanged"
    )
    timed = Counter(e[2] for e in events if e[0] == "video.publish_scheduled")
    assert set(timed.values()) <= {1}


def check_video(pipeline: Pipeline, video: int) -> None:
    """It is as its events tell, replayed: revisions without a gap, never out before its time."""
    turns = [e for e in pipeline.rows(EVENTS, [video]) if e[3] is not None]
    assert [turn[3] for turn in turns] == list(range(1, len(turns) + 1))
    is_draft = True
    for kind, *_, data in turns:
        assert not (kind == "video.unpublished" and is_draft)
        is_draft = kind == "video.unpublished"
        if data["asked_for"]:
            done = data["unpublished_at" if is_draft else "published_at"]
            assert datetime.fromisoformat(data["asked_for"]) <= datetime.fromisoformat(done)
    was_out = bool(turns)
    assert pipeline.rows(STANDING, video) == [(is_draft, len(turns), was_out and is_draft)]


def check_positions(pipeline: Pipeline) -> None:
    """They have no gaps, in the outbox and on the stream."""
    positions = [
        row[0] for row in pipeline.rows("SELECT position FROM publisher.outbox_event ORDER BY 1")
    ]
    assert all(after - before == 1 for before, after in pairwise([0, *positions]))
    pipeline.events()
    assert ids(pipeline.redis) == [f"{position}-0" for position in positions]


def ahead(hours: float | None) -> datetime | None:
    return None if hours is None else datetime.now(UTC) + timedelta(hours=hours)
