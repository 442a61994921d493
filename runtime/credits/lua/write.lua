-- All writes of the script. What could fail was checked before: Redis keeps what a failing
-- script has written, so nothing here may fail after the first write.

local function check_writable()
  if fetch('XLEN', K.journal) == 0 and not S.opened and redis.call('EXISTS', K.journal) == 0 then
    stop('DAMAGED', K.journal .. ': missing')
  end
  for _, key in ipairs({ K.ended, K.refs, K.limits, K.dims }) do fetch('HLEN', key) end
  if #S.alerts > 0 then fetch('XLEN', K.alerts) end
  return fetch('SISMEMBER', K.news, ACCOUNT_ID) == 1, fetch('ZSCORE', K.bucket_due, ACCOUNT_ID)
end

-- The stream refuses to go back, so a journal that is ahead of its account is found here, by
-- the first write that changes anything.
local function write_journal()
  for i, entry in ipairs(S.entries) do
    local add, id = i == 1 and redis.pcall or redis.call, '0-' .. int(entry.seq)
    local answer = add('XADD', K.journal, id, 'e', entry.body, 'c', entry.chain)
    if type(answer) == 'table' and answer.err then
      if not string.find(answer.err, 'ID specified in XADD', 1, true) then error(answer.err) end
      stop('DAMAGED', K.journal .. ' ' .. id .. ': ahead of its account')
    end
  end
end

-- Lua hands a command some 8,000 values at most. Returns the sum of the answers.
local function in_chunks(command, key, values)
  if #values <= CHUNK then return #values > 0 and redis.call(command, key, unpack(values)) or 0 end
  local sum = 0
  for from = 1, #values, CHUNK do
    sum = sum + redis.call(command, key, unpack(values, from, math.min(#values, from + CHUNK - 1)))
  end
  return sum
end

-- Writes changed fields of a hash, and removes others. Returns by how many fields it grew.
local function write_hash(key, values, gone)
  return in_chunks('HSET', key, values) - in_chunks('HDEL', key, gone)
end

local function write_grants(used, ended)
  local gone, values = {}, {}
  for id, text in pairs(ended) do
    gone[#gone + 1] = id
    values[#values + 1], values[#values + 2] = id, text
  end
  write_hash(K.ended, values, {})
  write_hash(K.grants, used, gone)
end

local function write_account(order)
  local account = S.account
  account.last_ms = S.now
  local fields = { 'books', books_text(account) }
  if order or S.opened then fields[3], fields[4] = 'order', order or '' end
  if S.opened or S.dirty_profile then
    fields[#fields + 1], fields[#fields + 2] = 'profile', profile_text(account)
  end
  if S.opened or S.upgraded then fields[#fields + 1], fields[#fields + 2] = 'schema', account.schema end
  if S.opened then redis.call('SADD', K.accounts, ACCOUNT_ID) end
  redis.call('HSET', K.account, unpack(fields))
  if S.dirty_marks then
    redis.call(unpack(account.own_marks and { 'HSET', K.account, 'alerts', account.own_marks }
      or { 'HDEL', K.account, 'alerts' }))
  end
  if S.resumed then redis.call('HDEL', K.account, 'stopped') end
end

local function write_limits()
  local values, gone = {}, {}
  for field, use in pairs(S.dirty_uses) do S.dirty_limits[field] = use and use_text(use) end
  for field, record in pairs(S.dirty_limits) do
    if record then
      values[#values + 1], values[#values + 2] = field, record
    else
      gone[#gone + 1] = field
    end
  end
  S.account.limits_n = S.account.limits_n + write_hash(K.limits, values, gone)
  for reference, record in pairs(S.refs) do redis.call('HSET', K.refs, reference, record) end
  for text, number in pairs(S.new_dims) do redis.call('HSET', K.dims, text, number) end
end

-- Returns the earliest moment at which this script knows that something will be due.
local function write_reservations()
  local earliest
  local values, gone, deadlines = {}, {}, {}
  for key in pairs(S.dirty_open) do
    local record = S.open[key]
    if record then
      local due = is_open(record) and record.deadline or horizon_of(record)
      values[#values + 1], values[#values + 2] = key, reservation_text(record)
      deadlines[#deadlines + 1], deadlines[#deadlines + 2] = int(due), key
      if not earliest or due < earliest then earliest = due end
    else
      gone[#gone + 1] = key
    end
  end
  write_hash(K.open, values, gone)
  in_chunks('ZADD', K.due, deadlines)
  in_chunks('ZREM', K.due, gone)
  return earliest
end

local function earlier(one, other)
  return one and other and math.min(one, other) or one or other
end

-- The bucket's due set holds a lower bound per account; the sweeper's own visit makes it exact.
local function write_due(earliest, registered)
  local account = S.account
  if account.next_expiry > 0 then earliest = earlier(earliest, account.next_expiry) end
  if account.state == 'open' then
    for _, waiting in ipairs(waiting_marks()) do earliest = earlier(earliest, waiting.due) end
  end
  if S.next_due_wanted then
    local first = redis.call('ZRANGE', K.due, 0, 0, 'WITHSCORES')
    earliest = earlier(earliest, tonumber(first[2]))
    if not earliest then return redis.call('ZREM', K.bucket_due, ACCOUNT_ID) end
  elseif registered and (not earliest or tonumber(registered) <= earliest) then
    return
  end
  if earliest then redis.call('ZADD', K.bucket_due, int(earliest), ACCOUNT_ID) end
end

-- By the account's clock, not by an interval: while a failover's clock lags behind it, an outcome
-- must not go before a settlement of the same reservation is past its horizon.
local function write_outcomes()
  for key in pairs(S.dirty_outcomes) do
    local outcome = S.outcomes[key]
    if outcome.stored then
      redis.call('SET', key, outcome_text(outcome), 'KEEPTTL')
    else
      redis.call('SET', key, outcome_text(outcome), 'PXAT', int(S.now + OUTCOME_TTL_MS))
    end
  end
end

-- At maxmemory an ending must still go in: a script whose first write needs no memory runs
-- through, one that begins with HSET is refused. Endings therefore begin with an empty ZREM.
local function write(has_endings)
  if S.stops then return redis.call('HSET', K.account, 'stopped', S.account.stopped) end
  local in_news, registered = check_writable()
  local used, ended = sort_out_grants()
  local order = order_text(ended)
  if has_endings then redis.call('ZREM', K.due, '') end
  write_journal()
  write_limits()
  write_account(order)
  write_grants(used, ended)
  write_due(write_reservations(), registered)
  write_outcomes()
  if #S.entries > 0 and not in_news then redis.call('SADD', K.news, ACCOUNT_ID) end
  write_alerts()
end
