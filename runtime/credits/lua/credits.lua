-- Credits move between the parts of a balance through move() alone, so that grant and account
-- can't disagree.

local LETTER = { available = 'a', reserved = 'r', charged = 'c', expired = 'e', voided = 'v' }

local function move(grant, from, to, amount, postings)
  local account = S.account
  grant[from], grant[to] = grant[from] - amount, grant[to] + amount
  account[from], account[to] = account[from] - amount, account[to] + amount
  if to == 'available' then S.burns_from = 1 end
  S.dirty_grants[grant.id] = true
  S.changed = true
  if postings then
    postings[#postings + 1] = grant.id .. ':' .. LETTER[from] .. LETTER[to] .. ':' .. int(amount)
  end
end

-- What stands beside the balance is a sum without a natural bound: it stops at the largest
-- amount rather than stop a settlement.
local function plus(sum, amount)
  return math.min(MAX_MC, sum + amount)
end

local function count(name, amount)
  S.account[name] = math.max(0, plus(S.account[name], amount))
end

-- Takes from what is available, in burn order; returns the slices and what was not there.
local function take(amount, to, postings)
  local slices, missing = {}, amount
  while missing > 0 and S.account.available > 0 do
    local grant = grant_at(S.burns_from)
    local part = math.min(missing, grant.available)
    if part > 0 then
      move(grant, 'available', to, part, postings)
      slices[#slices + 1] = { id = grant.id, amount = part }
      missing = missing - part
    end
    -- What is all reserved or charged is not looked at again until credits come home.
    if grant.available == 0 then S.burns_from = S.burns_from + 1 end
  end
  return slices, missing
end

-- Where credits go that come home to their grant at `at`: what has expired or was voided keeps
-- nothing, and what came first decides where they end.
local function home_of(grant, at)
  if grant.voided_at > 0 and (grant.expires == 0 or grant.voided_at < grant.expires) then
    return 'voided'
  end
  if grant.expires > 0 and (grant.expires <= at or grant.voided_at > 0) then return 'expired' end
  return 'available'
end

local function expect_expiry(at)
  local due = S.account.next_expiry
  if due == 0 or at < due then S.account.next_expiry = at end
end

-- Laws 5 and 9: pays up to `charge` from the pinned slices, in their order; the rest goes home
-- to its own grant. Returns what is unpaid.
local function end_slices(execution_key, slices, charge, at, postings)
  for _, slice in ipairs(slices) do
    local grant = grant_of(slice.id)
    if not grant or grant.reserved < slice.amount then
      stop('DAMAGED', K.grants .. ' ' .. slice.id .. ': holds less than the slice of ' .. execution_key)
    end
    local paid = math.min(charge, slice.amount)
    if paid > 0 then move(grant, 'reserved', 'charged', paid, postings) end
    charge = charge - paid
    if slice.amount > paid then
      local home = home_of(grant, at)
      move(grant, 'reserved', home, slice.amount - paid, postings)
      -- It came home in time, but by now that time is over: the next expiry is this one.
      if home == 'available' and grant.expires > 0 and grant.expires <= S.now then
        expect_expiry(grant.expires)
      end
    end
  end
  return charge
end
