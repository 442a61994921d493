-- void: takes back what is left of one grant; close: of all of them, and ends the account.
-- args of void: grant id, reference, actor, reason; of close: reference, actor, reason
-- answers: {'voided', amount, available, 1 if new else 0} | {'unknown'} where there is no such grant
--        | {'closed', 1 if new else 0} | {'conflict', field, stored value}

-- Open reservations keep their slices; what comes home from them is voided then.
local function void_grant(grant, postings)
  local amount = grant.available
  if amount > 0 then move(grant, 'available', 'voided', amount, postings) end
  if grant.voided_at == 0 then grant.voided_at = S.now end
  S.dirty_grants[grant.id] = true
  S.changed = true
  return amount
end

local function is_ended(id)
  local ended = S.account.grants_n - S.account.open_grants
  if fetch('HLEN', K.ended) ~= ended then
    stop('DAMAGED', K.ended .. ': not the ' .. int(ended) .. ' grants that ended')
  end
  return fetch('HEXISTS', K.ended, id) == 1
end

V.void = function(args)
  local id, reference, actor, reason = unpack(args)
  local compared = { { 'grant_id', id } }
  local known, conflict = done_before(reference, 'void', compared)
  if known then return { 'voided', tonumber(known), S.account.available, 0 } end
  if conflict then return conflict end
  local grant, amount, postings = grant_of(id), 0, {}
  if not grant and not is_ended(id) then return { 'unknown' } end
  if grant then amount = void_grant(grant, postings) end
  remember(reference, 'void', compared, int(amount))
  journal({ kind = 'voided', actor = actor, reference = reference, postings = postings,
    detail = id .. ';' .. reason })
  return { 'voided', amount, S.account.available, 1 }
end

V.close = function(args)
  local reference, actor, reason = unpack(args)
  local known, conflict = done_before(reference, 'close', {})
  if conflict then return conflict end
  if known or S.account.state ~= 'open' then return { 'closed', 0 } end
  load_all_grants()
  local postings = {}
  for _, id in ipairs(S.order) do void_grant(S.grants[id], postings) end
  S.account.state, S.dirty_profile = 'closed', true
  remember(reference, 'close', {})
  journal({ kind = 'closed', actor = actor, reference = reference, postings = postings, detail = reason })
  return { 'closed', 1 }
end
