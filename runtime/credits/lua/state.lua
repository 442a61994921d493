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
