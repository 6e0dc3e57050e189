-- Reads what is new on the redelivery stream. Only with the lease: a consumer would not notice that
-- an entry is missing there.
-- ARGV: count. Returns 1 (0: the lease or the group is lost) and the entries.
if not has_lease() then return {0, {}} end
local answer = redis.pcall(
    'XREADGROUP', 'GROUP', group, consumer, 'COUNT', ARGV[3], 'STREAMS', redelivery, '>')
if answer and answer.err then return string.find(answer.err, 'NOGROUP') and {0, {}} or answer end
return {1, answer and answer[1][2] or {}}
