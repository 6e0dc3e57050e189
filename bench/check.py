"""The check that all contenders share: each video published once, with one row and one event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from pydantic_core import from_json

from bench.peers import work
from bench.setup import Run
from db.session import to_array, transaction
from publish_worker_client.events.stream_entries import STREAM


class Incorrect(Exception):
    """A run that did not publish each video exactly once."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Where a contender leaves its rows and its events."""

    outbox: LiteralString
    """The outbox rows: `FROM …`."""
    stream: str | None
    """None: nothing is appended to a stream."""


OURS = Traces(
    outbox="FROM publisher.outbox_event WHERE type = 'video.published' AND video_id = ANY(%(ids)s)",
    stream=STREAM,
)
PEERS = Traces(outbox=f"FROM {work.OUTBOX_TABLE}", stream=work.STREAM)
SQL_ONLY = Traces(outbox=OURS.outbox, stream=None)

# Counts that must each equal the number of videos.
COUNTS = """
SELECT (SELECT count(*) FROM video WHERE NOT is_draft AND id = ANY(%(ids)s)) AS published,
       (SELECT count(*) FROM publisher.video_release
        WHERE revision = 1 AND video_id = ANY(%(ids)s)) AS releases
"""


def check(run: Run, video_ids: Sequence[int], traces: Traces) -> None:
    """Raise Incorrect, with the counts, if a publish is lost or doubled."""
    ids = {"ids": to_array(video_ids)}
    counts: dict[str, int] = {}
    with transaction(run.engine) as tx:
        counts["published"], counts["releases"] = tx.execute(COUNTS, ids).fetchone() or (0, 0)
        statement = f"SELECT count(*), count(DISTINCT video_id) {traces.outbox}"
        row = tx.execute(statement, ids).fetchone()
        counts["outbox rows"], counts["videos in the outbox"] = row or (0, 0)
    if traces.stream:
        entries: Any = run.redis.xrange(traces.stream)
        subjects = [from_json(fields[b"event"])["subject"] for _, fields in entries]
        counts["events"] = len(subjects)
        counts["videos with an event"] = len({*subjects} & {str(each) for each in video_ids})
    wrong = {name: count for name, count in counts.items() if count != len(video_ids)}
    if wrong:
        found = ", ".join(f"{count:,} {name}" for name, count in wrong.items())
        raise Incorrect(f"{len(video_ids):,} videos, but {found}")
