-- grant: gives credits, once per reference.
-- args: kind, priority, amount_mc, expires_ms (0 = never), reference, actor
-- answer: {'granted', id, 1 if new else 0, available} | {'conflict', field, stored value}
--       | {'refused', reason} | {'too_much', granted so far}

local REFERENCE_PATTERN = '^1\t(g%d+)\t(%a+)\t(%d+)$'

-- What a reference gave before. Fewer references than grants means that some were lost: then
-- nobody can tell a replayed payment from a new one.
local function given_before(key)
  local known = S.refs[key] or fetch('HGET', K.refs, key)
  if known then return fields_of(known, REFERENCE_PATTERN, K.refs .. ' ' .. key) end
  if fetch('HLEN', K.refs) + S.new_refs < S.account.grants_n then
    stop('DAMAGED', K.refs .. ': holds fewer references than there are grants')
  end
end

V.grant = function(args)
  local kind, reference, actor = args[1], args[5], args[6]
  local priority, amount = whole(args[2], 'priority'), whole(args[3], 'amount_mc')
  local expires, account, key = whole(args[4], 'expires_ms'), S.account, 'grant\t' .. reference
  local known = given_before(key)
  if known then
    if known[2] ~= kind then return { 'conflict', 'kind', known[2] } end
    if known[3] ~= int(amount) then return { 'conflict', 'amount_mc', known[3] } end
    return { 'granted', known[1], 0, account.available }
  end
  if account.state ~= 'open' then return { 'refused', 'account_closed' } end
  if account.eligible ~= '1' then return { 'refused', 'plan_not_eligible' } end
  if account.granted + amount > MAX_MC then return { 'too_much', int(account.granted) } end

  local before = left()
  account.grants_n = account.grants_n + 1
  local grant = { id = 'g' .. int(account.grants_n), number = account.grants_n, kind = kind,
    priority = priority, expires = expires, created = S.now, amount = amount, available = amount,
    reserved = 0, charged = 0, expired = 0, voided = 0, reference = reference }
  add_grant(grant)
  table.sort(S.order, burns_before)
  S.dirty_grants[grant.id] = true
  S.refs[key] = table.concat({ RECORD_VERSION, grant.id, kind, int(amount) }, '\t')
  S.new_refs = S.new_refs + 1
  account.granted, account.available = account.granted + amount, account.available + amount
  journal({ kind = 'granted', actor = actor, reference = reference,
    postings = { grant.id .. ':na:' .. int(amount) },
    detail = table.concat({ kind, int(priority), int(expires) }, ';') })
  expire_grants(S.now)
  rearm_marks(before)
  return { 'granted', grant.id, 1, account.available }
end
