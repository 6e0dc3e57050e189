"""What a process has just recorded is appended without being read again, if it comes next."""

from functools import partial
from unittest.mock import patch

import pytest

from db.commands.claim import claim_due
from db.events.outbox import Recorded
from publish_worker_client.events.stream_entries import STREAM
from tests.support.pipeline import BASE_URL, Pipeline, ids, stream
from worker.events import redis_stream
from worker.events.redis_stream import StreamAhead, StreamOutlet, append_next, relay
from worker.publish.run import publish_batch


@pytest.fixture
def outlet(pipeline: Pipeline) -> StreamOutlet:
    """The stream, which has one event: there is one before those that are recorded next."""
    pipeline.publish(pipeline.video())
    relay(pipeline.engine, pipeline.redis, BASE_URL)
    return StreamOutlet(pipeline.engine, pipeline.redis, BASE_URL)


def record(pipeline: Pipeline, videos: int) -> Recorded:
    """Publish videos in one transaction, and return what it recorded."""
    pipeline.accept(*(pipeline.video() for _ in range(videos)))
    found: list[Recorded] = []
    publish_batch(pipeline.engine, (BASE_URL, None), partial(claim_due, limit=250), found.append)
    [recorded] = found
    return recorded


def positions(last: int) -> list[str]:
    return [f"{position}-0" for position in range(1, last + 1)]


def test_the_outbox_is_not_read_again(pipeline: Pipeline, outlet: StreamOutlet) -> None:
    recorded = record(pipeline, 3)
    with patch.object(redis_stream, "read_after", side_effect=AssertionError("read again")):
        assert outlet.relay(recorded) == 3
    assert ids(pipeline.redis) == positions(4)


def test_the_stream_has_what_a_relay_from_the_outbox_would_append(
    pipeline: Pipeline, outlet: StreamOutlet
) -> None:
    outlet.relay(record(pipeline, 3))
    appended = stream(pipeline.redis)
    pipeline.redis.flushall()
    outlet.relay()
    assert stream(pipeline.redis) == appended


def test_an_event_that_another_process_recorded_before_is_appended_first(
    pipeline: Pipeline, outlet: StreamOutlet
) -> None:
    record(pipeline, 2)
    assert outlet.relay(record(pipeline, 3)) == 5
    assert ids(pipeline.redis) == positions(6)


def test_events_that_another_relay_appended_are_not_repeated(
    pipeline: Pipeline, outlet: StreamOutlet
) -> None:
    recorded = record(pipeline, 3)
    outlet.relay()
    outlet.relay(recorded)
    assert ids(pipeline.redis) == positions(4)


def test_the_first_event_of_all_is_relayed_from_the_outbox(pipeline: Pipeline) -> None:
    recorded = record(pipeline, 2)
    assert recorded.previous_id is None
    assert not append_next(pipeline.redis, recorded, BASE_URL)
    StreamOutlet(pipeline.engine, pipeline.redis, BASE_URL).relay(recorded)
    assert ids(pipeline.redis) == positions(2)


def test_a_lost_stream_is_appended_whole(pipeline: Pipeline, outlet: StreamOutlet) -> None:
    recorded = record(pipeline, 3)
    pipeline.redis.flushall()
    outlet.relay(recorded)
    assert ids(pipeline.redis) == positions(4)


def test_a_foreign_entry_at_the_end_is_removed(pipeline: Pipeline, outlet: StreamOutlet) -> None:
    recorded = record(pipeline, 3)
    pipeline.redis.xadd(STREAM, {"event": "{}"}, id="2-0")
    outlet.relay(recorded)
    assert ids(pipeline.redis) == positions(4)
    assert len(stream(pipeline.redis)) == 4


def test_a_stream_of_another_outbox_is_refused(pipeline: Pipeline, outlet: StreamOutlet) -> None:
    """A database that was restored gives positions again: the event before is another one."""
    record(pipeline, 1)
    relay(pipeline.engine, pipeline.redis, BASE_URL)
    pipeline.execute("DELETE FROM publisher.outbox_event WHERE position = 2")
    pipeline.execute("UPDATE publisher.event_position SET position = 1")
    record(pipeline, 1)
    recorded = record(pipeline, 1)
    with pytest.raises(StreamAhead):
        outlet.relay(recorded)
    assert ids(pipeline.redis) == positions(2)


def test_other_events_at_the_same_positions_are_refused(
    pipeline: Pipeline, outlet: StreamOutlet
) -> None:
    """The database was restored: the stream is as far as what is recorded, with other events."""
    outlet.relay(record(pipeline, 2))
    pipeline.execute("DELETE FROM publisher.outbox_event WHERE position > 1")
    pipeline.execute("UPDATE publisher.event_position SET position = 1")
    recorded = record(pipeline, 2)
    with pytest.raises(StreamAhead):
        outlet.relay(recorded)
    assert ids(pipeline.redis) == positions(3)
