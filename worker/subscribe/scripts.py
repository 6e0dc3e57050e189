"""What is done in one step on Redis, so that a consumer may die between any two of them.

A group has, beside the stream itself (KEYS[1]), a stream of its own for what it must see again
(KEYS[2]), one for what it gave up (KEYS[3]), and the hash KEYS[4]:

    at      every event up to this position was handed to some consumer, or set aside
    id      the ID that goes with it on the stream: where the group's reading stands
    floor   every event up to this position was acknowledged, or set aside

The hash outlives the stream, so a group that vanished with it begins again at its floor. KEYS[5]
counts tries by position: those that failed, and those that began on an event which an earlier
consumer left unacknowledged, so that an event that kills its consumers is found out. KEYS[6] lives
as long as the consumer does: the lease of a group that is read by one at a time, or the sign of
life of one among several.
"""

_COMMON = """
local main, again, dead, mark, tries, life = unpack(KEYS)
local group, consumer, shared = ARGV[1], ARGV[2], ARGV[3] == 'shared'
local function fields(flat)
    local found = {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
    return found
end
local function last_delivered()
    if redis.call('EXISTS', main) == 0 then return nil end
    for _, one in ipairs(redis.call('XINFO', 'GROUPS', main)) do
        local found = fields(one)
        if found['name'] == group then return found['last-delivered-id'] end
    end
end
local function parts(id)
    local first, second = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(first), tonumber(second)
end
local function position(id) return (parts(id)) end
local function is_above(a, b)
    local a1, a2 = parts(a)
    local b1, b2 = parts(b)
    return a1 > b1 or (a1 == b1 and a2 > b2)
end
local function number(n) return string.format('%.0f', n) end
local function tip()
    return position(fields(redis.call('XINFO', 'STREAM', main))['last-generated-id'])
end
local function is_mine()
    return shared or redis.call('GET', life) == consumer
end
local function is_sensible(value, first)
    local ok, document = pcall(cjson.decode, value)
    return ok and type(document) == 'table' and document['sequence'] == first
        and type(document['id']) == 'string' and type(document['type']) == 'string'
        and type(document['source']) == 'string'
end
local function ours(id, value)
    local first = string.match(id, '^(%d+)-0$')
    if not first or not value then return nil end
    local written = '"sequence": "' .. first .. '"'
    if not (string.find(value, written, 1, true)
            or string.find(value, '"sequence":"' .. first .. '"', 1, true)) then return nil end
    local begins = '{"specversion": "1.0", "id": "'
    if (string.sub(value, 1, #begins) ~= begins or string.sub(value, -1) ~= '}')
        and not is_sensible(value, first) then return nil end
    return tonumber(first)
end
local function note_floor()
    local pending = redis.pcall('XPENDING', main, group)
    if pending.err then return end
    local floor = redis.call('HGET', mark, 'at')
    if floor and pending[1] > 0 then
        floor = number(math.min(tonumber(floor), position(pending[2]) - 1))
    end
    if floor then redis.call('HSET', mark, 'floor', floor) end
end
"""

OPEN = (
    _COMMON
    + """
-- ARGV: milliseconds to live, the floor that the consumer remembers, where a new group begins (''
-- for the oldest event), the oldest position that the outbox has.
if shared then
    redis.call('SET', life, consumer, 'PX', ARGV[4])
else
    local owner = redis.call('GET', life)
    if owner and owner ~= consumer then return {'standby'} end
    redis.call('SET', life, consumer, 'PX', ARGV[4])
end
local function begin()
    local known = redis.call('HGET', mark, 'floor')
    local remembered = tonumber(ARGV[5])
    if known or remembered then
        return math.max(tonumber(known or 0), remembered or 0)
    end
    if ARGV[6] ~= '' then return tonumber(ARGV[6]) end
    local first = redis.call('XRANGE', main, '-', '+', 'COUNT', 1)[1]
    local start = first and position(first[1]) - 1 or 0
    local oldest = tonumber(ARGV[7])
    return oldest and math.min(start, oldest - 1) or start
end
if redis.call('EXISTS', main) == 0 then return {'empty'} end
local last, suspect = last_delivered(), 0
local at, id = unpack(redis.call('HMGET', mark, 'at', 'id'))
if not last then
    local start = begin()
    at, id = number(start), number(start) .. '-0'
    redis.call('XGROUP', 'CREATE', main, group, id)
    redis.call('HSET', mark, 'floor', at)
elseif not id or is_above(id, last) then
    at, id = number(position(last)), last
elseif is_above(last, id) then
    redis.call('XGROUP', 'SETID', main, group, id)
    suspect = position(last)
end
redis.call('HSET', mark, 'at', at, 'id', id)
note_floor()
redis.pcall('XGROUP', 'CREATE', again, group, '0', 'MKSTREAM')
return {'open', tonumber(at), id, suspect}
"""
)

