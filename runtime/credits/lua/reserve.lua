-- reserve: sets credits aside for one execution, or says truthfully why not.
-- args: outcome key index, execution key, attempt, amount_mc, ttl_ms, fingerprint,
--       dimensions (six tab-separated columns), final ('1' stores a refusal), outcome bytes
-- answer: {'reserved', amount, available, reserved_at, remaining_ms}
--       | {'refused', reason, available, home} | {'in_progress', remaining_ms}
--       | {'existing', state, charged, overage, reason, bytes} | {'conflict', part of fingerprint}

-- The caller's five dimensions, compared part by part on a repeated id.
local function differs_at(stored, given)
  if stored == given then return nil end
  local one, other = split(stored, '.'), split(given, '.')
  for i = 1, math.max(#one, #other) do
    if one[i] ~= other[i] then return { 'conflict', i } end
  end
end

local function existing(outcome, fingerprint)
  return differs_at(outcome.fingerprint, fingerprint)
    or { 'existing', outcome.state, outcome.charged, outcome.overage, outcome.reason, outcome.bytes }
end

local function in_progress(record)
  return { 'in_progress', record.deadline - S.now }
end

local function conclude_refusal(key, execution_key, attempt, fingerprint, dimensions, reason, bytes)
  store_outcome(key, { state = 'refused', attempt = attempt, fingerprint = fingerprint,
    charged = 0, overage = 0, reason = reason, bytes = bytes })
  journal({ kind = 'refused', execution_key = execution_key, dimensions = dimensions,
    reason = reason })
  check_exhausted(reason)
end

local function refusal(amount)
  local account = S.account
  if account.state ~= 'open' then return 'account_closed', 0 end
  if account.eligible ~= '1' then return 'plan_not_eligible', 0 end
  if amount > account.available and S.more_due then
    S.more_due = sweep(SWEEP_BEFORE_REFUSING)
  end
  if amount <= account.available then return nil end
  local home = reserved_at_home()
  if amount <= account.available + home or S.more_due then
    return 'credits_reserved_elsewhere', home
  end
  return account.available + home > 0 and 'execution_too_large' or 'insufficient_credits', home
end

V.reserve = function(args)
  local outcome_key, execution_key, attempt = KEYS[tonumber(args[1])], args[2], args[3]
  local amount, ttl = whole(args[4], 'amount_mc'), whole(args[5], 'ttl_ms')
  local fingerprint, dimensions = args[6], args[7]
  local outcome = outcome_of(outcome_key)
  if outcome then return existing(outcome, fingerprint) end
  local record = reservation_now(execution_key)
  if record then
    local conflict = differs_at(record.fingerprint, fingerprint)
    if conflict then return conflict end
  end
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
  local past = record and (record.past == '' and record.attempt or record.past .. ',' .. record.attempt)
  local slices = take(amount, 'reserved')
  save_reservation(execution_key, { state = 'o', attempt = attempt, amount = amount,
    reserved_at = S.now, deadline = S.now + ttl, slices = slices, fingerprint = fingerprint,
    dimensions = dimensions, past = past or '' })
  return { 'reserved', amount, S.account.available, S.now, ttl }
end
