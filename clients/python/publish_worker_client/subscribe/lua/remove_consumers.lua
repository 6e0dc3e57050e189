-- Removes the group's other consumers that have nothing pending. Looks and removes in one step: an
-- entry that is delivered in between would be lost with its consumer.
if not has_lease() then return 0 end
for _, stream in ipairs({main, redelivery}) do
    local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
    for _, one in ipairs(consumers.err and {} or consumers) do
        local found = to_table(one)
        if found['pending'] == 0 and found['name'] ~= consumer then
            redis.call('XGROUP', 'DELCONSUMER', stream, group, found['name'])
        end
    end
end
return 1
