-- rebuild_finish: makes the account of a rebuild that began (rebuild.lua), under a new epoch.
-- args: token, actor, reason, the new epoch, then the values named in ACCOUNT_VALUES, then lists, each
--       behind its length: grants in use (GRANT_VALUES), caps (sort, field, limit, end of the last
--       window in ms since 1970, 0 for never, what it has used), fields of switches
-- answer: {'rebuilt', sequence}

local ACCOUNT_VALUES = { 'schema', 'epoch', 'state', 'plan', 'eligible', 'timezone', 'seq', 'chain',
  'last_ms', 'grants_n', 'granted', 'charged', 'expired', 'voided', 'overage', 'exposure', 'top', 'refs_n',
  'dims_n' }
local ACCOUNT_TEXTS = { epoch = true, state = true, plan = true, eligible = true, timezone = true,
  chain = true }

local function given_account(next_value)
  local account = { caps_n = 0, sorts = '', off_n = 0, marks = '', order = '', available = 0,
    reserved = 0, open_n = 0, open_grants = 0, next_expiry = 0, limits_n = 0 }
  for _, name in ipairs(ACCOUNT_VALUES) do
    local value = next_value()
    account[name] = ACCOUNT_TEXTS[name] and value or whole(value, name)
  end
  account.archived, account.lag_before = account.seq, 0
  return account
end

local function add_given_grants(next_value)
  local grants = {}
  for i = 1, tonumber(next_value()) do grants[i] = given_grant(next_value) end
  table.sort(grants, burns_before)
  for i, grant in ipairs(grants) do
    S.order[i], S.grants[grant.id], S.dirty_grants[grant.id] = grant.id, grant, true
    S.account.available = S.account.available + grant.available
    if grant.expires > 0 then expect_expiry(grant.expires) end
  end
  S.account.open_grants, S.dirty_order, S.all_grants = #grants, true, true
  S.account.order = table.concat(S.order, ',')
end

-- What open reservations held of voided grants has come home by now.
local function end_voided(postings)
  for _, id in ipairs(S.order) do
    local grant = S.grants[id]
    if grant.voided_at > 0 and grant.available > 0 then
      move(grant, 'available', home_of(grant, S.now), grant.available, postings)
    end
  end
end

local function add_given_limits(next_value)
  for _ = 1, tonumber(next_value()) do
    local sort, field, limit = next_value(), next_value(), whole(next_value(), 'limit_mc')
    local ends = whole(next_value(), 'end_ms')
    make_cap(sort, field, limit, whole(next_value(), 'used_mc'), ends)
  end
  for _ = 1, tonumber(next_value()) do
    S.dirty_limits[next_value()] = '1'
    S.account.off_n = S.account.off_n + 1
  end
end

V.rebuild_finish = function(args)
  local token, actor, reason, epoch = unpack(args, 1, 4)
  check_begun(token)
  local next_value = values_from(args, 5)
  S.account, S.opened = given_account(next_value), true
  local account = S.account
  local before = account.epoch
  if account.last_ms - S.now <= MOST_APART_MS then S.now = math.max(S.now, account.last_ms) end
  account.epoch = epoch
  add_given_grants(next_value)
  add_given_limits(next_value)
  if not balances(account.granted, account) then
    stop('DAMAGED', K.account .. ': the parts do not add up to what was granted')
  end
  for key, expected in pairs({ [K.refs] = account.refs_n, [K.dims] = account.dims_n,
    [K.ended] = account.grants_n - account.open_grants }) do
    if fetch('HLEN', key) ~= expected then stop('DAMAGED', key .. ': not all of it was written') end
  end
  local postings = {}
  end_voided(postings)
  remember('epoch:' .. epoch, 'loss_accepted', {}, before)
  journal({ kind = 'repaired', actor = actor, reference = 'epoch:' .. epoch, postings = postings,
    detail = 'rebuilt;' .. before .. ';' .. reason })
  fetch('SISMEMBER', K.accounts, ACCOUNT_ID)
  S.rebuilt.archived = account.archived
  return { 'rebuilt', account.seq }
end
