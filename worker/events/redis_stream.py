"""The stream `video.events`: the relay appends each event of the outbox once, in order.

Each event gets the explicit ID `<position>-0`. Redis refuses an ID that is not above the last one,
so a repeated append is a no-op, and two relays can neither duplicate nor reorder. The relay's
progress is the stream's last ID: there is no cursor to lose. See docs/adr/0002.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic_core import from_json
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine

from db.events.outbox import Recorded
from db.session import transaction
from publish_worker_client.events.cloud_event import to_cloud_event
from publish_worker_client.events.outbox import RecordedEvent, read_after, read_ends
from publish_worker_client.events.stream_entries import FIELD, STREAM
from publish_worker_client.servers.redis_errors import to_text
from worker.events.foreign_entries import RELAYED, find_last_own, remove_foreign_entries
from worker.events.outlet import BATCH, OutletOutOfSync, OutletUnreachable
from worker.events.spans import record_sent, start_clock
from worker.runtime.outage import Outage

# KEYS: the stream, RELAYED. ARGV[1]: the last position seen before reading. ARGV[2]: 1 if the
# outbox has the event there; then RELAYED may be too low: an earlier version does not note it.
# Then pairs (position, event). Appends the events that the stream lacks, stops at the first gap,
# and returns the last position (-1: the stream has changed since it was looked at: it was lost, so
# the events that were read may leave a gap; or another program has appended to it).
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
local relayed = tonumber(redis.call('GET', KEYS[2]) or '')
local seen = tonumber(ARGV[1])
if ARGV[2] == '1' and at == seen then relayed = nil end
if at < seen or (relayed and at > relayed) then return -1 end
for i = 3, #ARGV, 2 do
    local position = tonumber(ARGV[i])
    if position > at then
        if position ~= at + 1 and at ~= 0 then break end
        redis.call('XADD', KEYS[1], string.format('%.0f-0', position), 'event', ARGV[i + 1])
        at = position
    end
end
redis.call('SET', KEYS[2], string.format('%.0f', at))
return at
"""

# KEYS: the stream, RELAYED. ARGV[1]: the position of the first event, ARGV[2]: the id of the event
# before it. Then pairs (position, event). Appends them if the event before them is the last entry,
# and nothing but a relay has appended it. Returns 1, also if the last one is there already; else 0.
APPEND_NEXT = """
local entry = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local relayed = tonumber(redis.call('GET', KEYS[2]) or '')
if not entry or not relayed then return 0 end
local at = tonumber(string.match(entry[1], '^(%d+)-0$'))
if at ~= relayed then return 0 end
if at >= tonumber(ARGV[#ARGV - 1]) then
    local id = ARGV[#ARGV - 1] .. '-0'
    local there = redis.call('XRANGE', KEYS[1], id, id)[1]
    return there and there[2][2] == ARGV[#ARGV] and 1 or 0
end
if at ~= tonumber(ARGV[1]) - 1 then return 0 end
if not string.find(entry[2][2], '"id": "' .. ARGV[2] .. '"', 1, true) then return 0 end
for i = 3, #ARGV, 2 do
    redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'event', ARGV[i + 1])
end
redis.call('SET', KEYS[2], ARGV[#ARGV - 1])
return 1
"""

SYSTEM = "redis"
"""The broker's name in spans."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class StreamAhead(OutletOutOfSync):
    """The stream has events that this outbox never recorded: it belongs to another database, or
    the database was restored from a backup. Run `publish-worker events rebuild`.
    """


class StreamGap(OutletOutOfSync):
    """The stream ends before the oldest event that the outbox still has, as an old copy of Redis
    would: the events in between are lost. Run `publish-worker events rebuild`.
    """


@dataclass(frozen=True, kw_only=True)
class StreamEnd:
    """The end of the stream."""

    position: int
    """The last position that the stream has or had; 0: the stream does not exist."""
    event_id: str | None
    """The id of the event there; None: it has been trimmed."""


class StreamOutlet:
    """The stream as an outlet (worker.events.outlet)."""

    name = "stream"

    def __init__(self, engine: Engine, redis: Redis, base_url: str) -> None:
        self._engine = engine
        self._redis = redis
        self._base_url = base_url
        self.outage = Outage("relay.unreachable", "relay.reachable", outlet=self.name)

    def relay(self, recorded: Recorded | None = None) -> int:
        """Append every event that the stream lacks; return their number."""
        try:
            if recorded and append_next(self._redis, recorded, self._base_url):
                count = len(recorded.events)
            else:
                count = relay(self._engine, self._redis, self._base_url)
        except RedisError as error:
            raise OutletUnreachable(to_text(error)) from error
        self.outage.end()
        return count

    def position(self) -> int:
        """Return the stream's last position. Raises StreamAhead and StreamGap."""
        return check_stream(self._engine, self._redis).position

    def close(self) -> None:
        """Do nothing: the process owns the connections."""


