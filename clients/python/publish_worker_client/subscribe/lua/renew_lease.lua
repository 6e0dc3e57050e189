-- ARGV: lease in milliseconds. Returns whether the consumer has the lease.
if not has_lease() then return 0 end
return redis.call('PEXPIRE', lease, ARGV[3])
