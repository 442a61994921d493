-- The account as this script sees it: read once, changed in memory, written once (write.lua).
--
-- account  hash    schema, profile and books: the two records below
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
  account = nil,          -- profile and books by name, or nil where there is no account
  grants = {}, order = {}, -- by id; in burn order
  open = {},              -- execution key -> reservation, or false where there is none
  damaged = {},           -- execution key -> what is wrong with its record
  outcomes = {},          -- outcome key -> outcome, or false
  entries = {}, alerts = {}, refs = {}, new_refs = 0,
  dirty_grants = {}, dirty_open = {}, dirty_outcomes = {},
  changed = false, opened = false, next_due_wanted = false,
  swept_at_most = 0, more_due = false,
}
local V = {}              -- the verbs, by name

-- profile: what the account is. books: its numbers, then the chain and the marks that fired.
-- top is what the last grant left; open_n counts open reservations.
local PROFILE = { 'state', 'plan', 'eligible', 'timezone', 'epoch' }
local PROFILE_PATTERN = '^1\t(%a+)\t([^\t]+)\t([01])\t([^\t]+)\t([^\t]+)$'
local BOOKS = { 'seq', 'last_ms', 'grants_n', 'granted', 'available', 'reserved', 'charged',
  'expired', 'voided', 'overage', 'exposure', 'top', 'open_n' }
