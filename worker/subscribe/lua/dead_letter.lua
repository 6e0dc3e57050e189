-- Moves an entry to the dead letters.
-- ARGV: index of its stream in KEYS, its ID, its position, pairs of field and value.
local stream = KEYS[tonumber(ARGV[3])]
redis.call('HDEL', tries, ARGV[5])
if redis.call('XACK', stream, group, ARGV[4]) == 0 then return 0 end
if stream == redelivery then redis.call('XDEL', redelivery, ARGV[4]) end
add_dead_letter(6)
note_floor()
return 1
