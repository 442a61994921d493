-- Credits move between the parts of a balance through move() alone, so that grant and account
-- can't disagree, and each movement that ends something is journaled.

local LETTER = { available = 'a', reserved = 'r', charged = 'c', expired = 'e', voided = 'v' }
local NO_DIMENSIONS = '\t\t\t\t\t'

local function move(grant, from, to, amount, postings)
  grant[from], grant[to] = grant[from] - amount, grant[to] + amount
  S.account[from], S.account[to] = S.account[from] - amount, S.account[to] + amount
  S.dirty_grants[grant.id] = true
  S.changed = true
  if postings then
    postings[#postings + 1] = grant.id .. ':' .. LETTER[from] .. LETTER[to] .. ':' .. int(amount)
  end
end

-- One journal entry. Its columns are described in runtime/credits/journal.py.
local function journal(entry)
  local account = S.account
  account.seq = account.seq + 1
  local effective = entry.effective_at
  local body = table.concat({
    RECORD_VERSION, account.epoch, int(account.seq), entry.kind, int(S.now),
    effective and effective ~= S.now and int(effective) or '',
    entry.actor or '', entry.reference or '', entry.execution_key or '',
    entry.postings and table.concat(entry.postings, ',') or '',
    entry.reserved_at and int(entry.reserved_at) or '',
    entry.slices and slices_text(entry.slices) or '',
    entry.dimensions or NO_DIMENSIONS, entry.tokens or '', entry.rate_card or '',
    entry.flags or '', entry.reason or '',
    entry.overage and entry.overage > 0 and int(entry.overage) or '',
    entry.exposure and entry.exposure > 0 and int(entry.exposure) or '',
    entry.detail or '',
  }, '\t')
  account.chain = redis.sha1hex(account.chain .. body)
  S.entries[#S.entries + 1] = { seq = account.seq, body = body, chain = account.chain }
  S.changed = true
end

-- Takes from what is available, in burn order; returns the slices and what was not there.
local function take(amount, to, postings)
  local slices, missing = {}, amount
  for _, grant in ipairs(S.order) do
    if missing == 0 then break end
    local part = math.min(missing, grant.available)
    if part > 0 then
      move(grant, 'available', to, part, postings)
      slices[#slices + 1] = { id = grant.id, amount = part }
      missing = missing - part
    end
  end
  return slices, missing
end

local function grant_of(slice, execution_key)
  local grant = S.grants[slice.id]
  if not grant or grant.reserved < slice.amount then
    stop('DAMAGED', K.grants .. ' ' .. slice.id .. ': holds less than the slice of ' .. execution_key)
  end
  return grant
end

-- Laws 5 and 9: pays up to `charge` from the pinned slices, in their order; the rest goes home
-- to its own grant, which gives it up at once if it had expired by `at`. Returns what is unpaid.
local function end_slices(execution_key, slices, charge, at, postings)
  for _, slice in ipairs(slices) do
    local grant = grant_of(slice, execution_key)
    local paid = math.min(charge, slice.amount)
    if paid > 0 then move(grant, 'reserved', 'charged', paid, postings) end
    charge = charge - paid
    if slice.amount > paid then
      local gone = grant.expires > 0 and grant.expires <= at
      move(grant, 'reserved', gone and 'expired' or 'available', slice.amount - paid, postings)
    end
  end
  return charge
end

local function expire_grants(at)
  for _, grant in ipairs(S.order) do
    if grant.available > 0 and grant.expires > 0 and grant.expires <= at then
      local postings = {}
      move(grant, 'available', 'expired', grant.available, postings)
      journal({ kind = 'grant_expired', effective_at = grant.expires, postings = postings })
    end
  end
end

local function reserved_at_home()
  local home = 0
  for _, grant in ipairs(S.order) do
    if grant.expires == 0 or grant.expires > S.now then home = home + grant.reserved end
  end
  return home
end
