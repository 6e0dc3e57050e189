-- Sets the group's reading back to the consumer's place, to look at what comes next.
-- ARGV: position, its ID.
-- Returns 1 (0: the lease or the group is lost), the tip, and the next entry if there is one.
if not has_lease() or not last_delivered() then return {0} end
redis.call('XGROUP', 'SETID', main, group, ARGV[4])
redis.call('HSET', marks, 'at', ARGV[3], 'id', ARGV[4])
return {1, stream_tip(), redis.call('XRANGE', main, '(' .. ARGV[4], '+', 'COUNT', 1)[1]}
