-- The start of every script of this folder but read_dead_letters.lua and redrive.lua.
-- ARGV[1], ARGV[2]: the group's and the consumer's name. A script's own arguments begin at ARGV[3].
local main, redelivery, dead, marks, tries, lease = unpack(KEYS)
local group, consumer = ARGV[1], ARGV[2]

local function to_table(flat)
    local found = {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
    return found
end

-- The last ID that the group was given; nil: there is no group.
local function last_delivered()
    if redis.call('EXISTS', main) == 0 then return nil end
    for _, one in ipairs(redis.call('XINFO', 'GROUPS', main)) do
        local found = to_table(one)
        if found['name'] == group then return found['last-delivered-id'] end
    end
end

local function parts(id)
    local first, second = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(first), tonumber(second)
end

local function position(id) return (parts(id)) end

local function is_above(a, b)
    local a1, a2 = parts(a)
    local b1, b2 = parts(b)
    return a1 > b1 or (a1 == b1 and a2 > b2)
end

local function to_text(number) return string.format('%.0f', number) end

-- The last position that is, or was, on the stream.
local function stream_tip()
    return position(to_table(redis.call('XINFO', 'STREAM', main))['last-generated-id'])
end

local function has_lease() return redis.call('GET', lease) == consumer end

local function is_pending(stream, id)
    local found = redis.pcall('XPENDING', stream, group, id, id, 1)
    return not found.err and #found > 0
end

local function note_floor()
    local pending = redis.pcall('XPENDING', main, group)
    if pending.err then return end
    local floor = redis.call('HGET', marks, 'at')
    if floor and pending[1] > 0 then
        floor = to_text(math.min(tonumber(floor), position(pending[2]) - 1))
    end
    if floor then redis.call('HSET', marks, 'floor', floor) end
end

local function add_dead_letter(first_argument)
    local entry = {}
    for i = first_argument, #ARGV do entry[#entry + 1] = ARGV[i] end
    redis.call('XADD', dead, '*', unpack(entry))
end