CLAIM = (
    _COMMON
    + """
-- ARGV: which stream, from which ID on, how many, idle milliseconds, the prefix of signs of life.
-- Takes over what consumers hold that are gone; answers where to go on ('' at the end), which
-- entries are gone from the stream, the entries, and 1 (0: the lease or the group is gone).
if not is_mine() then return {'', {}, {}, 0} end
local stream = KEYS[tonumber(ARGV[4])]
local idle, prefix = tonumber(ARGV[7]), ARGV[8]
local found = redis.pcall('XPENDING', stream, group, ARGV[5], '+', ARGV[6])
if found.err then return {'', {}, {}, 0} end
local lost, entries = {}, {}
for _, pending in ipairs(found) do
    local id, owner = pending[1], pending[2]
    local is_alive = owner == consumer or redis.call('EXISTS', prefix .. owner) == 1
    if not shared or (pending[3] >= idle and (owner == consumer or not is_alive)) then
        local there = redis.call('XRANGE', stream, id, id)[1]
        if there then
            redis.call('XCLAIM', stream, group, consumer, 0, id)
            entries[#entries + 1] = there
        elseif stream == main then
            lost[#lost + 1] = id
        end
    end
end
local go_on = #found == tonumber(ARGV[6]) and '(' .. found[#found][1] or ''
return {go_on, lost, entries, 1}
"""
)

OWN = (
    _COMMON
    + """
-- ARGV: how many. Reads what is new on the group's own stream: not without the lease, since what is
-- taken from there is not seen to be missing.
if not is_mine() then return {0, {}} end
local answer = redis.pcall(
    'XREADGROUP', 'GROUP', group, consumer, 'COUNT', ARGV[4], 'STREAMS', again, '>')
if answer and answer.err then return {0, {}} end
return {1, answer and answer[1][2] or {}}
"""
)

FORGET = (
    _COMMON
    + """
-- ARGV: idle milliseconds, the prefix of signs of life. Forgets consumers that are gone and hold
-- nothing, in one step: what one is given between a look and its end would be lost with it.
for _, stream in ipairs({main, again}) do
    local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
    if not consumers.err then
        for _, one in ipairs(consumers) do
            local seen = fields(one)
            if seen['pending'] == 0 and seen['name'] ~= consumer
                and (not shared or (seen['idle'] >= tonumber(ARGV[4])
                     and redis.call('EXISTS', ARGV[5] .. seen['name']) == 0)) then
                redis.call('XGROUP', 'DELCONSUMER', stream, group, seen['name'])
            end
        end
    end
end
"""
)

FLUSH = (
    _COMMON
    + """
-- ARGV: at, id, how many IDs of the main stream, those, how many of its own, those, positions
-- whose tries are over. Answers what holds: 1, or 0 if the lease is lost or the group is gone; how
-- many entries are on the group's own stream; the last position that is or was on the main one.
local next_argument = 6
local function acknowledge(stream, and_delete)
    local count = tonumber(ARGV[next_argument])
    local ids = {}
    for i = next_argument + 1, next_argument + count do ids[#ids + 1] = ARGV[i] end
    next_argument = next_argument + count + 1
    if #ids == 0 then return end
    redis.call('XACK', stream, group, unpack(ids))
    if and_delete then redis.call('XDEL', stream, unpack(ids)) end
end
acknowledge(main, false)
acknowledge(again, true)
for i = next_argument, #ARGV do redis.call('HDEL', tries, ARGV[i]) end
if not is_mine() or not last_delivered() then return {0, 0, 0} end
if not shared then redis.call('HSET', mark, 'at', ARGV[4], 'id', ARGV[5]) end
note_floor()
return {1, redis.call('XLEN', again), tip()}
"""
)

READ = (
    _COMMON
    + """
-- ARGV: how many. For one consumer among several: reads on, and sets the reading back before the
-- first entry that is not the next one. Answers 1 (0: the group is gone), at, id, the entries.
local last = last_delivered()
local at, id = unpack(redis.call('HMGET', mark, 'at', 'id'))
if not last or last ~= id then return {0, 0, '0-0', {}} end
at = tonumber(at)
local answer = redis.call(
    'XREADGROUP', 'GROUP', group, consumer, 'COUNT', ARGV[4], 'STREAMS', main, '>')
local entries, kept, undone = answer and answer[1][2] or {}, {}, {}
for i, entry in ipairs(entries) do
    local found = ours(entry[1], entry[2] and entry[2][2])
    if #undone > 0 or (found and found ~= at + 1) then
        undone[#undone + 1] = entry[1]
    else
        at, id = found or at, entry[1]
        kept[#kept + 1] = entry
    end
end
if #undone > 0 then
    redis.call('XACK', main, group, unpack(undone))
    redis.call('XGROUP', 'SETID', main, group, id)
end
redis.call('HSET', mark, 'at', number(at), 'id', id)
return {1, at, id, kept, #undone}
"""
)

