-- Reads the beginnings of dead letters. Writes nothing.
-- KEYS: the dead-letter stream. ARGV: XRANGE or XREVRANGE, the start, the end, how many letters, how
-- many bytes of content it may look through, how many bytes of a field it returns.
-- Returns 1 if there are further letters, and of each letter: ID, size of the event (-1: none),
-- position, attempts, failed_at, consumer, error, traceback, event.
local LAST = {XRANGE = '18446744073709551615-18446744073709551615', XREVRANGE = '0-1'}
local start, found, size = ARGV[2], {}, 0
while true do
    local entry = redis.call(ARGV[1], KEYS[1], start, ARGV[3], 'COUNT', 1)[1]
    if not entry then return {0, found} end
    if #found == tonumber(ARGV[4]) or size > tonumber(ARGV[5]) then return {1, found} end
    local fields, letter = {}, {entry[1]}
    for i = 1, #entry[2], 2 do
        fields[entry[2][i]] = entry[2][i + 1]
        size = size + #entry[2][i] + #entry[2][i + 1]
    end
    letter[2] = fields['event'] and #fields['event'] or -1
    local names = {'position', 'attempts', 'failed_at', 'consumer', 'error', 'traceback', 'event'}
    for i, name in ipairs(names) do
        letter[i + 2] = string.sub(fields[name] or '', 1, tonumber(ARGV[6]))
    end
    found[#found + 1] = letter
    if entry[1] == LAST[ARGV[1]] then return {0, found} end -- the ID after it is not valid
    start = '(' .. entry[1]
end
