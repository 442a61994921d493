-- settle: charges what an execution really cost, gives back the rest, stores its outcome.
-- args: execution, cost_mc, reserved_mc, reserved_at_ms, tokens, rate card version, flags,
--       exposure_mc, free_mc (what it would have cost if it were not free), outcome bytes
-- answer: {'settled', charged, overage, available, flags}
--       | {'dead'} where it is older than the horizon | what executions.lua answers

local function bill_of(args)
  local cost, reserved, reserved_at, tokens, rate_card, flags, exposure, free, bytes = unpack(args)
  local bill = { cost = tonumber(cost), reserved_at = tonumber(reserved_at), tokens = tokens,
    rate_card = rate_card, flags = flags, exposure = tonumber(exposure), free = tonumber(free),
    bytes = bytes }
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

-- Ends what is open for the id. Returns what of the bill its own reservation did not pay, and the
-- exposure that was booked as it expired.
local function end_reservation(execution, record, bill, entry)
  if is_open(record) and record.attempt == execution.attempt then
    entry.dims = record.dims
    return end_slices(execution.key, record.slices, bill.cost, S.now, entry.postings), 0
  end
  local expired, booked = expired_attempt(execution, record)
  entry.flags = add_flag(entry.flags, expired and 'late' or 'orphan')
  if is_open(record) then close_other_attempt(execution, record) end
  return bill.cost, booked
end

-- Counts the charge in the windows of caps: those that the reservation noted, or those of now.
local function count_charge(execution, record, charged)
  if not record or record.attempt ~= execution.attempt or record.note == NOT_NOTED then
    charge_current(execution.dimensions, charged)
  elseif is_open(record) then
    count_out(record.note, record.amount, charged)
  else
    charge_noted(record.note, charged)
  end
end

local function settled(charged, overage, flags)
  return { 'settled', charged, overage, S.account.available, flags }
end

AGAIN.settle = function(outcome, args)
  return settled(outcome.charged, outcome.overage, bill_of(args).flags)
end

LOST.settle = function(execution, outcome, args)
  local bill = bill_of(args)
  expose_loser(execution, outcome, { execution_key = execution.key,
    dimensions = execution.dimensions, tokens = bill.tokens, rate_card = bill.rate_card,
    exposure = bill.cost + bill.exposure, detail = bill.free > 0 and int(bill.free) or nil })
end

V.settle = function(execution, record, args)
  local bill = bill_of(args)
  if bill.reserved_at + OUTCOME_TTL_MS <= S.now then return { 'dead' } end
  local entry = { kind = 'settled', execution_key = execution.key, postings = {},
    dimensions = execution.dimensions, tokens = bill.tokens, rate_card = bill.rate_card,
    flags = bill.flags, exposure = bill.exposure, reserved_at = bill.reserved_at }
  if bill.free > 0 then entry.detail = int(bill.free) end

  local unpaid, booked = end_reservation(execution, record, bill, entry)
  local _, overage = take(unpaid, 'charged', entry.postings)
  local charged = bill.cost - overage
  -- A free answer counts with what it would have cost, else nothing would ever reach a cap.
  count_charge(execution, record, plus(charged, bill.free))
  count('overage', overage)
  correct_exposure(entry, booked)
  entry.overage = overage
  journal(entry)
  save_reservation(execution.key, false)
  save_outcome(execution.outcome_key, { state = 'settled', attempt = execution.attempt,
    fingerprint = execution.fingerprint, charged = charged, overage = overage, reason = '',
    exposed = expired_with_exposure(record, execution.attempt), bytes = bill.bytes })
  return settled(charged, overage, entry.flags)
end
