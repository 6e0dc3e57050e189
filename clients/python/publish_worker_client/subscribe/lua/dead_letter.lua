-- Moves an entry to the dead letters.
-- ARGV: index of its stream in KEYS, its ID, its position, pairs of field and value.
local stream = KEYS[tonumber(ARGV[3])]
local was_pending = is_pending(stream, ARGV[4])
if was_pending then
    add_dead_letter(6) -- first: a server without memory refuses this, and not what follows
    redis.call('XACK', stream, group, ARGV[4])
    if stream == redelivery then redis.call('XDEL', redelivery, ARGV[4]) end
end
redis.call('HDEL', tries, ARGV[5])
note_floor()
return was_pending and 1 or 0
