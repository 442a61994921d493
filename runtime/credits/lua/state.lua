-- The account as this script sees it: read once, changed in memory, written once (write.lua).
--
-- account  hash    the fields below, one balance part each
-- grants   hash    grant id -> record, only grants with something available or reserved
-- ended    hash    grant id -> record, grants with nothing left; never changed again
-- open     hash    execution key -> reservation record, open, or expired until the horizon
-- due      zset    execution key -> when its reservation expires, or its expired record may go
-- refs     hash    kind of operation and reference -> what it did; kept for ever
-- journal  stream  0-<seq> -> e: body, c: chain
-- outcome  string  one key an execution: header line, then the caller's bytes; has a TTL
-- and of the bucket that shares the slot: due zset, news set, accounts set, alerts stream.

local SCHEMA = 1

local K = {
  account = KEYS[1], grants = KEYS[2], ended = KEYS[3], open = KEYS[4], due = KEYS[5],
  refs = KEYS[6], journal = KEYS[7], bucket_due = KEYS[8], news = KEYS[9],
  accounts = KEYS[10], alerts = KEYS[11],
}
local ACCOUNT_ID, READ_ONLY, OUTCOME_TTL_MS = ARGV[1], ARGV[2] == 'r', tonumber(ARGV[3])

local S = {
  now = 0,
  account = nil,          -- fields by name, or nil where there is no account
  grants = {}, order = {}, -- by id; in burn order
  open = {},              -- execution key -> reservation, or false where there is none
  damaged = {},           -- execution key -> what is wrong with its record
  outcomes = {},          -- outcome key -> outcome, or false
  entries = {}, alerts = {}, refs = {},
  dirty_grants = {}, dirty_open = {}, dirty_outcomes = {},
  changed = false, more_due = false, next_due_wanted = false,
}
local V = {}              -- the verbs, by name

local TEXT_FIELDS = { 'state', 'plan', 'eligible', 'timezone', 'epoch', 'chain', 'fired' }
local NUMBER_FIELDS = {
  'schema', 'seq', 'last_ms', 'grants_n', 'granted', 'available', 'reserved', 'charged',
  'expired', 'voided', 'overage', 'exposure', 'top', 'open_n',
}