def relay(
    engine: Engine, redis: Redis, base_url: str, note: Callable[[int], None] | None = None
) -> int:
    """Append every event that the stream lacks; return how many this call read.

    `note` is called with the number of each batch.

    Any number of processes may call it at once. No transaction is open while Redis is used.
    Raises RedisError when Redis is unreachable (appended events stay, the next call appends the
    rest), and StreamAhead or StreamGap rather than append to a stream of another outbox. Foreign
    entries are quarantined and removed.
    """
    append = redis.register_script(APPEND)
    count = 0
    while True:
        end = read_stream_end(redis)
        with transaction(engine) as tx:
            events = read_after(tx, end.position - 1, BATCH + 1)
            # Without an event to compare, the stream may be ahead: of a database that was restored.
            last = end.position if events else read_ends(tx)[0]
        is_confirmed = _is_confirmed(end, events)
        if not is_confirmed and remove_foreign_entries(engine, redis, end.position):
            continue
        if end.position > last and find_last_own(redis, end.position) >= end.position:
            raise StreamAhead
        events = _drop_last_appended(end, events)
        if not events:
            return count
        started = start_clock()
        arguments: list[str | int] = [end.position, int(is_confirmed)]
        for event in events:
            arguments += (event.position, to_cloud_event(event, base_url))
        reached = int(append(keys=[STREAM, RELAYED], args=arguments))
        if reached < 0:
            log.warning("relay.stream_lost", last=end.position, next="read again")
            continue
        if reached < events[-1].position:
            raise StreamGap
        record_sent(events, SYSTEM, started)
        count += len(events)
        if note:
            note(len(events))
        if len(events) < BATCH:
            return count


def append_next(redis: Redis, recorded: Recorded, base_url: str) -> bool:
    """Append events that were just recorded, without reading the outbox, if they come next.

    False: something else is at the stream's end, and `relay` has to look. Raises RedisError.
    """
    if recorded.previous_id is None:
        return False
    started = start_clock()
    arguments: list[str | int] = [recorded.events[0].position, recorded.previous_id]
    for event in recorded.events:
        arguments += (event.position, to_cloud_event(event, base_url))
    append = redis.register_script(APPEND_NEXT)
    is_appended = bool(append(keys=[STREAM, RELAYED], args=arguments))
    if is_appended:
        record_sent(recorded.events, SYSTEM, started)
    return is_appended


def rebuild(
    engine: Engine, redis: Redis, base_url: str, note: Callable[[int], None] | None = None
) -> int:
    """Delete the stream and append the whole outbox with the same IDs; return how many events.

    For a damaged stream. A lost stream needs no rebuild: the next relay appends everything. `note`
    is called with the number of each batch.
    """
    redis.delete(STREAM, RELAYED)
    return relay(engine, redis, base_url, note)


def count_events(engine: Engine) -> int:
    """Return the number of events in the outbox."""
    with transaction(engine) as tx:
        last, oldest = read_ends(tx)
    return 0 if oldest is None else last - oldest + 1


def check_stream(engine: Engine, redis: Redis) -> StreamEnd:
    """Return the stream's end; raise StreamAhead or StreamGap if it does not fit this outbox."""
    end = read_stream_end(redis)
    with transaction(engine) as tx:
        last, oldest = read_ends(tx)
        at_end = read_after(tx, end.position - 1, 1)
    _drop_last_appended(end, at_end)
    if end.position > last:
        raise StreamAhead
    if end.position and oldest is not None and oldest > end.position + 1:
        raise StreamGap
    return end


def read_stream_end(redis: Redis) -> StreamEnd:
    """Return the stream's last position and the event there."""
    try:
        stream: dict[str, Any] = redis.xinfo_stream(STREAM)
    except ResponseError as error:
        if not str(error).startswith("no such key"):
            raise
        return StreamEnd(position=0, event_id=None)
    last_id, last = stream["last-generated-id"], stream["last-entry"]
    is_trimmed = not last or last[0] != last_id
    return StreamEnd(
        position=int(last_id.split(b"-")[0]), event_id=None if is_trimmed else _event_id(last[1])
    )


def _event_id(fields: Mapping[bytes, bytes]) -> str:
    """Return the id of the event in an entry; "" if the entry does not hold an event."""
    try:
        return str(from_json(fields[FIELD.encode()])["id"])
    except (ValueError, KeyError, TypeError):
        return ""


def _is_confirmed(end: StreamEnd, events: list[RecordedEvent]) -> bool:
    """Whether the outbox has the event at the stream's end."""
    if end.position == 0:
        return True
    return bool(events) and (events[0].position, events[0].id) == (end.position, end.event_id)


def _drop_last_appended(end: StreamEnd, events: list[RecordedEvent]) -> list[RecordedEvent]:
    """Return the events after the stream's end. Raises StreamAhead if the one at it differs."""
    if not events or events[0].position != end.position:
        return events
    if end.event_id is not None and events[0].id != end.event_id:
        raise StreamAhead
    return events[1:]
