-- What the queue's scripts share. Keys of a campaign, in this order wherever a script takes one:
--
-- campaign:<id>  hash. workspace_id; state (running, paused, stopped); created_ms; last_ms (when one last
--                ended); read_to (the last entry that was ever taken); action:<id> (entries that wait or
--                run, by action); and counters, of which
--                added + rerun = waiting + model + mixed + fallback + dead + stopped + forgotten,
--                group:<g> (fallbacks by group of reasons), missed:<g> (not put back since), charged_mc.
--                lately: '<minute of the clock>\t<ended in it>\t<ended in the one before>'.
-- queue:<id>     stream of what waits and what runs: b the request's JSON, p person, a action,
--                o the id that it had first, n how often it was put back under another.
-- taken:<id>     sorted set of what was taken and has not ended; score: from when (ms) others may take it.
-- held:<id>      hash of the same entries: '<times taken>\t<token of the last taking>\t<reason>'.
-- missed:<id>    stream of requests that fell back, with the queue's fields and r reason, g group, k kept.

local INT = string.format('%d', 9007199254740991) == '9007199254740991' and '%d' or '%.0f'

local function int(number)
  return string.format(INT, number)
end

-- Ends the script before its first write; the client names the fault by the first word.
local function stop(word, detail)
  error({ creditgate = word .. ' ' .. detail })
end

-- Reads with a type check: a key of a foreign type stops the script by its name.
local function fetch(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    if not string.find(answer.err, 'WRONGTYPE', 1, true) then error(answer.err) end
    stop('DAMAGED', key .. ': ' .. answer.err)
  end
  return answer
end

local function whole(text, where)
  if not text then return 0 end
  if #text > 16 or string.find(text, '%D') or text == '' then
    stop('DAMAGED', where .. ': expected a whole number, found ' .. string.sub(text, 1, 20))
  end
  return tonumber(text)
end

-- A counter that HINCRBY would refuse in mid-script stops it before the first write.
local function check_counters(key, names)
  if #names == 0 then return end
  local found = fetch('HMGET', key, unpack(names))
  for i, name in ipairs(names) do whole(found[i], key .. ' ' .. name) end
end

local function fields_of(entry)
  local fields, list = {}, entry[2]
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

local STATES = { running = true, paused = true, stopped = true }

-- Returns a campaign's state and workspace; nothing where there is no such campaign.
local function campaign_of(key)
  local found = fetch('HMGET', key, 'state', 'workspace_id')
  if not found[1] and not found[2] and fetch('EXISTS', key) == 0 then return nil end
  if not STATES[found[1] or ''] or not found[2] then stop('DAMAGED', key .. ': no state, or no workspace_id') end
  return found[1], found[2]
end

-- Writes the fields of an entry again, and more.
local function copied(fields, more)
  local list = {}
  for _, name in ipairs({ 'b', 'p', 'a', 'o', 'n' }) do
    if fields[name] then
      list[#list + 1] = name
      list[#list + 1] = fields[name]
    end
  end
  for name, value in pairs(more) do
    list[#list + 1] = name
    list[#list + 1] = value
  end
  return list
end

local function add_up(sums, name, by)
  sums[name] = (sums[name] or 0) + by
end

local function names_of(sums)
  local names = {}
  for name in pairs(sums) do names[#names + 1] = name end
  return names
end

-- Counters that count down stop at nothing left: a field that went missing is none of -1.
local function count(key, sums)
  for name, by in pairs(sums) do
    local now = redis.call('HINCRBY', key, name, int(by))
    if now <= 0 then redis.call('HDEL', key, name) end
  end
end

-- Campaigns with work take turns: each has a number, the lowest is served next, and whoever was served
-- gets one above all others. Numbers, because a clock gives many campaigns the same millisecond.
local function last_turn(queues)
  local last = fetch('ZREVRANGE', queues, 0, 0, 'WITHSCORES')[2]
  return last and tonumber(last) or 0
end

-- The first write of scripts that must run where memory is full: it needs none.
local function begin_writing(key)
  redis.call('ZREM', key, '')
end

-- Lets go what is older than it may be, a bounded number at a time; returns whether there is more.
local MOST_LET_GO = 5000

local function let_go(stream, keep_ms, now)
  local first = int(now - keep_ms)
  local gone = redis.call('XTRIM', stream, 'MINID', '~', first, 'LIMIT', MOST_LET_GO)
  if gone >= MOST_LET_GO then return true end
  -- Less than a node of the stream is left of them.
  redis.call('XTRIM', stream, 'MINID', '=', first)
  return false
end

-- Does the same after something was written, and lets the whole stream go once its newest is too old.
local function kept_for(stream, keep_ms, now)
  let_go(stream, keep_ms, now)
  redis.call('PEXPIRE', stream, int(keep_ms))
end