local function load_account()
  local names = {}
  for _, name in ipairs(NUMBER_FIELDS) do names[#names + 1] = name end
  for _, name in ipairs(TEXT_FIELDS) do names[#names + 1] = name end
  local raw = fetch('HMGET', K.account, unpack(names))
  if not raw[1] then
    if redis.call('EXISTS', K.account) == 1 then
      stop('DAMAGED', K.account .. ' schema: missing')
    end
    return nil
  end
  if whole(raw[1], K.account .. ' schema') > SCHEMA then
    stop('SCHEMA', K.account .. ': schema ' .. raw[1] .. ', this release knows ' .. SCHEMA)
  end
  local account = {}
  for i, name in ipairs(names) do
    if not raw[i] then stop('DAMAGED', K.account .. ' ' .. name .. ': missing') end
    account[name] = i <= #NUMBER_FIELDS and whole(raw[i], K.account .. ' ' .. name) or raw[i]
  end
  return account
end

local GRANT_NUMBERS = { 'priority', 'expires', 'created', 'amount', 'available', 'reserved',
  'charged', 'expired', 'voided' }

local function read_grant(id, text)
  local where = K.grants .. ' ' .. id
  local fields = fields_of(text, 12, where)
  local grant = { id = id, number = whole(string.sub(id, 2), where), kind = fields[2],
    reference = fields[12] }
  for i, name in ipairs(GRANT_NUMBERS) do
    grant[name] = whole(fields[i + 2], where .. ' ' .. name)
  end
  return grant
end

local function grant_text(grant)
  local fields = { RECORD_VERSION, grant.kind }
  for _, name in ipairs(GRANT_NUMBERS) do fields[#fields + 1] = int(grant[name]) end
  fields[#fields + 1] = grant.reference
  return table.concat(fields, '\t')
end

-- Law 10: priority, then soonest expiry (never is last), then creation, then id.
local function burns_before(one, other)
  if one.priority ~= other.priority then return one.priority < other.priority end
  if one.expires ~= other.expires then
    if one.expires == 0 or other.expires == 0 then return other.expires == 0 end
    return one.expires < other.expires
  end
  if one.created ~= other.created then return one.created < other.created end
  return one.number < other.number
end

local function load_grants()
  local raw = fetch('HGETALL', K.grants)
  local available, reserved = 0, 0
  for i = 1, #raw, 2 do
    local grant = read_grant(raw[i], raw[i + 1])
    S.grants[grant.id] = grant
    S.order[#S.order + 1] = grant
    available, reserved = available + grant.available, reserved + grant.reserved
  end
  if available ~= S.account.available or reserved ~= S.account.reserved then
    stop('DAMAGED', K.grants .. ': grants hold ' .. int(available) .. ' available and '
      .. int(reserved) .. ' reserved, the account ' .. int(S.account.available) .. ' and '
      .. int(S.account.reserved))
  end
  table.sort(S.order, burns_before)
  if fetch('HLEN', K.open) < S.account.open_n then
    stop('DAMAGED', K.open .. ': holds fewer than the ' .. int(S.account.open_n) .. ' open reservations')
  end
end

-- A reservation record: attempt, amount, when and until when, slices, fingerprint, dimensions
-- (six fields), and the attempts on this id that expired before.
local function read_reservation(key, text)
  local where = K.open .. ' ' .. key
  local fields = fields_of(text, 15, where)
  return {
    state = fields[2], attempt = fields[3], amount = whole(fields[4], where),
    reserved_at = whole(fields[5], where), deadline = whole(fields[6], where),
    slices = slices_of(fields[7], where), fingerprint = fields[8],
    dimensions = table.concat(fields, '\t', 9, 14), past = fields[15],
  }
end

local function reservation_text(record)
  return table.concat({ RECORD_VERSION, record.state, record.attempt, int(record.amount),
    int(record.reserved_at), int(record.deadline), slices_text(record.slices),
    record.fingerprint, record.dimensions, record.past }, '\t')
end

local function load_reservations(keys)
  local missing = {}
  for _, key in ipairs(keys) do
    if S.open[key] == nil then
      S.open[key] = false
      missing[#missing + 1] = key
    end
  end
  if #missing == 0 then return end
  local raw = fetch('HMGET', K.open, unpack(missing))
  for i, key in ipairs(missing) do
    if raw[i] then
      local sound, record = pcall(read_reservation, key, raw[i])
      if sound then
        S.open[key] = record
      elseif type(record) == 'table' then
        S.damaged[key] = record.creditgate
      else
        error(record)
      end
    end
  end
end

-- An outcome: header 'version state attempt fingerprint charged overage at reason', newline, bytes.
local function outcome_of(key)
  local known = S.outcomes[key]
  if known ~= nil then return known end
  local raw = fetch('GET', key)
  if raw then
    local line_end = string.find(raw, '\n', 1, true)
    local fields = fields_of(string.sub(raw, 1, (line_end or 1) - 1), 8, key)
    raw = { state = fields[2], attempt = fields[3], fingerprint = fields[4],
      charged = whole(fields[5], key), overage = whole(fields[6], key), at = whole(fields[7], key),
      reason = fields[8], bytes = string.sub(raw, line_end + 1) }
  end
  S.outcomes[key] = raw
  return raw
end

local function store_outcome(key, outcome)
  outcome.at = S.now
  S.outcomes[key] = outcome
  S.dirty_outcomes[key] = true
  S.changed = true
end

local function is_open(record)
  return record and record.state == 'o'
end

local function save_reservation(key, record)
  local account = S.account
  if is_open(S.open[key]) then account.open_n = account.open_n - 1 end
  if is_open(record) then account.open_n = account.open_n + 1 end
  S.open[key] = record
  S.dirty_open[key] = true
  S.changed = true
end
