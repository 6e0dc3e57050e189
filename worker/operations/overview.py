"""The overview: what the first page of the console shows, read in one bounded transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from db.commands import overview
from db.commands.overview import Counts, DueCommand
from db.events import feed, summary
from db.events.feed import LastEvent
from db.events.summary import EventCount
from db.session import Answer, Connection, commit, transaction
from db.webhooks import backlog
from db.webhooks.backlog import DeliveryBacklog
from publish_worker_client.events.names import EventType

AHEAD = timedelta(minutes=15)
SHOWN = 12
"""Commands that are listed."""
EVENTS = 15
"""Events that are listed."""
SCANNED = 1_000
"""Positions that are searched for them: workspaces are not indexed."""
HOUR = (timedelta(hours=1), timedelta(minutes=1))
DAY = (timedelta(hours=24), timedelta(minutes=15))
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The events of a time in spans: how many of each type began in each."""

    began_at: datetime
    """The beginning of the first span."""
    span: timedelta
    spans: int
    counts: dict[EventType, list[int]]
    """By type, one number for each span; types without an event are absent."""

    def total(self, kind: EventType) -> int:
        """Return how many events of a type there were."""
        return sum(self.counts.get(kind, ()))


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What is due, late, waiting, failed and done."""

    counts: Counts
    published_last_minute: int
    lateness_p99: float | None
    """In seconds, of the last hour, rounded up by a quarter at most. None: nothing was due."""
    coming: Sequence[DueCommand]
    """The first commands that are due, or will be within `AHEAD`."""
    hour: Chart
    day: Chart
    webhooks: DeliveryBacklog
    events: list[LastEvent]
    """The newest ones."""


def read_overview(engine: Engine, workspace_id: int | None) -> Overview:
    """Read the overview of one workspace (None: all), in one round trip.

    Raises what the database raises.
    """
    with transaction(engine) as tx, tx.pipeline():
        counted = overview.read_counts(tx, workspace_id=workspace_id, ahead=AHEAD)
        coming = overview.read_next(tx, workspace_id=workspace_id, ahead=AHEAD, limit=SHOWN)
        spans = [
            summary.read(tx, workspace_id=workspace_id, age=age, span=span)
            for age, span in ((MINUTE, MINUTE / 6), HOUR, DAY)
        ]
        waiting = backlog.read(tx, workspace_id)
        events = _read_last(tx, workspace_id)
        commit(tx)
    counts = counted()
    minute, hour, day = (answer() for answer in spans)
    return Overview(
        counts=counts,
        published_last_minute=sum(
            each.events for each in minute if each.type == EventType.PUBLISHED
        ),
        lateness_p99=find_percentile(hour, 0.99),
        coming=coming(),
        hour=to_chart(hour, counts.now, *HOUR),
        day=to_chart(day, counts.now, *DAY),
        webhooks=waiting(),
        events=events(),
    )


def read_last_events(tx: Connection, workspace_id: int | None) -> list[LastEvent]:
    """Return the newest events of a workspace (None: all), the newest first.

    They are looked for among the last thousand events.
    """
    return _read_last(tx, workspace_id)()


def _read_last(tx: Connection, workspace_id: int | None) -> Answer[list[LastEvent]]:
    return feed.read_last(tx, workspace_id=workspace_id, positions=SCANNED, limit=EVENTS)


def find_percentile(counts: Iterable[EventCount], share: float) -> float | None:
    """Return the lateness in seconds that `share` of the measured events do not exceed."""
    measured = sorted((each.step, each.events) for each in counts if each.step >= 0)
    left = share * sum(events for _, events in measured)
    for step, events in measured:
        left -= events
        if left <= 0:
            return summary.to_seconds(step)
    return None


def to_chart(counts: Iterable[EventCount], now: datetime, age: timedelta, span: timedelta) -> Chart:
    """Arrange counts by type and span; spans without an event are 0."""
    seconds = span.total_seconds()
    first = int((now - age).timestamp() // seconds)
    spans = int(now.timestamp() // seconds) - first + 1
    found: dict[EventType, list[int]] = {}
    for each in counts:
        place = int(each.began_at.timestamp() // seconds) - first
        if 0 <= place < spans:
            found.setdefault(EventType(each.type), [0] * spans)[place] += each.events
    began_at = datetime.fromtimestamp(first * seconds, now.tzinfo)
    return Chart(began_at=began_at, span=span, spans=spans, counts=found)
