-- grant: gives credits, once per reference.
-- args: kind, priority, amount_mc, expires_ms (0 = never), reference, actor
-- answer: {'granted', id, 1 if new else 0, available} | {'conflict', field, stored value}
--       | {'refused', reason} | {'too_much', granted so far}

local function grant_reference(reference)
  local key = 'grant\t' .. reference
  local known = S.refs[key] or fetch('HGET', K.refs, key)
  return key, known
end

V.grant = function(args)
  local kind, reference, actor = args[1], args[5], args[6]
  local amount = whole(args[3], 'amount_mc')
  local key, known = grant_reference(reference)
  if known then
    local fields = fields_of(known, 4, K.refs .. ' ' .. key)
    if fields[3] ~= kind then return { 'conflict', 'kind', fields[3] } end
    if fields[4] ~= int(amount) then return { 'conflict', 'amount_mc', fields[4] } end
    return { 'granted', fields[2], 0, S.account.available }
  end
  if S.account.state ~= 'open' then return { 'refused', 'account_closed' } end
  if S.account.eligible ~= '1' then return { 'refused', 'plan_not_eligible' } end
  if S.account.granted + amount > MAX_MC then return { 'too_much', int(S.account.granted) } end

  local account = S.account
  account.grants_n = account.grants_n + 1
  local grant = { id = 'g' .. int(account.grants_n), number = account.grants_n, kind = kind,
    priority = whole(args[2], 'priority'), expires = whole(args[4], 'expires_ms'),
    created = S.now, amount = amount, available = amount, reserved = 0, charged = 0,
    expired = 0, voided = 0, reference = reference }
  S.grants[grant.id] = grant
  S.order[#S.order + 1] = grant
  table.sort(S.order, burns_before)
  S.dirty_grants[grant.id] = true
  S.refs[key] = table.concat({ RECORD_VERSION, grant.id, kind, int(amount) }, '\t')
  account.granted, account.available = account.granted + amount, account.available + amount
  journal({ kind = 'granted', actor = actor, reference = reference,
    postings = { grant.id .. ':na:' .. int(amount) },
    detail = table.concat({ kind, args[2], args[4], int(S.now) }, ';') })
  expire_grants(S.now)
  rearm_marks()
  return { 'granted', grant.id, 1, account.available }
end
