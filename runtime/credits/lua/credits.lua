-- Credits move between the parts of a balance through move() alone, so that grant and account
-- can't disagree, and each movement that ends something is journaled.

local LETTER = { available = 'a', reserved = 'r', charged = 'c', expired = 'e', voided = 'v' }
local NO_DIMENSIONS = '\t\t\t\t\t'
local CHAIN_DIGITS = 16

local function move(grant, from, to, amount, postings)
  grant[from], grant[to] = grant[from] - amount, grant[to] + amount
  S.account[from], S.account[to] = S.account[from] - amount, S.account[to] + amount
  S.dirty_grants[grant.id] = true
  S.changed = true
  if postings then
    postings[#postings + 1] = grant.id .. ':' .. LETTER[from] .. LETTER[to] .. ':' .. int(amount)
  end
end

-- What stands beside the balance is a sum without a natural bound: it stops at the largest
-- amount rather than stop a settlement.
local function count(name, amount)
  S.account[name] = math.min(MAX_MC, S.account[name] + amount)
end

local function above_zero(amount)
  return amount and amount > 0 and int(amount) or ''
end

-- One journal entry. Its columns are described in runtime/credits/journal.py. What a read-only
-- script finds due is not written, so it is no entry yet.
local function journal(entry)
  if READ_ONLY then return end
  local account, effective = S.account, entry.effective_at
  local columns = {
    RECORD_VERSION, account.epoch, entry.kind, int(S.now), entry.execution_key or '',
    entry.postings and table.concat(entry.postings, ',') or '',
    entry.reserved_at and int(S.now - entry.reserved_at) or '',
    entry.dimensions or NO_DIMENSIONS, entry.tokens or '', entry.rate_card or '',
    entry.flags or '', entry.reason or '', above_zero(entry.overage), above_zero(entry.exposure),
    effective and effective ~= S.now and int(effective) or '',
    entry.actor or '', entry.reference or '', entry.detail or '',
  }
  local last = #columns
  while columns[last] == '' do last = last - 1 end
  local body = table.concat(columns, '\t', 1, last)
  account.seq = account.seq + 1
  account.chain = string.sub(redis.sha1hex(account.chain .. body), 1, CHAIN_DIGITS)
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

-- Laws 5 and 9: pays up to `charge` from the pinned slices, in their order; the rest goes home
-- to its own grant, which gives it up at once if it had expired by `at`. Returns what is unpaid.
local function end_slices(execution_key, slices, charge, at, postings)
  for _, slice in ipairs(slices) do
    local grant = S.grants[slice.id]
    if grant.reserved < slice.amount then
      stop('DAMAGED', K.grants .. ' ' .. grant.id .. ': holds less than the slice of ' .. execution_key)
    end
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

local function reserved_at_home()
  local home = 0
  for _, grant in ipairs(S.order) do
    if grant.expires == 0 or grant.expires > S.now then home = home + grant.reserved end
  end
  return home
end
