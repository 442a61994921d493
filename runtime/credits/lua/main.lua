-- The batch: calls of one account, each decided in order on the state that the ones before it
-- left, all written together.
-- KEYS: the keys of state.lua, then an outcome key for each call that takes an execution.
-- ARGV: account id, 'w' | 'r', outcome TTL in ms, marks, cool-down of a mark in ms, how many entries
--       the archive may lag behind (lag.lua), caps of new names (default_caps.lua), clock in ms and
--       memory of the process that asks (trust.lua), windows of caps (windows.lua), then for each
--       call: verb, number of arguments, arguments. Where the call takes an execution, the first
--       four are its key, attempt, fingerprint and dimensions; the verb's own follow.
-- answer: {answers in the order of the calls, alerts as {name, threshold, left, lag, and where a cap
--         raised it, its field, limit and charges}, what to remember}

local FIRST_CALL, ACCOUNT_KEYS = 11, 14
local ENDS = { settle = true, release = true, expire = true }
local TAKES_EXECUTION = { reserve = true, settle = true, release = true, conclude = true, look_up = true,
  rebuild_outcome = true }
-- These need no account, and none of what is left of one.
local REBUILDS = { rebuild_begin = true, rebuild_part = true, rebuild_outcome = true,
  rebuild_finish = true }

local function read_calls()
  local calls, at, keys, has_endings = {}, FIRST_CALL, {}, false
  while at <= #ARGV do
    local call = { verb = ARGV[at], args = {} }
    local own, next_call = at + 2, at + 2 + tonumber(ARGV[at + 1])
    if TAKES_EXECUTION[call.verb] then
      keys[#keys + 1] = ARGV[own]
      call.execution = { key = ARGV[own], attempt = ARGV[own + 1], fingerprint = ARGV[own + 2],
        dimensions = ARGV[own + 3], outcome_key = KEYS[ACCOUNT_KEYS + #keys] }
      own = own + 4
    end
    for i = own, next_call - 1 do call.args[i - own + 1] = ARGV[i] end
    calls[#calls + 1] = call
    has_endings = has_endings or ENDS[call.verb]
    at = next_call
  end
  return calls, keys, has_endings
end

-- A call with damaged keys fails alone; the others of its batch go on.
local function damage_of(call)
  if not call.execution then return nil end
  local sound, fault = pcall(outcome_of, call.execution.outcome_key)
  if sound then return S.damaged[call.execution.key] end
  return type(fault) == 'table' and fault.creditgate or error(fault)
end

local function decide(call)
  if REBUILDS[call.verb] then return V[call.verb](call.args, call.execution) end
  if not S.account and call.verb ~= 'open_account' then return { 'account_unknown' } end
  local damage = damage_of(call)
  if damage then return { 'fault', damage } end
  local before = left()
  local answer
  if call.execution then
    answer = decide_execution(call.verb, call.execution, call.args)
  else
    answer = V[call.verb](call.args)
  end
  check_marks(before)
  return answer
end

local function read_account(keys, verb)
  local time = server_ms()
  if REBUILDS[verb] then
    check_clock(time)
    S.now = time
    return
  end
  S.account = load_account()
  if verb == 'stop' then return end
  if verb ~= 'resume' then
    check_stopped()
    check_memory()
  end
  check_clock(time)
  S.now = time
  if not S.account then return end
  if verb == 'resume' then
    S.now = math.max(time, S.account.last_ms)
    return
  end
  S.now = trusted_now(time, verb)
  check_open()
  check_grants()
  load_reservations(keys)
  if READ_ONLY then return end
  local before = left()
  sweep(SWEEP_AT_MOST)
  check_marks(before)
  tell_waiting()
end

local function run()
  local calls, keys, has_endings = read_calls()
  read_account(keys, calls[1].verb)
  local answers, alerts = {}, {}
  for i, call in ipairs(calls) do answers[i] = decide(call) end
  if S.changed and not READ_ONLY then
    if MAX_LAG then check_lag() end
    write(has_endings)
  end
  if S.rebuilt and not READ_ONLY then write_rebuilt() end
  for i, alert in ipairs(S.alerts) do
    alerts[i] = { alert.name, alert.threshold, alert.left, alert.lag or 0, alert.cap, alert.limit,
      alert.charged }
  end
  return { answers, alerts, memory_text() }
end

local ok, answer = pcall(run)
if ok then return answer end
if type(answer) == 'table' and answer.creditgate then
  return redis.error_reply('CREDITGATE_' .. answer.creditgate)
end
local fault = type(answer) == 'table' and answer.err or answer
return redis.error_reply('CREDITGATE_FAILED ' .. tostring(fault))
