-- turns: takes returned turns at one endpoint back, then serves requests in order until one lacks
-- something. The rule is that of providers/pacing/rule.py, with fairness between processes: each one
-- that waits gets its share of the free slots, and those that waited before are served first.
-- KEYS: slots (sorted set, end in ms), waiting (sorted set of processes, in order),
--       seen (sorted set of processes, last request in ms), taken (hash: for each rate the time
--       up to which it is taken, in us; the last place in the queue)
-- ARGV: process, number of slots (0: no limit), window of requests and of tokens in us (0: no
--       limit), number of returns, number of requests; for each return: slot, cost of requests
--       and of tokens in us to give back; for each request: slot ('' for none), time to live
--       in ms, cost of requests and of tokens in us
-- answer: {requests served, what the next one lacks (0 nothing, 1 slot, 2 requests, 3 tokens),
--          the ms to wait for it, processes seen lately}

local SLOTS, WAITING, SEEN, TAKEN = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local GONE_MS, FORGOTTEN_MS, LONGEST_DEBT_US = 1000, 60000, 120000000
local SLOT, RATES = 1, { 'requests', 'tokens' }

local process, most = ARGV[1], tonumber(ARGV[2])
local windows = { tonumber(ARGV[3]), tonumber(ARGV[4]) }
local returns, requests = tonumber(ARGV[5]), tonumber(ARGV[6])
local now = server_ms()
local now_us = now * 1000
local at = 7

local function next_argument()
  at = at + 1
  return ARGV[at - 1]
end

local function whole(number)
  return string.format('%.0f', number)
end

local taken = {}
for rate, name in ipairs(RATES) do
  if windows[rate] > 0 then
    taken[rate] = tonumber(redis.call('HGET', TAKEN, name)) or 0
  end
end

for _ = 1, returns do
  local slot = next_argument()
  if slot ~= '' then redis.call('ZREM', SLOTS, slot) end
  for rate = 1, #RATES do
    local cost = tonumber(next_argument())
    if taken[rate] then taken[rate] = taken[rate] - cost end
  end
end

-- A longer debt means that the clock went back.
for rate in pairs(taken) do
  local latest_us = now_us + windows[rate] + LONGEST_DEBT_US
  taken[rate] = math.min(math.max(taken[rate], now_us), latest_us)
end

local slots_left, is_new = 0, false
if most > 0 then
  redis.call('ZREMRANGEBYSCORE', SLOTS, '-inf', now)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', SEEN, '-inf', now - GONE_MS)) do
    redis.call('ZREM', WAITING, gone)
  end
  local free, waiting = most - redis.call('ZCARD', SLOTS), redis.call('ZCARD', WAITING)
  local before = redis.call('ZRANK', WAITING, process)
  is_new = not before
  local part = math.ceil(free / (is_new and waiting + 1 or waiting))
  slots_left = math.min(part, free - (before or waiting))
end

local function lack(slot, costs)
  if most > 0 and slot ~= '' and slots_left <= 0 then return SLOT, 0 end
  for rate = 1, #RATES do
    -- A request for more than the whole window is served once the window is free, and leaves a debt.
    local needed_us = math.min(costs[rate], windows[rate]) - windows[rate]
    local wait_us = taken[rate] and taken[rate] - now_us + needed_us or 0
    if wait_us > 0 then return SLOT + rate, wait_us end
  end
  return 0, 0
end

local served, slots_taken, lacking, wait_us = 0, 0, 0, 0
while served < requests do
  local slot, ttl = next_argument(), tonumber(next_argument())
  local costs = { tonumber(next_argument()), tonumber(next_argument()) }
  lacking, wait_us = lack(slot, costs)
  if lacking ~= 0 then break end
  if most > 0 and slot ~= '' then
    redis.call('ZADD', SLOTS, whole(now + ttl), slot)
    slots_left, slots_taken = slots_left - 1, slots_taken + 1
  end
  for rate in pairs(taken) do taken[rate] = taken[rate] + costs[rate] end
  served = served + 1
end

if served > 0 or returns > 0 then
  for rate, until_us in pairs(taken) do
    redis.call('HSET', TAKEN, RATES[rate], whole(until_us))
  end
end
if most > 0 then
  if lacking ~= SLOT then
    redis.call('ZREM', WAITING, process)
  elseif slots_taken > 0 or is_new then
    -- A process that was served goes to the end of the queue; a new one joins at the end.
    redis.call('ZADD', WAITING, redis.call('HINCRBY', TAKEN, 'place', 1), process)
  end
end
redis.call('ZADD', SEEN, whole(now), process)
redis.call('ZREMRANGEBYSCORE', SEEN, '-inf', now - FORGOTTEN_MS)
return { served, lacking, math.ceil(wait_us / 1000), redis.call('ZCARD', SEEN) }
