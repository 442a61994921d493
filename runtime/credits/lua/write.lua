-- All writes of the script. What could fail was checked before: Redis keeps what a failing
-- script has written, so nothing here may fail after the first write.

local function check_writable()
  if fetch('XLEN', K.journal) == 0 and not S.opened and redis.call('EXISTS', K.journal) == 0 then
    stop('DAMAGED', K.journal .. ': missing')
  end
  fetch('HLEN', K.ended)
  fetch('HLEN', K.refs)
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

local function write_account()
  S.account.last_ms = S.now
  if S.opened then
    redis.call('HSET', K.account, 'schema', SCHEMA, 'profile', profile_text(S.account),
      'books', books_text(S.account))
    redis.call('SADD', K.accounts, ACCOUNT_ID)
  else
    redis.call('HSET', K.account, 'books', books_text(S.account))
  end
end

local function write_grants()
  for id in pairs(S.dirty_grants) do
    local grant = S.grants[id]
    if grant.available + grant.reserved > 0 then
      redis.call('HSET', K.grants, id, grant_text(grant))
    else
      redis.call('HSET', K.ended, id, grant_text(grant))
      redis.call('HDEL', K.grants, id)
    end
  end
  for key, record in pairs(S.refs) do redis.call('HSET', K.refs, key, record) end
end

-- Returns the earliest moment at which this script knows that something will be due.
local function write_reservations()
  local earliest
  for key in pairs(S.dirty_open) do
    local record = S.open[key]
    if record then
      local due = is_open(record) and record.deadline or horizon_of(record)
      redis.call('HSET', K.open, key, reservation_text(record))
      redis.call('ZADD', K.due, int(due), key)
      if not earliest or due < earliest then earliest = due end
    else
      redis.call('HDEL', K.open, key)
      redis.call('ZREM', K.due, key)
    end
  end
  return earliest
end

local function earlier(one, other)
  return one and other and math.min(one, other) or one or other
end

-- The bucket's due set holds a lower bound per account; the sweeper's own visit makes it exact.
local function write_due(earliest, registered)
  for _, grant in ipairs(S.order) do
    if grant.expires > 0 and grant.available > 0 then earliest = earlier(earliest, grant.expires) end
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
  local in_news, registered = check_writable()
  if has_endings then redis.call('ZREM', K.due, '') end
  write_journal()
  write_account()
  write_grants()
  write_due(write_reservations(), registered)
  write_outcomes()
  if #S.entries > 0 and not in_news then redis.call('SADD', K.news, ACCOUNT_ID) end
  for _, alert in ipairs(S.alerts) do
    redis.call('XADD', K.alerts, '*', 'account', ACCOUNT_ID, 'mark', alert.name,
      'threshold_mc', int(alert.threshold), 'left_mc', int(alert.left), 'at_ms', int(S.now))
  end
end
