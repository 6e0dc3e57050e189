-- Takes over the pending entries of earlier consumers.
-- ARGV: index of the stream in KEYS, first ID, count.
-- Returns where to go on ('': at the end), the IDs that are gone from the stream, the entries, and
-- 1 (0: the lease or the group is lost).
if not has_lease() then return {'', {}, {}, 0} end
local stream, count = KEYS[tonumber(ARGV[3])], tonumber(ARGV[5])
local found = redis.pcall('XPENDING', stream, group, ARGV[4], '+', count)
if found.err then return {'', {}, {}, 0} end
local lost, entries = {}, {}
for _, pending in ipairs(found) do
    local id = pending[1]
    local entry = redis.call('XRANGE', stream, id, id)[1]
    if entry then
        redis.call('XCLAIM', stream, group, consumer, 0, id)
        entries[#entries + 1] = entry
    elseif stream == main then
        lost[#lost + 1] = id
    end
end
return {#found == count and '(' .. found[count][1] or '', lost, entries, 1}
