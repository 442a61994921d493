-- The journal: one entry for each movement that ends something. Its columns are described in
-- runtime/credits/journal.py.

local CHAIN_DIGITS = 12
local LETTER_OF_KIND = {
  opened = 'o', named = 'n', granted = 'g', voided = 'v', closed = 'c', plan_changed = 'p',
  cap_set = 'k', cap_removed = 'u', switched = 'w', settled = 's', released = 'r', expired = 'e',
  grant_expired = 'x', refused = 'f', exposure = 'b', repaired = 'y', timezone_changed = 'z',
}

local function not_zero(amount)
  return amount and amount ~= 0 and int(amount) or ''
end

local journal

-- The number of these dimensions. New ones are journaled once, so that no entry has to carry
-- sixty bytes that a thousand others carry too.
local function dims_of(text)
  local number = S.dims[text] or fetch('HGET', K.dims, text)
  if not number then
    local account = S.account
    if fetch('HLEN', K.dims) + S.new_dims_n ~= account.dims_n then
      stop('DAMAGED', K.dims .. ': not the ' .. int(account.dims_n) .. ' that were named')
    end
    account.dims_n = account.dims_n + 1
    number = int(account.dims_n)
    S.new_dims[text], S.new_dims_n = number, S.new_dims_n + 1
    journal({ kind = 'named', dims = number, detail = text })
  end
  if not string.find(number, '^%d+$') then
    stop('DAMAGED', K.dims .. ' ' .. text .. ': expected a number, found ' .. number)
  end
  S.dims[text] = number
  return number
end

-- What a read-only script finds due is not written, so it is no entry yet.
function journal(entry)
  if READ_ONLY then return end
  local account, effective = S.account, entry.effective_at
  local dims = entry.dims or entry.dimensions and dims_of(entry.dimensions) or ''
  local columns = {
    account.schema, account.epoch, LETTER_OF_KIND[entry.kind], int(S.now), entry.execution_key or '',
    entry.postings and table.concat(entry.postings, ',') or '',
    entry.reserved_at and int(math.max(0, S.now - entry.reserved_at)) or '',
    dims, entry.tokens or '', entry.rate_card or '',
    entry.flags or '', entry.reason or '', not_zero(entry.overage), not_zero(entry.exposure),
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
