-- Grants in use, read when they are needed: the account's order has their ids in burn order, so
-- that an account with sixty of them costs a reserve hardly more than one with a single grant.

-- A grant: kind, then these numbers, then its reference. expires is 0 for never, voided_at 0
-- where it is not voided.
local GRANT = { 'priority', 'expires', 'created', 'amount', 'available', 'reserved', 'charged',
  'expired', 'voided', 'voided_at' }
local GRANT_PATTERN = '^1\t(%a+)' .. string.rep('\t(%d+)', #GRANT) .. '\t([^\t]+)$'

local function read_grant(key, id, text)
  local where = key .. ' ' .. id
  local fields = fields_of(text, GRANT_PATTERN, where)
  local grant = { id = id, number = tonumber(string.sub(id, 2)), kind = fields[1],
    reference = fields[#GRANT + 2] }
  for i, name in ipairs(GRANT) do grant[name] = tonumber(fields[i + 1]) end
  if not grant.number or grant.amount > MAX_MC or not balances(grant.amount, grant) then
    stop('DAMAGED', where .. ': the parts do not add up to what was granted')
  end
  return grant
end

local function grant_text(grant)
  local fields = { RECORD_VERSION, grant.kind }
  for i, name in ipairs(GRANT) do fields[i + 2] = int(grant[name]) end
  fields[#fields + 1] = grant.reference
  return table.concat(fields, '\t')
end

-- A grant in use, or nil where there is none of this id.
local function grant_of(id)
  local grant = S.grants[id]
  if grant == nil then
    local raw = fetch('HGET', K.grants, id)
    grant = raw and read_grant(K.grants, id, raw)
    S.grants[id] = grant
  end
  return grant or nil
end

-- The i-th id in burn order, or nil behind the last.
local function id_at(i)
  while #S.order < i do
    local _, to, id = string.find(S.account.order, '([^,]+)', S.order_from)
    if not id then return nil end
    S.order_from = to + 1
    S.order[#S.order + 1] = id
  end
  return S.order[i]
end

local function grant_at(i)
  local id = id_at(i)
  if not id then return nil end
  return grant_of(id) or stop('DAMAGED', K.grants .. ' ' .. id .. ': missing')
end

local function check_grants()
  local found = fetch('HLEN', K.grants)
  if found ~= S.account.open_grants then
    stop('DAMAGED', K.grants .. ': ' .. found .. ' grants, expected ' .. int(S.account.open_grants))
  end
end

-- For what concerns all of them: expiry, refusals for want of credits, closing.
local function load_all_grants()
  if S.all_grants then return end
  local raw = fetch('HGETALL', K.grants)
  for i = 1, #raw, 2 do
    if S.grants[raw[i]] == nil then S.grants[raw[i]] = read_grant(K.grants, raw[i], raw[i + 1]) end
  end
  local available, reserved, i = 0, 0, 1
  local grant = grant_at(i)
  while grant do
    available, reserved = available + grant.available, reserved + grant.reserved
    i = i + 1
    grant = grant_at(i)
  end
  if available ~= S.account.available or reserved ~= S.account.reserved then
    stop('DAMAGED', K.grants .. ': grants hold ' .. int(available) .. ' available and '
      .. int(reserved) .. ' reserved, the account ' .. int(S.account.available) .. ' and '
      .. int(S.account.reserved))
  end
  S.all_grants = true
end

-- What running executions will give back of grants that can still be used, at most.
local function reserved_at_home()
  load_all_grants()
  local home = 0
  for _, id in ipairs(S.order) do
    local grant = S.grants[id]
    if grant.voided_at == 0 and (grant.expires == 0 or grant.expires > S.now) then
      home = home + grant.reserved
    end
  end
  return home
end

-- When the first grant expires after this moment, 0 for never.
local function next_expiry_after(at)
  local soonest = 0
  for _, id in ipairs(S.order) do
    local expires = S.grants[id].expires
    if expires > at and (soonest == 0 or expires < soonest) then soonest = expires end
  end
  return soonest
end

-- The order without the grants that have ended, or nil where it is as it was.
local function order_text(ended)
  if not S.dirty_order and not next(ended) then return nil end
  local order, gone = S.dirty_order and table.concat(S.order, ',') or S.account.order, {}
  for id in pairs(ended) do gone[id .. ','] = '' end
  order = string.gsub(order .. ',', '[^,]+,', gone)
  return string.sub(order, 1, -2)
end

-- Grants that are used up leave the ones in use, and are not met again until a balance is asked for.
local function sort_out_grants()
  local used, ended = {}, {}
  for id in pairs(S.dirty_grants) do
    local grant = S.grants[id]
    if grant.available + grant.reserved > 0 then
      used[#used + 1], used[#used + 2] = id, grant_text(grant)
    else
      ended[id] = grant_text(grant)
      S.account.open_grants = S.account.open_grants - 1
    end
  end
  return used, ended
end
