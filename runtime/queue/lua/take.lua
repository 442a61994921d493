-- take: takes a slice of the first of some campaigns that may be served and has something to take.
-- KEYS: limits (of the account: switches, limits.lua), queues, dead; then for each campaign: campaign,
--       queue, taken, held, missed
-- ARGV: entries (0: take none, and only empty campaigns that were stopped), bytes of them, ms until others may take them, most times that one is taken, token of this
--       taking, ms that missed and that dead entries are kept, most bytes of one entry; then for each campaign its id
-- answer: {number of the campaign (0: none), '1' if more may be taken at once,
--          entries {id, body, times taken}, {name and fault of each that is damaged},
--          number of campaigns that wait while something is switched off}

local entries_most, bytes_most, lease_ms, times_most, token, missed_ms, dead_ms, one_most = unpack(ARGV, 1, 8)
entries_most, bytes_most, lease_ms = tonumber(entries_most), tonumber(bytes_most), tonumber(lease_ms)
times_most, missed_ms, dead_ms = tonumber(times_most), tonumber(missed_ms), tonumber(dead_ms)
one_most = tonumber(one_most)
local LIMITS, QUEUES, DEAD = KEYS[1], KEYS[2], KEYS[3]
local DRAINED = 100
-- So much is kept of one that is too large.
local KEPT_OF_TOO_LARGE = 1000
local now = server_ms()

