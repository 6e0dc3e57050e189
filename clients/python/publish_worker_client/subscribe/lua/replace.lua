-- Puts events on the redelivery stream whose pending entries are gone from the main one.
-- ARGV: pairs of position and event. Returns whether the consumer has the lease.
if not has_lease() then return 0 end
for i = 3, #ARGV, 2 do
    local id = ARGV[i] .. '-0'
    if is_pending(main, id) then
        redis.call('XADD', redelivery, '*', 'event', ARGV[i + 1], 'position', ARGV[i])
        redis.call('XACK', main, group, id) -- last: a server without memory refuses the line above
    end
end
return 1
