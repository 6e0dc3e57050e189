"""Foreign entries: what another program put on the stream after the relay's last entry.

They block the relay, since Redis refuses a position that is not above the last one. The relay notes
the last position that it appended (RELAYED); all that is above is quarantined and removed, and the
stream's last ID and its groups are set back.
"""

from typing import Any

import structlog
from redis import Redis
from sqlalchemy import Engine

from db.events import outlet
from publish_worker_client.events.stream_entries import (
    STREAM,
    SUBSCRIBERS,
    parse_entry,
    parse_event,
)
from worker.runtime.quarantine import quarantine

RELAYED = "publish-worker:relayed"
"""The key of the last position that the relay appended."""
BATCH = 100
LOOK_BACK = 500

# KEYS: the stream, RELAYED. ARGV: the relay's last position, SUBSCRIBERS, the IDs to remove.
# A group that has read what is removed is set back; a subscriber of it joins again without a lease.
# Returns 1 if there is more to remove.
REMOVE = """
local own = ARGV[1] == '0' and '0-1' or ARGV[1] .. '-0' -- Redis takes 0-0 for "not given"
local function to_table(flat)
    local found = {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
    return found
end
local function is_ahead(id) return tonumber(string.match(id, '^%d+')) > tonumber(ARGV[1]) end
local relayed = redis.call('GET', KEYS[2])
if relayed and string.match(relayed, '^%d+$') and tonumber(relayed) ~= tonumber(ARGV[1]) then
    return 0 -- a relay has gone on since
end
for i = 3, #ARGV do redis.call('XDEL', KEYS[1], ARGV[i]) end
if #redis.call('XRANGE', KEYS[1], '(' .. own, '+', 'COUNT', 1) > 0 then return 1 end
redis.call('SET', KEYS[2], ARGV[1])
local info = to_table(redis.call('XINFO', 'STREAM', KEYS[1]))
for _, last in ipairs({info['last-generated-id'], own}) do -- first lower the last deleted ID
    redis.call('XSETID', KEYS[1], last, 'ENTRIESADDED', info['entries-added'], 'MAXDELETEDID', own)
end
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = to_table(flat)
    if is_ahead(group['last-delivered-id']) then
        redis.call('XGROUP', 'SETID', KEYS[1], group['name'], own)
        local marks = ARGV[2] .. group['name']
        local at = redis.call('HGET', marks, 'at')
        if at then
            if is_ahead(at) then redis.call('HSET', marks, 'at', ARGV[1], 'floor', ARGV[1]) end
            redis.call('HSET', marks, 'id', own, 'by', '')
            redis.call('DEL', marks .. ':lease')
        end
    end
end
return 0
"""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class EntryNotRelayed(Exception):
    """Another program put this entry on the stream."""


def remove_foreign_entries(engine: Engine, redis: Redis, end: int) -> bool:
    """Quarantine and remove what is above the relay's last entry; return whether there was any.

    `end` is the stream's last position. If it is below the relay's last entry, another program has
    begun a new stream: all of it is removed. One process does it; the others return False.
    """
    own = find_last_own(redis, end)
    if end >= own and not _has_more(redis, own, end):
        return False
    with outlet.try_lock(engine, "stream") as is_locked:
        if not is_locked or find_last_own(redis, end) != own:
            return False  # another process removes them, or has done so and gone on
        count = _remove(engine, redis, own) if end >= own else _remove_all(engine, redis)
        log.error("relay.foreign_entries", quarantined=count, after=own if end >= own else 0)
    return True


def _has_more(redis: Redis, own: int, end: int) -> bool:
    """Whether there is anything after the relay's last entry; `<own>-1` has the same position."""
    return end > own or bool(redis.xrange(STREAM, min=f"({own}-0", count=1))


def _remove(engine: Engine, redis: Redis, own: int) -> int:
    remove = redis.register_script(REMOVE)
    count = 0
    while True:
        ids = _quarantine(engine, redis, f"({own}-0")
        count += len(ids)
        if not remove(keys=[STREAM, RELAYED], args=[own, SUBSCRIBERS, *ids]):
            return count


def _remove_all(engine: Engine, redis: Redis) -> int:
    """Quarantine the first entries, and delete the stream: the relay appends it again."""
    ids = _quarantine(engine, redis, "-")
    redis.delete(STREAM, RELAYED)
    return len(ids)


def _quarantine(engine: Engine, redis: Redis, start: str) -> list[bytes]:
    """Quarantine a batch of entries from `start` on; return their IDs."""
    entries: Any = redis.xrange(STREAM, min=start, count=BATCH)
    for entry_id, fields in entries:
        body = {"stream": STREAM, "entry": _to_text(entry_id), "fields": _to_texts(fields)}
        quarantine(engine, body, EntryNotRelayed("another program put this on the stream"))
    return [entry_id for entry_id, _ in entries]


def find_last_own(redis: Redis, end: int) -> int:
    """Return the relay's last position.

    A relay of an earlier version did not note it: then it is the last one that is an event of ours.
    """
    noted: Any = redis.get(RELAYED)
    if noted is not None and noted.isdigit():
        return int(noted)
    entries: Any = redis.xrevrange(STREAM, count=LOOK_BACK)
    for entry_id, fields in entries:
        parsed = parse_entry(entry_id, fields)
        if parsed is not None and parse_event(*parsed) is not None:
            return parsed[0]
    return 0 if entries else end


def _to_texts(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {_to_text(name): _to_text(value) for name, value in fields.items()}


def _to_text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
