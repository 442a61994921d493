-- mark: notes that something is about to be added for an account.
-- KEYS: queued (sorted set of accounts, ms). ARGV: account.
redis.call('ZADD', KEYS[1], string.format('%.0f', server_ms()), ARGV[1])
return 1
