-- settle: charges what an execution really cost, gives back the rest, stores its outcome.
-- args: execution, cost_mc, reserved_mc, reserved_at_ms, tokens, rate card version, flags,
--       exposure_mc, free_mc (what it would have cost if it were not free), reason (why outputs fell
--       back, or ''), choices (journal.py), outcome bytes
-- answer: {'settled', charged, overage, available, flags}
--       | {'dead'} where it is older than the horizon | {'more_due'} where nothing was charged, since
--         more reservations are due to come home than one script ends: to be asked again
--       | what executions.lua answers

local function bill_of(args)
  local cost, reserved, reserved_at, tokens, rate_card, flags, exposure, free, reason, choices, bytes
    = unpack(args)
  local bill = { cost = tonumber(cost), reserved_at = tonumber(reserved_at), tokens = tokens,
    rate_card = rate_card, flags = flags, exposure = tonumber(exposure), free = tonumber(free),
    reason = reason, choices = choices, bytes = bytes }
  if bill.cost > tonumber(reserved) then bill.flags = add_flag(flags, 'quote_exceeded') end
  return bill
end

local function close_other_attempt(execution, record)
  local postings = {}
  end_slices(execution.key, record.slices, 0, S.now, postings)
  count_out(record.note, record.amount, 0)
  journal({ kind = 'released', execution_key = execution.key, postings = postings,
    reserved_at = record.reserved_at, dims = record.dims, flags = 'superseded' })
end

-- Credits that are due to come home must not be the reason for overage. Returns whether they would
-- be, for more are due than one script ends.
local function pays_too_early(execution, record, cost)
  local set_aside = is_open(record) and record.attempt == execution.attempt and record.amount or 0
  if cost <= S.account.available + set_aside then return false end
  sweep_before_refusing()
  return S.more_due and cost > S.account.available + set_aside
end

-- Ends what is open for the id. Returns what of the bill its own reservation did not pay, then what
-- is known of it where it had expired: what settle found it to be, the exposure booked, its note.
local function end_reservation(execution, record, bill, entry)
  if is_open(record) and record.attempt == execution.attempt then
    entry.dims = record.dims
    return end_slices(execution.key, record.slices, bill.cost, S.now, entry.postings), '', 0, record.note
  end
  local expired, booked, note = expired_attempt(execution, record)
  local found = expired and 'late' or 'orphan'
  entry.flags = add_flag(entry.flags, found)
  if is_open(record) then close_other_attempt(execution, record) end
  return bill.cost, found, booked, note
end

-- Counts the charge in the windows of caps: those that its reservation noted, or those of now.
local function count_charge(execution, record, found, note, charged)
  if note == NOT_NOTED then
    charge_current(execution.dimensions, charged)
  elseif found == '' then
    count_out(note, record.amount, charged)
  else
    charge_noted(note, charged)
  end
end

local function settled(charged, overage, flags)
  return { 'settled', charged, overage, S.account.available, flags }
end

AGAIN.settle = function(outcome, args)
  local flags = bill_of(args).flags
  if outcome.found ~= '' then flags = add_flag(flags, outcome.found) end
  return settled(outcome.charged, outcome.overage, flags)
end

LOST.settle = function(execution, outcome, args)
  local bill = bill_of(args)
  expose_loser(execution, outcome, { execution_key = execution.key,
    dimensions = execution.dimensions, tokens = bill.tokens, rate_card = bill.rate_card,
    exposure = bill.cost + bill.exposure, detail = bill.free > 0 and int(bill.free) or nil })
end

-- What readers of schema 1 would not expect.
local function tell_more(entry, bill)
  entry.reason = bill.reason
  if bill.choices ~= '' then entry.detail = (entry.detail or '') .. ';' .. bill.choices end
end

V.settle = function(execution, record, args)
  local bill = bill_of(args)
  if bill.reserved_at + OUTCOME_TTL_MS <= S.now then return { 'dead' } end
  if pays_too_early(execution, record, bill.cost) then return { 'more_due' } end
  local entry = { kind = 'settled', execution_key = execution.key, postings = {},
    dimensions = execution.dimensions, tokens = bill.tokens, rate_card = bill.rate_card,
    flags = bill.flags, exposure = bill.exposure, reserved_at = bill.reserved_at }
  if bill.free > 0 then entry.detail = int(bill.free) end
  if S.account.schema > 1 then tell_more(entry, bill) end

  local unpaid, found, booked, note = end_reservation(execution, record, bill, entry)
  local _, overage = take(unpaid, 'charged', entry.postings)
  local charged = bill.cost - overage
  -- A free answer counts with what it would have cost, else nothing would ever reach a cap.
  count_charge(execution, record, found, note, plus(charged, bill.free))
  check_caps(execution.dimensions)
  count('overage', overage)
  correct_exposure(entry, booked)
  entry.overage = overage
  journal(entry)
  save_reservation(execution.key, false)
  save_outcome(execution.outcome_key, { state = 'settled', attempt = execution.attempt,
    fingerprint = execution.fingerprint, charged = charged, overage = overage, reason = '', found = found,
    exposed = expired_with_exposure(record, execution.attempt),
    bytes = values_to_keep(execution, bill.reserved_at, bill.bytes) })
  return settled(charged, overage, entry.flags)
end
