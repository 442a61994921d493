-- Which configuration each process runs.
-- KEYS[1]: a sorted set of processes, by the time of their last sign of life.
-- ARGV: the member to write ("" to read alone), the one that it replaces (or ""), the silence in
-- ms after which a process counts as gone, the most members, the most bytes of a member.
local own, replaced = ARGV[1], ARGV[2]
local silent_ms, most, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now_ms = server_ms()
local first, last = now_ms - silent_ms, now_ms + silent_ms

if own ~= '' then
  -- What lies in the future was written before the server's clock was put back.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. first)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. last, '+inf')
  if replaced ~= '' then
    redis.call('ZREM', KEYS[1], replaced)
  end
  redis.call('ZADD', KEYS[1], now_ms, own)
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -(most + 1))
  redis.call('PEXPIRE', KEYS[1], silent_ms)
end

local found = {}
for _, member in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], last, first, 'LIMIT', 0, most)) do
  if #member <= longest then
    found[#found + 1] = member
  end
end
return found
