-- Takes dead letters out, and delivers them again or not. A client whose answer was lost sends the
-- same again, with the same result.
-- KEYS: the dead-letter stream, the redelivery stream, the result of this change (it expires).
-- ARGV: 1 (deliver them again) or 0, IDs. Returns the number of letters that it took out.
local known = redis.call('GET', KEYS[3])
if known then return tonumber(known) end
redis.call('SET', KEYS[3], 0, 'EX', 600) -- first: a server without memory refuses this
local count = 0
for i = 2, #ARGV do
    local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
    if entry then
        local found = {}
        for j = 1, #entry[2], 2 do found[entry[2][j]] = entry[2][j + 1] end
        if ARGV[1] == '1' then
            redis.call('XADD', KEYS[2], '*', 'event', found['event'], 'position', found['position'])
        end
        redis.call('XDEL', KEYS[1], ARGV[i])
        count = count + 1
    end
end
redis.call('SET', KEYS[3], count, 'EX', 600)
return count
