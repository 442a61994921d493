-- Reservations, open or expired, and outcomes: their records, read when a call needs them, and
-- changed in memory until write.lua.

-- A reservation: state (o open, x expired), attempt, amount, reserved_at, deadline, slices,
-- fingerprint, the attempts on this id that expired before with exposure and note of each, number
-- of its dimensions, and the windows of caps that it counts in. In place of slices an expired one
-- has the exposure that is booked for it ('exposed:250'), nothing where an earlier release ended it.
local RESERVATION_PATTERN = '^1\t([ox])\t([^\t]+)\t(%d+)\t(%d+)\t(%d+)\t([%w:,]*)\t([^\t]+)\t([^\t]*)\t'
  .. '(%d+)\t([%w:,-]*)$'

local function is_open(record)
  return record and record.state == 'o'
end

local function check_slices(record, where)
  local sum = 0
  for _, slice in ipairs(record.slices) do
    local grant = grant_of(slice.id)
    if not grant or grant.reserved < slice.amount then
      stop('DAMAGED', where .. ': grant ' .. slice.id .. ' holds less than the slice of it')
    end
    sum = sum + slice.amount
  end
  if sum ~= record.amount then stop('DAMAGED', where .. ': slices and amount differ') end
end

local function exposed_in(text)
  return tonumber(string.match(text, '^exposed:(%d+)$')) or 0
end

local function exposed_text(exposed)
  return exposed > 0 and 'exposed:' .. int(exposed) or ''
end

local function read_reservation(key, text)
  local where = K.open .. ' ' .. key
  local fields = fields_of(text, RESERVATION_PATTERN, where)
  local record = {
    state = fields[1], attempt = fields[2], amount = tonumber(fields[3]),
    reserved_at = tonumber(fields[4]), deadline = tonumber(fields[5]),
    slices = slices_of(fields[6]), fingerprint = fields[7], past = fields[8],
    dims = fields[9], note = fields[10],
  }
  if is_open(record) then check_slices(record, where) end
  if not is_open(record) then record.exposed = exposed_in(fields[6]) end
  return record
end

local function reservation_text(record)
  return table.concat({ RECORD_VERSION, record.state, record.attempt, int(record.amount),
    int(record.reserved_at), int(record.deadline),
    is_open(record) and slices_text(record.slices) or exposed_text(record.exposed),
    record.fingerprint, record.past, record.dims, record.note }, '\t')
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
  local raw = fetch_fields(K.open, missing)
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
-- charged, overage, reason, other attempts whose exposure is booked: those with an amount expired, and
-- their own ending, if it comes, corrects it. '!late' or '!orphan' before them is what its settlement
-- was found to be.
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
      charged = whole(fields[4], key), overage = whole('0' .. fields[5], key), reason = fields[6],
      exposed = fields[7], found = '', bytes = string.sub(raw, fields[8]), stored = true }
    local found, others = string.match(raw.exposed, '^!(%a+),?(.*)$')
    if found then raw.found, raw.exposed = found, others end
  end
  S.outcomes[key] = raw
  return raw
end

local function outcome_text(outcome)
  local exposed = outcome.exposed
  if outcome.found ~= '' then
    exposed = '!' .. outcome.found .. (exposed == '' and '' or ',') .. exposed
  end
  return table.concat({ RECORD_VERSION, LETTERS[outcome.state], outcome.attempt,
    outcome.fingerprint, int(outcome.charged), outcome.overage > 0 and int(outcome.overage) or '',
    outcome.reason, exposed }, '\t') .. '\n' .. outcome.bytes
end

-- The values that may be kept of an execution: none where its person was forgotten after it had
-- begun. They begin with whose they are, and how long before its reservation it began; those of
-- earlier releases are told by the person's part of the fingerprint.
local PERSON_PATTERN = '^{"p":"([%w_-]+)%.?(%d*)"'

local function person_part(fingerprint)
  return string.sub(fingerprint, 13, 16)
end

local function values_to_keep(execution, reserved_at, bytes)
  if S.account.forgotten <= S.now or bytes == '' then return bytes end
  local person, waited = string.match(bytes, PERSON_PATTERN)
  local at = fetch('ZSCORE', K.forgotten, person or person_part(execution.fingerprint))
  if not at or reserved_at - (tonumber(waited) or 0) > tonumber(at) then return bytes end
  return ''
end

local function save_outcome(key, outcome)
  S.outcomes[key] = outcome
  S.dirty_outcomes[key] = true
  S.changed = true
end
