-- Moves the next entry of the main stream, whose position the outbox has not recorded, to the dead
-- letters. ARGV: the ID before it, its ID, pairs of field and value.
if not has_lease() or redis.call('HGET', marks, 'id') ~= ARGV[3] then return 0 end
redis.call('XGROUP', 'SETID', main, group, ARGV[4])
redis.call('XACK', main, group, ARGV[4])
redis.call('HSET', marks, 'id', ARGV[4])
add_dead_letter(5)
return 1