PEEK = (
    _COMMON
    + """
-- ARGV: at, id ('' where several read: the hash knows). Sets the reading back to there, and answers
-- at, id, the stream's last position and the entry that comes next.
if not is_mine() or not last_delivered() then return {0} end
local at, id = ARGV[4], ARGV[5]
if shared then
    at, id = unpack(redis.call('HMGET', mark, 'at', 'id'))
else
    redis.call('XGROUP', 'SETID', main, group, id)
    redis.call('HSET', mark, 'at', at, 'id', id)
end
return {1, tonumber(at), id, tip(), redis.call('XRANGE', main, '(' .. id, '+', 'COUNT', 1)[1]}
"""
)

FILL = (
    _COMMON
    + """
-- ARGV: the position before the gap, the last one filled, pairs of position and event. Puts what is
-- missing on the group's own stream, unless another consumer has done so. Answers whether.
if not is_mine() or redis.call('HGET', mark, 'at') ~= ARGV[4] then return 0 end
for i = 6, #ARGV, 2 do
    redis.call('XACK', main, group, ARGV[i] .. '-0')  -- it may have been read before it was gone
    redis.call('XADD', again, '*', 'event', ARGV[i + 1], 'position', ARGV[i])
end
redis.call('HSET', mark, 'at', ARGV[5])
return 1
"""
)

REPLACE = (
    _COMMON
    + """
-- ARGV: pairs of position and event, pending entries that are gone from the stream. Answers
-- whether the lease holds.
if not is_mine() then return 0 end
for i = 4, #ARGV, 2 do
    if redis.call('XACK', main, group, ARGV[i] .. '-0') == 1 then
        redis.call('XADD', again, '*', 'event', ARGV[i + 1], 'position', ARGV[i])
    end
end
return 1
"""
)

STRANGER = (
    _COMMON
    + """
-- ARGV: the ID before, the entry's ID, pairs of field and value. Passes over an entry that stands
-- where the outbox has nothing, and sets it aside.
if not is_mine() or redis.call('HGET', mark, 'id') ~= ARGV[4] then return 0 end
redis.call('XGROUP', 'SETID', main, group, ARGV[5])
redis.call('XACK', main, group, ARGV[5])
redis.call('HSET', mark, 'id', ARGV[5])
local entry = {}
for i = 6, #ARGV do entry[#entry + 1] = ARGV[i] end
redis.call('XADD', dead, '*', unpack(entry))
return 1
"""
)

TRY = (
    _COMMON
    + """
-- ARGV: a position. Counts a try, and answers how many there have been.
return redis.call('HINCRBY', tries, ARGV[4], 1)
"""
)

BURY = (
    _COMMON
    + """
-- ARGV: which stream, the entry's ID, its position, pairs of field and value. Sets an entry aside.
local stream = KEYS[tonumber(ARGV[4])]
redis.call('HDEL', tries, ARGV[6])
if redis.call('XACK', stream, group, ARGV[5]) == 0 then return 0 end
if stream == again then redis.call('XDEL', again, ARGV[5]) end
local entry = {}
for i = 7, #ARGV do entry[#entry + 1] = ARGV[i] end
redis.call('XADD', dead, '*', unpack(entry))
note_floor()
return 1
"""
)

LIVE = (
    _COMMON
    + """
-- ARGV: milliseconds to live. Answers whether the consumer still is what it was.
if shared then
    redis.call('SET', life, consumer, 'PX', ARGV[4])
    return 1
end
if redis.call('GET', life) ~= consumer then return 0 end
return redis.call('PEXPIRE', life, ARGV[4])
"""
)

LEAVE = (
    _COMMON
    + """
-- ARGV: milliseconds. What the consumer still has counts as idle for so long: it may be taken over.
if redis.call('GET', life) == consumer then redis.call('DEL', life) end
for _, stream in ipairs({main, again}) do
    local held = redis.pcall('XPENDING', stream, group, '-', '+', 5000, consumer)
    if not held.err and #held == 0 then
        redis.pcall('XGROUP', 'DELCONSUMER', stream, group, consumer)
    elseif not held.err then
        for _, pending in ipairs(held) do
            -- XCLAIM forgets what is gone from the stream: that must stay, to be missed.
            if #redis.call('XRANGE', stream, pending[1], pending[1]) == 1 then
                redis.call(
                    'XCLAIM', stream, group, consumer, 0, pending[1], 'IDLE', ARGV[4], 'JUSTID')
            end
        end
    end
end
"""
)

REDRIVE = """
-- KEYS: the dead-letter stream, the group's own. ARGV: IDs. Answers how many went back.
local count = 0
for _, id in ipairs(ARGV) do
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
        local found = {}
        for i = 1, #entry[2], 2 do found[entry[2][i]] = entry[2][i + 1] end
        redis.call('XADD', KEYS[2], '*', 'event', found['event'], 'position', found['position'])
        redis.call('XDEL', KEYS[1], id)
        count = count + 1
    end
end
return count
"""
