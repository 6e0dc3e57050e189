-- Releases the lease, and the consumer if it has nothing pending.
if has_lease() then redis.call('DEL', lease) end
for _, stream in ipairs({main, redelivery}) do
    local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1, consumer)
    if not pending.err and #pending == 0 then
        redis.pcall('XGROUP', 'DELCONSUMER', stream, group, consumer)
    end
end
return 1
