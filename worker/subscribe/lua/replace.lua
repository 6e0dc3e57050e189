-- Puts events on the redelivery stream whose pending entries are gone from the main one.
-- ARGV: pairs of position and event. Returns whether the consumer has the lease.
if not has_lease() then return 0 end
for i = 3, #ARGV, 2 do
    if redis.call('XACK', main, group, ARGV[i] .. '-0') == 1 then
        redis.call('XADD', redelivery, '*', 'event', ARGV[i + 1], 'position', ARGV[i])
    end
end
return 1
