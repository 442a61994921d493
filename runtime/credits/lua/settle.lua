-- settle: charges what an execution really cost, gives back the rest, stores its outcome.
-- args: execution key, attempt, cost_mc, reserved_mc, reserved_at_ms,
--       fingerprint, dimensions, tokens, rate card version, flags, exposure_mc, outcome bytes
-- answer: {'settled', charged, overage, available, flags}
--       | {'dead'} where it is older than the horizon | what executions.lua answers

local function close_other_attempt(execution_key, record)
  local postings = {}
  end_slices(execution_key, record.slices, 0, S.now, postings)
  count_out(record.note, record.amount, 0)
  journal({ kind = 'released', execution_key = execution_key, postings = postings,
    reserved_at = record.reserved_at, dims = record.dims, flags = 'superseded' })
end

V.settle = function(args, outcome_key)
  local execution_key, attempt = args[1], args[2]
  local cost, reserved_mc = tonumber(args[3]), tonumber(args[4])
  local reserved_at = tonumber(args[5])
  local fingerprint, dimensions, tokens, rate_card, flags = unpack(args, 6, 10)
  local exposure = tonumber(args[11])
  if cost > reserved_mc then flags = add_flag(flags, 'quote_exceeded') end
  local outcome = outcome_of(outcome_key)
  if outcome then
    if outcome.attempt == attempt and outcome.state == 'settled' then
      return { 'settled', outcome.charged, outcome.overage, S.account.available, flags }
    end
    local answer = existing(outcome, fingerprint)
    if answer[1] == 'existing' then
      expose_loser(outcome_key, outcome, attempt, { execution_key = execution_key,
        dimensions = dimensions, tokens = tokens, rate_card = rate_card, exposure = cost + exposure })
    end
    return answer
  end
  local record = reservation_now(execution_key)
  local conflict = record and differs_at(record.fingerprint, fingerprint)
  if conflict then return conflict end
  if reserved_at + OUTCOME_TTL_MS <= S.now then return { 'dead' } end

  local postings, unpaid = {}, cost
  local own = record and record.attempt == attempt
  if own and is_open(record) then
    unpaid = end_slices(execution_key, record.slices, cost, S.now, postings)
  else
    flags = add_flag(flags, expired_attempt(record, attempt) and 'late' or 'orphan')
    if is_open(record) then close_other_attempt(execution_key, record) end
  end
  local _, overage = take(unpaid, 'charged', postings)
  if not own or record.note == NOT_NOTED then
    charge_current(dimensions, cost - overage)
  elseif is_open(record) then
    count_out(record.note, record.amount, cost - overage)
  else
    charge_noted(record.note, cost - overage)
  end
  count('overage', overage)
  count('exposure', exposure)
  journal({ kind = 'settled', execution_key = execution_key, postings = postings,
    reserved_at = reserved_at, dims = own and is_open(record) and record.dims or nil,
    dimensions = dimensions, tokens = tokens, rate_card = rate_card,
    flags = flags, overage = overage, exposure = exposure })
  save_reservation(execution_key, false)
  save_outcome(outcome_key, { state = 'settled', attempt = attempt, fingerprint = fingerprint,
    charged = cost - overage, overage = overage, reason = '', exposed = '', bytes = args[12] })
  return { 'settled', cost - overage, overage, S.account.available, flags }
end
