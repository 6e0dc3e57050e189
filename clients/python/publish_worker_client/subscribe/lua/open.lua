-- Takes the lease and joins the group, which is created if it is missing.
-- ARGV: lease in milliseconds, the floor that the consumer knows ('': none), the position after
-- which a new group starts ('': the oldest event), the oldest position in the outbox ('': none).
-- Returns 'standby', 'empty' (there is no stream), or 'open' with the position, its ID, and the
-- position up to which an earlier consumer may have begun on what is read.
local owner = redis.call('GET', lease)
if owner and owner ~= consumer then return {'standby'} end
redis.call('SET', lease, consumer, 'PX', ARGV[3])

local function start()
    local noted, known = redis.call('HGET', marks, 'floor'), tonumber(ARGV[4])
    if noted or known then return math.max(tonumber(noted or 0), known or 0) end
    if ARGV[5] ~= '' then return tonumber(ARGV[5]) end
    local first = redis.call('XRANGE', main, '-', '+', 'COUNT', 1)[1]
    local before = first and position(first[1]) - 1 or 0
    local oldest = tonumber(ARGV[6])
    return oldest and math.min(before, oldest - 1) or before
end

if redis.call('EXISTS', main) == 0 then return {'empty'} end
local last, redelivered = last_delivered(), 0
local at, id = unpack(redis.call('HMGET', marks, 'at', 'id'))
if not last then
    at = to_text(start())
    id = at .. '-0'
    redis.call('XGROUP', 'CREATE', main, group, id)
    redis.call('HSET', marks, 'floor', at)
elseif not id or is_above(id, last) then
    at, id = to_text(position(last)), last
elseif is_above(last, id) then
    redis.call('XGROUP', 'SETID', main, group, id)
    redelivered = position(last)
end
redis.call('HSET', marks, 'at', at, 'id', id, 'by', consumer)
note_floor()
redis.pcall('XGROUP', 'CREATE', redelivery, group, '0', 'MKSTREAM')
return {'open', tonumber(at), id, redelivered}
