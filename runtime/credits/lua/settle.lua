-- settle: charges what an execution really cost, gives back the rest, stores its outcome.
-- args: execution key, attempt, fingerprint, dimensions, cost_mc, reserved_mc, reserved_at_ms,
--       tokens, rate card version, flags, exposure_mc, free_mc (what it would have cost if it were
--       not free), outcome bytes
-- answer: {'settled', charged, overage, available, flags}
--       | {'dead'} where it is older than the horizon | what executions.lua answers

-- The id has its outcome: this very settlement, or another, which makes this call exposure.
local function settle_after_outcome(execution, outcome, entry, cost)
  if outcome.attempt == execution.attempt and outcome.state == 'settled' then
    return { 'settled', outcome.charged, outcome.overage, S.account.available, entry.flags }
  end
  local answer = existing(outcome, execution.fingerprint)
  if answer[1] == 'existing' then
    entry.exposure = cost + entry.exposure
    expose_loser(execution, outcome, entry)
  end
  return answer
end

local function close_other_attempt(execution, record)
  local postings = {}
  end_slices(execution.key, record.slices, 0, S.now, postings)
  count_out(record.note, record.amount, 0)
  journal({ kind = 'released', execution_key = execution.key, postings = postings,
    reserved_at = record.reserved_at, dims = record.dims, flags = 'superseded' })
end

-- Counts the charge in the windows of caps: those that the reservation noted, or those of now.
local function count_charge(execution, record, own, charged)
  if not own or record.note == NOT_NOTED then
    charge_current(execution.dimensions, charged)
  elseif is_open(record) then
    count_out(record.note, record.amount, charged)
  else
    charge_noted(record.note, charged)
  end
end

V.settle = function(args, execution)
  local cost, reserved_mc, reserved_at = tonumber(args[5]), tonumber(args[6]), tonumber(args[7])
  local entry = { kind = 'settled', execution_key = execution.key, dimensions = execution.dimensions,
    tokens = args[8], rate_card = args[9], flags = args[10], exposure = tonumber(args[11]) }
  local free = tonumber(args[12])
  if free > 0 then entry.detail = args[12] end
  if cost > reserved_mc then entry.flags = add_flag(entry.flags, 'quote_exceeded') end
  local outcome = outcome_of(execution.outcome_key)
  if outcome then return settle_after_outcome(execution, outcome, entry, cost) end
  local record, conflict = record_of(execution)
  if conflict then return conflict end
  if reserved_at + OUTCOME_TTL_MS <= S.now then return { 'dead' } end

  local own, postings, unpaid = record and record.attempt == execution.attempt, {}, cost
  local exposed, booked = expired_with_exposure(record, execution.attempt), 0
  if own and is_open(record) then
    unpaid = end_slices(execution.key, record.slices, cost, S.now, postings)
    entry.dims = record.dims
  else
    local expired
    expired, booked = expired_attempt(record, execution.attempt)
    entry.flags = add_flag(entry.flags, expired and 'late' or 'orphan')
    if is_open(record) then close_other_attempt(execution, record) end
  end
  local _, overage = take(unpaid, 'charged', postings)
  local charged = cost - overage
  -- A free answer counts with what it would have cost, else nothing would ever reach a cap.
  count_charge(execution, record, own, plus(charged, free))
  count('overage', overage)
  correct_exposure(entry, booked)
  entry.postings, entry.reserved_at, entry.overage = postings, reserved_at, overage
  journal(entry)
  save_reservation(execution.key, false)
  save_outcome(execution.outcome_key, { state = 'settled', attempt = execution.attempt,
    fingerprint = execution.fingerprint, charged = charged, overage = overage, reason = '',
    exposed = exposed, bytes = args[13] })
  return { 'settled', charged, overage, S.account.available, entry.flags }
end
