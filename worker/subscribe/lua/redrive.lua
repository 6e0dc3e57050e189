-- Moves dead letters to the redelivery stream.
-- KEYS: the dead-letter stream, the redelivery stream. ARGV: IDs. Returns the number of moved ones.
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
