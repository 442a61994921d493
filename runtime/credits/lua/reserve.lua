-- reserve: sets credits aside for one execution, or says truthfully why not.
-- args: outcome key index, execution key, attempt, amount_mc, ttl_ms, fingerprint,
--       dimensions (six tab-separated columns), final ('1' stores a refusal), outcome bytes
-- answer: {'reserved', amount, available, reserved_at, remaining_ms}
--       | {'refused', reason, available, home} | what executions.lua answers

local function refusal(amount)
  local account = S.account
  if account.state ~= 'open' then return 'account_closed', 0 end
  if account.eligible ~= '1' then return 'plan_not_eligible', 0 end
  if amount > account.available then sweep_before_refusing() end
  if amount <= account.available then return nil end
  local home = reserved_at_home()
  if amount <= account.available + home or S.more_due then
    return 'credits_reserved_elsewhere', home
  end
  return account.available + home > 0 and 'execution_too_large' or 'insufficient_credits', home
end

local function past_attempts(record, attempt)
  return record and list_without(list_with(record.past, record.attempt), attempt) or ''
end

V.reserve = function(args)
  local outcome_key, execution_key, attempt = KEYS[tonumber(args[1])], args[2], args[3]
  local amount, ttl = whole(args[4], 'amount_mc'), whole(args[5], 'ttl_ms')
  local fingerprint, dimensions = args[6], args[7]
  local outcome = outcome_of(outcome_key)
  if outcome then return existing(outcome, fingerprint) end
  local record = reservation_now(execution_key)
  local conflict = record and differs_at(record.fingerprint, fingerprint)
  if conflict then return conflict end
  if is_open(record) then
    if record.attempt ~= attempt then return in_progress(record) end
    return { 'reserved', record.amount, S.account.available, record.reserved_at,
      record.deadline - S.now }
  end

  local reason, home = refusal(amount)
  if reason then
    if args[8] == '1' then
      conclude_refusal(outcome_key, execution_key, attempt, fingerprint, dimensions, reason, args[9])
    end
    return { 'refused', reason, S.account.available, home }
  end
  local slices = take(amount, 'reserved')
  save_reservation(execution_key, { state = 'o', attempt = attempt, amount = amount,
    reserved_at = S.now, deadline = S.now + ttl, slices = slices, fingerprint = fingerprint,
    dimensions = dimensions, past = past_attempts(record, attempt) })
  return { 'reserved', amount, S.account.available, S.now, ttl }
end
