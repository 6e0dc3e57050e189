-- Puts missing events on the redelivery stream, unless another consumer has done so.
-- ARGV: the position before the gap, the last one filled, pairs of position and event.
-- Returns whether it has.
if not has_lease() or redis.call('HGET', marks, 'at') ~= ARGV[3] then return 0 end
for i = 5, #ARGV, 2 do
    redis.call('XACK', main, group, ARGV[i] .. '-0') -- it may have been read before it was lost
    redis.call('XADD', redelivery, '*', 'event', ARGV[i + 1], 'position', ARGV[i])
end
redis.call('HSET', marks, 'at', ARGV[4])
return 1
