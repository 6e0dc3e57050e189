"""The relay: move events from the outbox to the stream, each once, in order.

Each row goes on the stream with the explicit ID `<position>-0`. Redis refuses an ID that is not
above the last, so a repeated append is a no-op, two relays cannot double or reorder, and the
relay's progress is the stream's last ID: there is no cursor to lose. See docs/adr/0002.
"""

import json
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine

from db.events import outbox
from db.events.outbox import RecordedEvent
from db.session import transaction
from schemas.events import SCHEMA_VERSION

STREAM = "video.events"
FIELD = "event"
BATCH = 1_000

# KEYS[1]: the stream. ARGV[1]: the last position seen before reading. Then pairs (position, event).
# Appends what is not there yet, stops at the first gap, and answers the last position (-1: the
# stream was lost since it was looked at, so what was read may leave a gap).
APPEND = """
local function last()
    if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then
            return tonumber(string.match(info[i + 1], '^(%d+)'))
        end
    end
end
local at = last()
if at < tonumber(ARGV[1]) then return -1 end
for i = 2, #ARGV, 2 do
    local position = tonumber(ARGV[i])
    if position > at then
        if position ~= at + 1 and at ~= 0 then return at end
        redis.call('XADD', KEYS[1], string.format('%.0f-0', position), 'event', ARGV[i + 1])
        at = position
    end
end
return at
"""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class OutletAway(Exception):
    """Where events go cannot be reached now; they go there later."""


class OutletUnfit(Exception):
    """Where events go cannot be gone on with until a person has looked."""


class StreamUnfit(OutletUnfit):
    """The stream is no projection of this outbox; `publish-worker events rebuild` makes it anew."""


class StreamAhead(StreamUnfit):
    """The stream has events that this outbox never recorded: it belongs to another database, or
    the database was restored from a backup. `publish-worker events rebuild` makes it anew.
    """


class StreamGap(StreamUnfit):
    """The stream ends before the oldest event that the outbox still has, as an old copy of Redis
    would: what lies between is gone. `publish-worker events rebuild` makes the stream anew.
    """


@dataclass(frozen=True, kw_only=True)
class Tip:
    """The stream's end: the last position that is, or was, on it, and the event there.

    Position 0: there is no stream. No event: it has been trimmed.
    """

    position: int
    event_id: str | None


class StreamOutlet:
    """The stream as one of the outlets (worker.events.outlets)."""

    name = "stream"

    def __init__(self, engine: Engine, redis: Redis, base_url: str) -> None:
        self._engine = engine
        self._redis = redis
        self._base_url = base_url

    def relay(self) -> int:
        """Append every event that is not on the stream yet; return how many."""
        try:
            return relay(self._engine, self._redis, self._base_url)
        except RedisError as error:
            raise OutletAway(str(error)) from error

    def position(self) -> int:
        """The stream's last position; StreamUnfit where it says nothing of this outbox."""
        check(self._engine, self._redis)
        return tip(self._redis).position

    def close(self) -> None:
        """Its connections are the process's."""


def relay(engine: Engine, redis: Redis, base_url: str) -> int:
    """Append every event that is not on the stream yet; return how many this call read.

    Safe to run any number of times at once. No transaction is open while Redis is talked to.
    Raises RedisError when Redis is away (what was appended stays, the rest is for the next call),
    and StreamUnfit rather than append to a stream that is not this outbox's.
    """
    append = redis.register_script(APPEND)
    read = 0
    while True:
        end = tip(redis)
        with transaction(engine) as tx:
            events = outbox.after(tx, end.position - 1, BATCH + 1)
        events = _behind(end, events)
        if not events:
            return read
        arguments: list[str | int] = [end.position]
        for event in events:
            arguments += (event.position, cloud_event(event, base_url))
        reached = int(append(keys=[STREAM], args=arguments))
        if reached < 0:
            log.warning("relay.stream_lost", last=end.position, next="read again from the start")
            continue
        if reached < events[-1].position:
            raise StreamGap(StreamGap.__doc__)
        read += len(events)
        if len(events) < BATCH:
            return read


def tip(redis: Redis) -> Tip:
    """Look at the stream's end."""
    try:
        stream: dict[str, Any] = redis.xinfo_stream(STREAM)
    except ResponseError:  # no such key
        return Tip(position=0, event_id=None)
    last_id, last = stream["last-generated-id"], stream["last-entry"]
    position = int(last_id.split(b"-")[0])
    if not last or last[0] != last_id:
        return Tip(position=position, event_id=None)
    return Tip(position=position, event_id=_event_id(last[1]))


def _event_id(fields: dict[bytes, bytes]) -> str:
    """The id of the event in an entry; of what is no event of ours, nothing that we know."""
    try:
        return str(json.loads(fields[FIELD.encode()])["id"])
    except (ValueError, KeyError, TypeError):
        return ""


def check(engine: Engine, redis: Redis) -> None:
    """Raise StreamUnfit if the stream cannot be a projection of this outbox."""
    end = tip(redis)
    with transaction(engine) as tx:
        last, oldest = outbox.ends(tx)
        at_the_end = outbox.after(tx, end.position - 1, 1)
    _behind(end, at_the_end)
    if end.position > last:
        raise StreamAhead(StreamAhead.__doc__)
    if end.position and oldest is not None and oldest > end.position + 1:
        raise StreamGap(StreamGap.__doc__)


def _behind(end: Tip, events: list[RecordedEvent]) -> list[RecordedEvent]:
    """The events behind the stream's end; the one at its end, if still known, must be the same."""
    if not events or events[0].position != end.position:
        return events
    if end.event_id is not None and str(events[0].id) != end.event_id:
        raise StreamAhead(StreamAhead.__doc__)
    return events[1:]


def rebuild(engine: Engine, redis: Redis, base_url: str) -> int:
    """Make the stream anew from the outbox, with the same IDs; return how many events it has.

    For a stream that was damaged. One that was merely lost, the next relay rebuilds by itself.
    """
    redis.delete(STREAM)
    return relay(engine, redis, base_url)


def cloud_event(event: RecordedEvent, base_url: str) -> str:
    """The event as a CloudEvents 1.0 document in structured JSON; `data` as it is stored."""
    # Put together by hand, as json.dumps would: a fifth of the relay's time was spent on that.
    occurred_at = event.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    subject = quoted(event.subject)
    command = f', "causationid": "{event.command_id}"' if event.command_id is not None else ""
    revision = f', "videorevision": {event.revision}' if event.revision is not None else ""
    trace = f', "traceparent": {quoted(event.traceparent)}' if event.traceparent is not None else ""
    return (
        f'{{"specversion": "1.0", "id": "{event.id}", "source": "/workspaces/{event.workspace_id}"'
        f', "type": {quoted(event.type)}, "subject": {subject}, "time": "{occurred_at}"'
        f', "datacontenttype": "application/json"'
        f', "dataschema": {_quoted_schema_url(base_url, event.type)}'
        f', "sequence": "{event.position}", "partitionkey": {subject}'
        f', "correlationid": {quoted(event.correlation_id)}{command}{revision}{trace}'
        f', "data": {event.data}}}'
    )


@lru_cache(maxsize=100)
def _quoted_schema_url(base_url: str, event_type: str) -> str:
    return quoted(schema_url(base_url, event_type))


def schema_url(base_url: str, event_type: str) -> str:
    """Where the JSON Schema of an event's `data` is."""
    return f"{base_url.rstrip('/')}/api/v1/schemas/{event_type}/{SCHEMA_VERSION}"