local BOOKS_PATTERN = '^1' .. string.rep('\t(%d+)', #BOOKS) .. '\t(%x*)\t([%w,]*)$'

local function balances(whole_mc, parts)
  return whole_mc == parts.available + parts.reserved + parts.charged + parts.expired + parts.voided
end

-- An account whose own record went missing must not be taken for one that never was.
local function unknown_account(found)
  local keys = { K.account, K.grants, K.ended, K.open, K.due, K.refs, K.journal }
  if found or redis.call('EXISTS', unpack(keys)) > 0 then
    stop('DAMAGED', K.account .. ': schema, profile or books missing, while other keys are there')
  end
  return nil
end

local function load_account()
  local raw = fetch('HMGET', K.account, 'schema', 'profile', 'books')
  local schema, profile, books = raw[1], raw[2], raw[3]
  if not schema then return unknown_account(profile or books) end
  if whole(schema, K.account .. ' schema') > SCHEMA then
    stop('SCHEMA', K.account .. ': schema ' .. schema .. ', this release knows ' .. SCHEMA)
  end
  if not (profile and books) then return unknown_account(true) end
  local account = {}
  for i, text in ipairs(fields_of(profile, PROFILE_PATTERN, K.account .. ' profile')) do
    account[PROFILE[i]] = text
  end
  local fields = fields_of(books, BOOKS_PATTERN, K.account .. ' books')
  for i, name in ipairs(BOOKS) do
    account[name] = tonumber(fields[i])
    if account[name] > MAX_MC then stop('DAMAGED', K.account .. ' books: ' .. name .. ' too large') end
  end
  account.chain, account.fired = fields[#BOOKS + 1], fields[#BOOKS + 2]
  if not balances(account.granted, account) then
    stop('DAMAGED', K.account .. ' books: the parts do not add up to what was granted')
  end
  return account
end

local function profile_text(account)
  local fields = { RECORD_VERSION }
  for i, name in ipairs(PROFILE) do fields[i + 1] = account[name] end
  return table.concat(fields, '\t')
end

local function books_text(account)
  local fields = { RECORD_VERSION }
  for i, name in ipairs(BOOKS) do fields[i + 1] = int(account[name]) end
  fields[#BOOKS + 2], fields[#BOOKS + 3] = account.chain, account.fired
  return table.concat(fields, '\t')
end

-- A grant: kind, then these numbers, then its reference. expires is 0 for never.
local GRANT = { 'priority', 'expires', 'created', 'amount', 'available', 'reserved', 'charged',
  'expired', 'voided' }
local GRANT_PATTERN = '^1\t(%a+)' .. string.rep('\t(%d+)', #GRANT) .. '\t([^\t]+)$'

local function read_grant(key, id, text)
  local where = key .. ' ' .. id
  local fields = fields_of(text, GRANT_PATTERN, where)
  local grant = { id = id, number = tonumber(string.sub(id, 2)), kind = fields[1],
    reference = fields[#GRANT + 2] }
  for i, name in ipairs(GRANT) do grant[name] = tonumber(fields[i + 1]) end
  if not grant.number or grant.amount > MAX_MC or not balances(grant.amount, grant) then
    stop('DAMAGED', where .. ': the parts do not add up to what was granted')
  end
  return grant
end

local function grant_text(grant)
  local fields = { RECORD_VERSION, grant.kind }
  for i, name in ipairs(GRANT) do fields[i + 2] = int(grant[name]) end
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

local function add_grant(grant)
  S.grants[grant.id] = grant
  S.order[#S.order + 1] = grant
end

local function load_grants()
  local raw = fetch('HGETALL', K.grants)
  local available, reserved = 0, 0
  for i = 1, #raw, 2 do
    local grant = read_grant(K.grants, raw[i], raw[i + 1])
    add_grant(grant)
    available, reserved = available + grant.available, reserved + grant.reserved
  end
  if available ~= S.account.available or reserved ~= S.account.reserved then
    stop('DAMAGED', K.grants .. ': grants hold ' .. int(available) .. ' available and '
      .. int(reserved) .. ' reserved, the account ' .. int(S.account.available) .. ' and '
      .. int(S.account.reserved))
  end
  table.sort(S.order, burns_before)
end

-- A reservation: state (o open, x expired), attempt, amount, reserved_at, deadline, slices,
-- fingerprint, the attempts on this id that expired before, dimensions (six columns).
local DIMENSIONS_PATTERN = '([^\t]*' .. string.rep('\t[^\t]*', 5) .. ')'
local RESERVATION_PATTERN = '^1\t([ox])\t([^\t]+)\t(%d+)\t(%d+)\t(%d+)\t([%w:,]*)\t([^\t]+)\t([^\t]*)\t'
  .. DIMENSIONS_PATTERN .. '$'

local function is_open(record)
  return record and record.state == 'o'
end

local function check_slices(record, where)
  local held = 0
  for _, slice in ipairs(record.slices) do
    local grant = S.grants[slice.id]
    if not grant or grant.reserved < slice.amount then
      stop('DAMAGED', where .. ': grant ' .. slice.id .. ' holds less than the slice of it')
    end
    held = held + slice.amount
  end
  if held ~= record.amount then stop('DAMAGED', where .. ': slices and amount differ') end
end

local function read_reservation(key, text)
  local where = K.open .. ' ' .. key
  local fields = fields_of(text, RESERVATION_PATTERN, where)
  local record = {
    state = fields[1], attempt = fields[2], amount = whole(fields[3], where),
    reserved_at = whole(fields[4], where), deadline = whole(fields[5], where),
    slices = slices_of(fields[6], where), fingerprint = fields[7], past = fields[8],
    dimensions = fields[9],
  }
  if is_open(record) then check_slices(record, where) end
  return record
end

local function reservation_text(record)
  return table.concat({ RECORD_VERSION, record.state, record.attempt, int(record.amount),
    int(record.reserved_at), int(record.deadline), slices_text(record.slices),
    record.fingerprint, record.past, record.dimensions }, '\t')
end

-- Every record has its deadline in due: where the two disagree, credits would never come home.
local function check_open()
  local records, deadlines = fetch('HLEN', K.open), fetch('ZCARD', K.due)
  if records ~= deadlines or records < S.account.open_n then
    stop('DAMAGED', K.open .. ' and ' .. K.due .. ': ' .. records .. ' records, ' .. deadlines
      .. ' deadlines, ' .. int(S.account.open_n) .. ' open reservations')
  end
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
      elseif type(record) == 'table' and record.creditgate then
        S.damaged[key] = record.creditgate
      else
        error(record)
      end
    end
  end
end

local function save_reservation(key, record)
  local account = S.account
  if is_open(S.open[key]) then account.open_n = account.open_n - 1 end
  if is_open(record) then account.open_n = account.open_n + 1 end
  S.open[key] = record
  S.dirty_open[key] = true
  S.changed = true
end

-- An outcome's header: state (s settled, r released, n not admitted), attempt, fingerprint,
-- charged, overage, reason, other attempts whose exposure is booked.
local OUTCOME_PATTERN = '^1\t([srn])\t([^\t\n]+)\t([^\t\n]+)\t(%d+)\t(%d*)\t([^\t\n]*)\t([^\t\n]*)\n()'
local STATES = { s = 'settled', r = 'released', n = 'refused' }
local LETTERS = { settled = 's', released = 'r', refused = 'n' }

local function outcome_of(key)
  local known = S.outcomes[key]
  if known ~= nil then return known end
  local raw = fetch('GET', key)
  if raw then
    local fields = fields_of(raw, OUTCOME_PATTERN, key)
    raw = { state = STATES[fields[1]], attempt = fields[2], fingerprint = fields[3],
      charged = whole(fields[4], key), overage = tonumber(fields[5]) or 0, reason = fields[6],
      exposed = fields[7], bytes = string.sub(raw, fields[8]), stored = true }
  end
  S.outcomes[key] = raw
  return raw
end

local function outcome_text(outcome)
  return table.concat({ RECORD_VERSION, LETTERS[outcome.state], outcome.attempt,
    outcome.fingerprint, int(outcome.charged), outcome.overage > 0 and int(outcome.overage) or '',
    outcome.reason, outcome.exposed }, '\t') .. '\n' .. outcome.bytes
end

local function save_outcome(key, outcome)
  S.outcomes[key] = outcome
  S.dirty_outcomes[key] = true
  S.changed = true
end
