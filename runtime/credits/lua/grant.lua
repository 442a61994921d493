-- grant: gives credits, once per reference.
-- args: kind, priority, amount_mc, expires_ms (0 = never), reference, actor,
--       key of the execution that it corrects, or ''
-- answer: {'granted', id, 1 if new else 0, available} | {'conflict', field, stored value}
--       | {'refused', reason} | {'too_much', granted so far} | {'too_many', the most open grants}

-- Each open grant may be read and written by one script: they are as many as it can in good time.
local MOST_OPEN_GRANTS = 1000

-- Law 10: priority, then soonest expiry (never is last), then creation, then id.
local function burns_before(one, other)
  if one.priority ~= other.priority then return one.priority < other.priority end
  if one.expires ~= other.expires then
    if one.expires == 0 or other.expires == 0 then return other.expires == 0 end
    return one.expires < other.expires
  end
  if one.created ~= other.created then return one.created < other.created end
  return one.number < other.number
end

-- Where a new grant burns among the ones in use, by looking at a few of them.
local function place_of(grant)
  local from, to = 1, 1
  while id_at(to) do to = to + 1 end
  while from < to do
    local middle = math.floor((from + to) / 2)
    if burns_before(grant, grant_at(middle)) then to = middle else from = middle + 1 end
  end
  return from
end

local function add_grant(grant)
  table.insert(S.order, place_of(grant), grant.id)
  S.grants[grant.id] = grant
  S.dirty_grants[grant.id], S.dirty_order, S.burns_from = true, true, 1
  local account = S.account
  account.grants_n, account.open_grants = account.grants_n + 1, account.open_grants + 1
  account.granted, account.available = account.granted + grant.amount, account.available + grant.amount
  if grant.expires > 0 then expect_expiry(grant.expires) end
end

V.grant = function(args)
  local kind, reference, actor = args[1], args[5], args[6]
  local priority, amount = whole(args[2], 'priority'), whole(args[3], 'amount_mc')
  local expires, account = whole(args[4], 'expires_ms'), S.account
  local compared = { { 'amount_mc', int(amount) } }
  local known, conflict = done_before(reference, kind, compared)
  if known then return { 'granted', known, 0, account.available } end
  if conflict then return conflict end
  if account.state ~= 'open' then return { 'refused', 'account_closed' } end
  if account.eligible ~= '1' then return { 'refused', 'plan_not_eligible' } end
  if account.granted + amount > MAX_MC then return { 'too_much', int(account.granted) } end
  if account.open_grants >= MOST_OPEN_GRANTS then return { 'too_many', MOST_OPEN_GRANTS } end

  local before, number = left(), account.grants_n + 1
  local grant = { id = 'g' .. int(number), number = number, kind = kind, priority = priority,
    expires = expires, created = S.now, amount = amount, available = amount, reserved = 0,
    charged = 0, expired = 0, voided = 0, voided_at = 0, reference = reference }
  add_grant(grant)
  remember(reference, kind, compared, grant.id)
  journal({ kind = 'granted', actor = actor, reference = reference,
    execution_key = args[7], postings = { grant.id .. ':na:' .. int(amount) },
    detail = table.concat({ kind, int(priority), int(expires) }, ';') })
  expire_grants(S.now)
  rearm_marks(before)
  return { 'granted', grant.id, 1, account.available }
end
