-- Acknowledges entries, and notes the consumer's place, even if its lease has run out, unless
-- another consumer has joined since.
-- ARGV: position, its ID, number of IDs of the main stream, these, number of IDs of the redelivery
-- stream, these, positions whose tries need no count any more.
-- Returns 1 (0: the lease or the group is lost), the length of the redelivery stream, the tip.
local next_argument = 5
local function acknowledge(stream)
    local ids = {}
    for i = 1, tonumber(ARGV[next_argument]) do ids[i] = ARGV[next_argument + i] end
    next_argument = next_argument + 1 + #ids
    if #ids == 0 then return end
    redis.call('XACK', stream, group, unpack(ids))
    if stream == redelivery then redis.call('XDEL', stream, unpack(ids)) end
end
acknowledge(main)
acknowledge(redelivery)
for i = next_argument, #ARGV do redis.call('HDEL', tries, ARGV[i]) end
local owner = redis.call('GET', lease)
local is_last = not owner and redis.call('HGET', marks, 'by') == consumer
if not (owner == consumer or is_last) or not last_delivered() then return {0, 0, 0} end
redis.call('HSET', marks, 'at', ARGV[3], 'id', ARGV[4])
note_floor()
return {owner and 1 or 0, redis.call('XLEN', redelivery), stream_tip()}
