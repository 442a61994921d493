-- Erasure of a person's values: a script of its own, which also runs where an account was stopped.
-- It charges and credits nothing, so it reads of the account only what it needs.
--
-- begin: notes that the person was forgotten now, so that no execution that began before stores values.
-- KEYS: account, refs, forgotten, forgetting (a hash: how far it came; outcomes are counted in it)
-- ARGV: 'begin', person's key, person's part of fingerprints, reference, outcome TTL in ms
-- answer: {'begun', at} | {'account_unknown'} | {'used'} where the reference was used for an erasure of
--         which nothing else is known any more | {'conflict'} where it is for another person
--
-- erase: removes the values of the person's outcomes, and leaves all else of them.
-- KEYS: forgetting, outcomes
-- ARGV: 'erase', person's key, person's part of fingerprints
-- answer: {'erased', number, outcomes that can't be read} | {'newer', key} where a newer release wrote one, and nothing was changed

local HEADER_PATTERN = '^(1\t[srn]\t[^\t\n]+\t([^\t\n]+)\t[^\n]*\n)(.*)$'
local PERSON_PATTERN = '^{"p":"([%w_-]+)'

-- As main.lua has it: the account's clock does not go back when a failover's does.
local function account_now(books)
  local last_ms = string.match(books, '^%d+\t%d+\t(%d+)\t') or '0'
  return math.max(server_ms(), tonumber(last_ms))
end

local function begin(person, part, reference, ttl_ms)
  local account, refs, forgotten, forgetting = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
  local books = fetch('HGET', account, 'books')
  if not books then return { 'account_unknown' } end
  local known, at = unpack(fetch('HMGET', forgetting, 'person', 'at'))
  if known and known ~= person then return { 'conflict' } end
  if at then return { 'begun', at } end
  if fetch('HEXISTS', refs, reference) == 1 then return { 'used' } end
  fetch('ZCARD', forgotten)
  local now = account_now(books)
  local until_ms = now + ttl_ms
  -- First what needs no memory, for a server that has none left.
  redis.call('ZREMRANGEBYSCORE', forgotten, '-inf', int(now - ttl_ms))
  redis.call('ZADD', forgotten, int(now), person, int(now), part)
  redis.call('PEXPIREAT', forgotten, int(until_ms))
  redis.call('HSET', account, 'forgotten', int(until_ms))
  redis.call('HSET', forgetting, 'person', person, 'at', int(now))
  redis.call('PEXPIREAT', forgetting, int(until_ms))
  return { 'begun', int(now) }
end

local function is_theirs(bytes, fingerprint, person, part)
  if bytes == '' or string.sub(fingerprint, 13, 16) ~= part then return false end
  local owner = string.match(bytes, PERSON_PATTERN)
  return owner == nil or owner == person
end

local function erase(person, part)
  local left, unreadable = {}, {}
  fetch('HLEN', KEYS[1])
  for i = 2, #KEYS do
    local raw = redis.pcall('GET', KEYS[i])
    if type(raw) == 'string' then
      local header, fingerprint, bytes = string.match(raw, HEADER_PATTERN)
      if not header and not string.find(raw, '^1\t') then return { 'newer', KEYS[i] } end
      if not header then unreadable[#unreadable + 1] = KEYS[i] end
      if header and is_theirs(bytes, fingerprint, person, part) then left[#left + 1] = { KEYS[i], header } end
    end
  end
  redis.call('HDEL', KEYS[1], '')
  for _, outcome in ipairs(left) do redis.call('SET', outcome[1], outcome[2], 'KEEPTTL') end
  if #left > 0 then redis.call('HINCRBY', KEYS[1], 'outcomes', #left) end
  return { 'erased', #left, unreadable }
end

local function run()
  if ARGV[1] == 'begin' then return begin(ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])) end
  return erase(ARGV[2], ARGV[3])
end

local ok, answer = pcall(run)
if ok then return answer end
if type(answer) == 'table' and answer.creditgate then
  return redis.error_reply('CREDITGATE_' .. answer.creditgate)
end
local fault = type(answer) == 'table' and answer.err or answer
return redis.error_reply('CREDITGATE_FAILED ' .. tostring(fault))