local function is_off(campaign, id, workspace)
  local fields = { 'off account', 'off workspace\t' .. workspace, 'off campaign\t' .. id }
  for _, name in ipairs(fetch('HKEYS', campaign)) do
    local action = string.match(name, '^action:(.*)$')
    if action then fields[#fields + 1] = 'off action\t' .. action end
  end
  for _, found in ipairs(fetch('HMGET', LIMITS, unpack(fields))) do
    if found then return true end
  end
  return false
end

local function held_of(text)
  local times, _, reason = string.match(text or '', '^(%d+)\t([^\t]*)\t(.*)$')
  return tonumber(times or 0), reason or ''
end

-- Reads what may be taken now: first what others took and did not end in time, then what is new.
local function candidates(c, most)
  local found, bytes = {}, 0
  if most == 0 then return found end
  local function take_in(id, entry, is_new)
    local text = fetch('HGET', c.held, id)
    local times, reason = held_of(text)
    local fields = entry and fields_of(entry)
    local is_large = fields and #(fields.b or '') > one_most
    if is_large then fields.b, reason = string.sub(fields.b, 1, KEPT_OF_TOO_LARGE), 'too_large' end
    found[#found + 1] = { id = id, fields = fields, times = times, reason = reason, is_new = is_new,
      is_large = is_large }
    bytes = bytes + (fields and #(fields.b or '') or 0)
  end
  for _, id in ipairs(fetch('ZRANGEBYSCORE', c.taken, '-inf', int(now), 'LIMIT', 0, most)) do
    if bytes >= bytes_most then break end
    take_in(id, fetch('XRANGE', c.queue, id, id)[1], false)
  end
  local from = fetch('HGET', c.campaign, 'read_to')
  if from and not string.find(from, '^%d+%-%d+$') then stop('DAMAGED', c.campaign .. ' read_to: is no id') end
  local new = {}
  if #found < most and bytes < bytes_most then
    new = fetch('XRANGE', c.queue, from and '(' .. from or '-', '+', 'COUNT', most - #found)
  end
  for _, entry in ipairs(new) do
    if bytes >= bytes_most then break end
    take_in(entry[1], entry, true)
  end
  return found
end

local function read(i)
  local first = 3 + (i - 1) * 5
  local c = { id = ARGV[8 + i], campaign = KEYS[first + 1], queue = KEYS[first + 2], taken = KEYS[first + 3],
    held = KEYS[first + 4], missed = KEYS[first + 5] }
  local state, workspace = campaign_of(c.campaign)
  c.state = state
  if fetch('XLEN', c.queue) == 0 and fetch('ZCARD', c.taken) == 0 then
    c.is_empty = true
    return c
  end
  if not state then stop('DAMAGED', c.campaign .. ': is missing') end
  c.is_off = state == 'running' and is_off(c.campaign, c.id, workspace)
  if c.is_off or state == 'paused' then return c end
  c.found = candidates(c, state == 'stopped' and DRAINED or entries_most)
  fetch('XLEN', c.missed)
  -- What is moved elsewhere is counted.
  c.sums = {}
  for _, one in ipairs(c.found) do
    local fate = (one.is_large or not one.fields) and 'dead' or state == 'stopped' and 'stopped'
      or one.times >= times_most and 'dead'
    if fate then
      one.fate = fate
      add_up(c.sums, fate, 1)
      if one.fields and one.fields.a then add_up(c.sums, 'action:' .. one.fields.a, -1) end
      if fate == 'stopped' then add_up(c.sums, 'missed:limits', 1) end
    end
  end
  check_counters(c.campaign, names_of(c.sums))
  return c
end

local function move(c, one)
  redis.call('ZREM', c.taken, one.id)
  redis.call('HDEL', c.held, one.id)
  redis.call('XDEL', c.queue, one.id)
  local fields = one.fields or {}
  if one.fate == 'stopped' then
    redis.call('XADD', c.missed, '*', unpack(copied(fields, { r = 'switched_off', g = 'limits', k = '0' })))
    kept_for(c.missed, missed_ms, now)
  else
    local reason = not one.fields and 'body_missing' or one.reason ~= '' and one.reason or 'too_many_deliveries'
    redis.call('XADD', DEAD, '*',
      unpack(copied(fields, { c = c.id, r = reason, t = int(one.times) })))
    kept_for(DEAD, dead_ms, now)
  end
end

local function run()
  local turn = last_turn(QUEUES)
  fetch('XLEN', DEAD)
  local damaged, read_well, off = {}, {}, 0
  for i = 1, #ARGV - 8 do
    local ok, answer = pcall(read, i)
    if ok then
      read_well[#read_well + 1] = answer
      answer.number = i
      if answer.is_off then off = off + 1 end
      if answer.found and #answer.found > 0 then break end
    elseif type(answer) == 'table' and answer.creditgate then
      damaged[#damaged + 1] = ARGV[8 + i]
      damaged[#damaged + 1] = answer.creditgate
    else
      error(answer)
    end
  end

  -- What was read goes behind the others, so that the next call reads those.
  local function to_the_back(id)
    turn = turn + 1
    redis.call('ZADD', QUEUES, 'XX', int(turn), id)
  end

  begin_writing(QUEUES)
  local chosen, answered, more = 0, {}, false
  for _, c in ipairs(read_well) do
    if c.is_empty or c.state == 'paused' then
      redis.call('ZREM', QUEUES, c.id)
    elseif c.is_off or #c.found == 0 then
      to_the_back(c.id)
    else
      chosen = c.number
      local last
      for _, one in ipairs(c.found) do
        if one.is_new then last = one.id end
        if one.fate then
          move(c, one)
        else
          local times = one.times + 1
          redis.call('ZADD', c.taken, int(now + lease_ms), one.id)
          redis.call('HSET', c.held, one.id, times .. '\t' .. token .. '\t' .. one.reason)
          answered[#answered + 1] = { one.id, one.fields.b or '', int(times) }
        end
      end
      if last then redis.call('HSET', c.campaign, 'read_to', last) end
      count(c.campaign, c.sums)
      local left = redis.call('XLEN', c.queue)
      more = left > redis.call('ZCARD', c.taken) or redis.call('ZCARD', QUEUES) > 1
      if left == 0 then
        redis.call('ZREM', QUEUES, c.id)
      else
        to_the_back(c.id)
      end
    end
  end
  for i = 1, #damaged, 2 do to_the_back(damaged[i]) end
  return { chosen, more and 1 or 0, answered, damaged, off }
end
