-- reserve: sets credits aside for one execution, or says truthfully why not.
-- args: execution, amount_mc, ttl_ms, final (the reasons, separated by commas, of refusals
--       that are stored as the outcome), outcome bytes
-- answer: {'reserved', amount, available, reserved_at, remaining_ms}
--       | {'refused', reason, available, home, cap or nothing} | what lag.lua and executions.lua answer
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
  caps = amount > 0 and caps_with_defaults(dimensions, caps) or {}
  if #caps > 0 then
    if capped(caps, amount) then sweep_before_refusing() end
    local cap = capped(caps, amount)
    if cap then return 'cap_reached', 0, cap end
  end
  return lacks_credits(amount)
end

local function past_attempts(record, attempt)
  if not record then return '' end
  local past = list_with(record.past, record.attempt, record.exposed, record.note)
  return list_without(past, attempt)
end

local function set_aside(execution, record, amount, ttl, caps)
  save_reservation(execution.key, { state = 'o', attempt = execution.attempt, amount = amount,
    reserved_at = S.now, deadline = S.now + ttl, slices = take(amount, 'reserved'),
    fingerprint = execution.fingerprint, dims = dims_of(execution.dimensions),
    note = count_in(caps, amount), past = past_attempts(record, execution.attempt) })
  return { 'reserved', amount, S.account.available, S.now, ttl }
end

V.reserve = function(execution, record, args)
  local amount, ttl, final, bytes = tonumber(args[1]), tonumber(args[2]), args[3], args[4]
  if is_open(record) then
    if record.attempt ~= execution.attempt then return in_progress(record) end
    return { 'reserved', record.amount, S.account.available, record.reserved_at,
      record.deadline - S.now }
  end
  if MAX_LAG and lag() > MAX_LAG then return too_far_behind() end
  local caps = matching_caps(execution.dimensions)
  local reason, home, cap = refusal(amount, execution.dimensions, caps)
  if not reason then
    return set_aside(execution, record, amount, ttl, matching_caps(execution.dimensions))
  end
  if listed(final, reason) then
    conclude_refusal(execution, S.open[execution.key], reason, bytes)
    if cap then check_cap_reached(cap[1]) end
  end
  return { 'refused', reason, S.account.available, home, cap }
end
