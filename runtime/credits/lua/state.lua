-- The account as this script sees it: read once, changed in memory, written once (write.lua).
--
-- account  hash    schema, profile, books and order: the records below; archived: the sequence up
--                  to which the archive has the journal; stopped: why nothing is booked (stop.lua);
--                  forgotten: until when somebody in the key of that name counts; alerts: the
--                  account's own alert marks (alert_marks.lua)
-- grants   hash    grant id -> record, only grants with something available or reserved
-- ended    hash    grant id -> record, grants with nothing left; never changed again
-- open     hash    execution key -> reservation record, open, or expired until the horizon
-- due      zset    execution key -> when its reservation expires, or its expired record may go
-- refs     hash    reference -> what it did; kept for ever
-- limits   hash    caps, their windows, switches: see limits.lua
-- dims     hash    dimensions of a charge -> the number under which the journal has them
-- journal  stream  0-<seq> -> e: body, c: chain
-- forgotten zset   person (erasure.lua) -> when the person was forgotten; has a TTL
-- outcome  string  one key an execution: header line, then the caller's bytes; has a TTL
-- and of the bucket that shares the slot: due zset, news set, accounts set, alerts stream.

local SCHEMA = 2 -- the highest that this release reads: runtime/credits/schema.py
local SCHEMAS = { ['1'] = 1, ['2'] = 2 }

local K = {
  account = KEYS[1], grants = KEYS[2], ended = KEYS[3], open = KEYS[4], due = KEYS[5],
  refs = KEYS[6], limits = KEYS[7], dims = KEYS[8], journal = KEYS[9], forgotten = KEYS[10],
  bucket_due = KEYS[11], news = KEYS[12], accounts = KEYS[13], alerts = KEYS[14],
}
local ACCOUNT_ID, READ_ONLY, OUTCOME_TTL_MS = ARGV[1], ARGV[2] == 'r', tonumber(ARGV[3])
local WINDOWS = ARGV[10]   -- of the account's time zone, where the caller knows it: windows.lua

local S = {
  now = 0,
  account = nil,           -- profile and books by name, or nil where there is no account
  grants = {}, order = {}, order_from = 1, all_grants = false, burns_from = 1, -- see grants.lua
  open = {},               -- execution key -> reservation, or false where there is none
  damaged = {},            -- execution key -> what is wrong with its record
  outcomes = {},           -- outcome key -> outcome, or false
  entries = {}, alerts = {}, refs = {}, dims = {}, new_dims = {}, new_dims_n = 0,
  new_refs_n = 0,
  dirty_grants = {}, dirty_open = {}, dirty_outcomes = {}, dirty_limits = {}, dirty_uses = {},
  dirty_order = false,
  changed = false, opened = false, dirty_profile = false, next_due_wanted = false,
  swept_at_most = 0, more_due = false,
}
local V = {}               -- the verbs, by name; what those of executions are told: executions.lua

-- profile: what the account is, and how many caps of which sort and switches it has.
local PROFILE = { 'state', 'plan', 'eligible', 'timezone', 'epoch', 'caps_n', 'sorts', 'off_n' }
local PROFILE_PATTERN = '^1\t(%a+)\t([^\t]+)\t([01])\t([^\t]+)\t([^\t]+)\t(%d+)\t([%w=,]*)\t(%d+)$'

-- books: its numbers, then the chain, and the marks that were reached (marks.lua).
-- top is what the last grant left, open_n and open_grants count reservations and grants in use,
-- next_expiry is when the first of those grants expires, 0 where none will.
local BOOKS = { 'seq', 'last_ms', 'grants_n', 'granted', 'available', 'reserved', 'charged',
  'expired', 'voided', 'overage', 'exposure', 'top', 'open_n', 'open_grants', 'next_expiry',
  'refs_n', 'dims_n', 'limits_n' }
local BOOKS_PATTERN = '^1' .. string.rep('\t(%d+)', #BOOKS) .. '\t(%x*)\t([%w:,]*)$'

local function balances(whole_mc, parts)
  return whole_mc == parts.available + parts.reserved + parts.charged + parts.expired + parts.voided
end

-- An account that lost its record must not be taken for one that was never opened.
local function unknown_account(found)
  local keys = { K.account, K.grants, K.ended, K.open, K.due, K.refs, K.limits, K.dims, K.journal }
  if found or redis.call('EXISTS', unpack(keys)) > 0 then
    stop('DAMAGED', K.account .. ': schema, profile, books or order missing, while other keys are there')
  end
  return nil
end

local function archived_in(text)
  local number = #text < 16 and string.find(text, '^%d+$') and tonumber(text)
  return number or whole(text, K.account .. ' archived')
end

local function load_account()
  local raw = fetch('HMGET', K.account, 'schema', 'profile', 'books', 'order', 'archived', 'stopped',
    'forgotten', 'alerts')
  local schema, profile, books, order = raw[1], raw[2], raw[3], raw[4]
  if not schema then return unknown_account(profile or books or order) end
  local number = SCHEMAS[schema] or whole(schema, K.account .. ' schema')
  if number > SCHEMA then
    stop('SCHEMA', K.account .. ': schema ' .. schema .. string.format(NEWER, SCHEMA))
  end
  if not (profile and books and order) then return unknown_account(true) end
  local account = { schema = number, order = order, stopped = raw[6], forgotten = tonumber(raw[7]) or 0,
    own_marks = raw[8] or nil }
  account.archived = raw[5] and archived_in(raw[5]) or 0
  for i, text in ipairs(fields_of(profile, PROFILE_PATTERN, K.account .. ' profile')) do
    account[PROFILE[i]] = text
  end
  account.caps_n, account.off_n = tonumber(account.caps_n), tonumber(account.off_n)
  local fields = fields_of(books, BOOKS_PATTERN, K.account .. ' books')
  for i, name in ipairs(BOOKS) do
    local number = tonumber(fields[i])
    if number > MAX_MC then stop('DAMAGED', K.account .. ' books: ' .. name .. ' too large') end
    account[name] = number
  end
  account.lag_before = account.seq - account.archived
  account.chain, account.marks = fields[#BOOKS + 1], fields[#BOOKS + 2]
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
  fields[#BOOKS + 2], fields[#BOOKS + 3] = account.chain, account.marks
  return table.concat(fields, '\t')
end
