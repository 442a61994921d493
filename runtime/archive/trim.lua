-- Cuts an account's journal off behind what is archived for good.
-- KEYS: account, journal, the bucket's news.
-- ARGV: account id, the archived sequence, its chain.
-- answer: 1 if nothing is left to archive, else 0.

local ACCOUNT, JOURNAL, NEWS = KEYS[1], KEYS[2], KEYS[3]
local ACCOUNT_ID, ARCHIVED, CHAIN = ARGV[1], ARGV[2], ARGV[3]

-- Read everything first: nothing may fail once something is written.
local before = redis.call('HGET', ACCOUNT, 'archived')
local is_there = redis.call('HEXISTS', ACCOUNT, 'schema') == 1
local newer = redis.call('XRANGE', JOURNAL, '(0-' .. ARCHIVED, '+', 'COUNT', 1)
local older = redis.call('XREVRANGE', JOURNAL, '0-' .. ARCHIVED, '-', 'COUNT', 1)[1]
redis.call('SISMEMBER', NEWS, ACCOUNT_ID)

-- An account that is gone is not made again by a mark.
if not is_there then return 0 end
-- After a failover other entries may have these numbers: nothing of that branch is archived.
if older and (older[1] ~= '0-' .. ARCHIVED or older[2][4] ~= CHAIN) then return 0 end
-- XTRIM and SREM first: they need no memory, so that trimming works where memory is full.
redis.call('XTRIM', JOURNAL, 'MINID', '=', '0-' .. string.format('%.0f', tonumber(ARCHIVED) + 1))
if #newer == 0 then redis.call('SREM', NEWS, ACCOUNT_ID) end
if tonumber(before or 0) < tonumber(ARCHIVED) then
  redis.call('HSET', ACCOUNT, 'archived', ARCHIVED)
end
return #newer == 0 and 1 or 0
