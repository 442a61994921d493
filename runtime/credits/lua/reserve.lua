-- reserve: sets credits aside for one execution, or says truthfully why not.
-- args: execution key, attempt, fingerprint, dimensions (six tab-separated columns), amount_mc,
--       ttl_ms, final ('1' stores a refusal), outcome bytes
-- answer: {'reserved', amount, available, reserved_at, remaining_ms}
--       | {'refused', reason, available, home, cap or nothing} | what executions.lua answers
-- cap: field, limit, charged, reserved, resets_in_ms (-1 for never), 1 if it may clear else 0

local function lacks_credits(amount)
  local account = S.account
  if amount <= account.available then return nil end
  sweep_before_refusing()
  if amount <= account.available then return nil end
  local home = reserved_at_home()
  if amount <= account.available + home or S.more_due then
    return 'credits_reserved_elsewhere', home
  end
  return account.available + home > 0 and 'execution_too_large' or 'insufficient_credits', home
end

-- Why not, if not: reason, home, the cap.
local function refusal(amount, dimensions, caps)
  local account = S.account
  if account.state ~= 'open' then return 'account_closed', 0 end
  if account.eligible ~= '1' then return 'plan_not_eligible', 0 end
  if is_switched_off(dimensions) then return 'switched_off', 0 end
  if #caps > 0 and amount > 0 then
    if capped(caps, amount) then sweep_before_refusing() end
    local cap = capped(caps, amount)
    if cap then return 'cap_reached', 0, cap end
  end
  return lacks_credits(amount)
end

local function past_attempts(record, attempt)
  if not record then return '' end
  return list_without(list_with(record.past, record.attempt, record.exposed), attempt)
end

V.reserve = function(args, execution)
  local attempt, dimensions = execution.attempt, execution.dimensions
  local amount, ttl, final, bytes = tonumber(args[5]), tonumber(args[6]), args[7] == '1', args[8]
  local outcome = outcome_of(execution.outcome_key)
  if outcome then return existing(outcome, execution.fingerprint) end
  local record, conflict = record_of(execution)
  if conflict then return conflict end
  if is_open(record) then
    if record.attempt ~= attempt then return in_progress(record) end
    return { 'reserved', record.amount, S.account.available, record.reserved_at,
      record.deadline - S.now }
  end

  local caps = matching_caps(dimensions)
  local reason, home, cap = refusal(amount, dimensions, caps)
  if reason then
    if final then conclude_refusal(execution, reason, bytes) end
    return { 'refused', reason, S.account.available, home, cap }
  end
  local slices = take(amount, 'reserved')
  save_reservation(execution.key, { state = 'o', attempt = attempt, amount = amount,
    reserved_at = S.now, deadline = S.now + ttl, slices = slices,
    fingerprint = execution.fingerprint, dims = dims_of(dimensions), note = count_in(caps, amount),
    past = past_attempts(record, attempt) })
  return { 'reserved', amount, S.account.available, S.now, ttl }
end
