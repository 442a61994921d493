-- finish: takes entries that ended out of a campaign's queue, and counts each once, whoever comes first.
-- KEYS: campaign, queue, taken, held, missed, results, dead, queues
-- ARGV: campaign id, ms that missed, dead and results are kept, most results; then for each entry: id,
--       'r' with a result or 'd' as a dead letter, its action, status of the result or reason of the
--       dead letter, reason and group of a fallback (detail and '' of a dead letter), whether its outcome is kept ('1', '0'),
--       charged_mc, execution id, person, result
-- answer: {number of those counted}

local campaign, queue, taken, held, missed, results, dead, queues = unpack(KEYS)
local id, missed_ms, dead_ms, results_ms, results_most = unpack(ARGV, 1, 5)
local EACH, FIRST = 11, 6

-- Executions that ended in this minute of the clock and in the one before, for the pace of lately.
local function lately_of(now, before, number)
  local minute = math.floor(now / 60000)
  local stored, this, last = string.match(before or '', '^(%d+)\t(%d+)\t(%d+)$')
  if tonumber(stored) == minute then
    return int(minute) .. '\t' .. int(tonumber(this) + number) .. '\t' .. last
  end
  return int(minute) .. '\t' .. int(number) .. '\t' .. (tonumber(stored) == minute - 1 and this or '0')
end

local function run()
  local ended, sums = {}, {}
  for i = FIRST, #ARGV, EACH do
    local one = { id = ARGV[i], kind = ARGV[i + 1], action = ARGV[i + 2], status = ARGV[i + 3],
      reason = ARGV[i + 4], group = ARGV[i + 5], kept = ARGV[i + 6], charged = ARGV[i + 7],
      execution = ARGV[i + 8], person = ARGV[i + 9], result = ARGV[i + 10] }
    -- Whoever takes it out of this set counts it.
    if fetch('ZSCORE', taken, one.id) and not ended[one.id] then
      ended[#ended + 1] = one
      ended[one.id] = true
      local entry = fetch('XRANGE', queue, one.id, one.id)[1]
      one.fields = entry and fields_of(entry) or {}
      local text = fetch('HGET', held, one.id)
      one.times = string.match(text or '', '^(%d+)\t') or '1'
      add_up(sums, 'action:' .. (one.fields.a or one.action), -1)
      if one.kind == 'd' then
        add_up(sums, 'dead', 1)
      else
        add_up(sums, one.status, 1)
        add_up(sums, 'charged_mc', tonumber(one.charged))
        if one.group ~= '' then
          add_up(sums, 'group:' .. one.group, 1)
          if entry then add_up(sums, 'missed:' .. one.group, 1) end
          one.is_missed = entry ~= nil
        end
      end
    end
  end
  campaign_of(campaign)
  check_counters(campaign, names_of(sums))
  for _, key in ipairs({ missed, results, dead }) do fetch('XLEN', key) end
  fetch('ZCARD', queues)
  local before = fetch('HGET', campaign, 'lately')
  local now = server_ms()

  begin_writing(queues)
  for _, one in ipairs(ended) do
    redis.call('ZREM', taken, one.id)
    redis.call('HDEL', held, one.id)
    redis.call('XDEL', queue, one.id)
  end
  for _, one in ipairs(ended) do
    if one.kind == 'd' then
      redis.call('XADD', dead, '*', unpack(copied(one.fields, { c = id, r = one.status, t = one.times, d = one.reason })))
    else
      redis.call('XADD', results, '*', 'c', id, 'e', one.execution, 'p', one.person, 'j', one.result)
      if one.is_missed then
        redis.call('XADD', missed, '*',
          unpack(copied(one.fields, { r = one.reason, g = one.group, k = one.kept })))
      end
    end
  end
  if #ended > 0 then
    redis.call('HSET', campaign, 'last_ms', int(now), 'lately', lately_of(now, before, #ended))
    count(campaign, sums)
    kept_for(missed, tonumber(missed_ms), now)
    kept_for(dead, tonumber(dead_ms), now)
    kept_for(results, tonumber(results_ms), now)
    redis.call('XTRIM', results, 'MAXLEN', '~', results_most)
  end
  if redis.call('XLEN', queue) == 0 then redis.call('ZREM', queues, id) end
  return { #ended }
end
