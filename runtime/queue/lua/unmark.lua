-- unmark: removes an account's mark, if nobody set it anew and it is old.
-- KEYS: queued. ARGV: account, the mark that was read, ms from which a mark is old.
local mark = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not mark or tonumber(mark) ~= tonumber(ARGV[2]) then return 0 end
if server_ms() - tonumber(mark) < tonumber(ARGV[3]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
