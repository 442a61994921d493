-- switch: an account, workspace, campaign or action is switched off, or on again, from the next script on.
-- args: field (limits.lua), target, on ('1') or off ('0'), reference, actor, where the target's part of a
--       fingerprint begins (0 for the account), that part, '1' to do nothing where it is so already
-- answer: {'switched', 1 if new else 0, open reservations of the target, what they hold, 1 if exact else 0}
--       | {'conflict', field, stored value}

-- So many deadlines are looked at. With more, and where a record can't be read, the answer has the
-- figures of the whole account: at least as many reservations, holding at least as much.
local SCAN_AT_MOST = 2000

-- Of an open reservation: its amount and fingerprint (reservations.lua).
local OPEN_PATTERN = '^1\to\t[^\t]+\t(%d+)\t%d+\t%d+\t[%w:,]*\t([^\t]+)\t'
local EXPIRED_PATTERN = '^1\tx\t'

-- Deadlines come in order, so those of open reservations come before most of what has expired.
local function open_under(from, part)
  local account = S.account
  if from == 0 then return account.open_n, account.reserved, S.more_due and 0 or 1 end
  local met, found, held = 0, 0, 0
  for at = 0, SCAN_AT_MOST - 1, CHUNK do
    local keys = fetch('ZRANGEBYSCORE', K.due, '(' .. int(S.now), '+inf', 'LIMIT', at, CHUNK)
    for _, text in ipairs(fetch_fields(K.open, keys)) do
      local amount, fingerprint = string.match(text or '', OPEN_PATTERN)
      if amount then
        met = met + 1
        if string.sub(fingerprint, from, from + #part - 1) == part then
          found, held = found + 1, held + tonumber(amount)
        end
      elseif not text or not string.find(text, EXPIRED_PATTERN) then
        return account.open_n, account.reserved, 0
      end
    end
    if #keys < CHUNK or met == account.open_n then return found, held, 1 end
  end
  return account.open_n, account.reserved, 0
end

local function switched(new, from, part)
  return { 'switched', new, open_under(tonumber(from), part) }
end

V.switch = function(args)
  local field, target, on, reference, actor, from, part, calm = unpack(args)
  local compared = { { 'target', target }, { 'on', on } }
  local known, conflict = done_before(reference, 'switch', compared)
  if known then return switched(0, from, part) end
  if conflict then return conflict end
  check_limits()
  local is_off, account = fetch('HEXISTS', K.limits, field) == 1, S.account
  if calm == '1' and is_off == (on == '0') then return switched(0, from, part) end
  local answer = switched(1, from, part)
  if is_off and on == '1' then
    S.dirty_limits[field] = false
    account.off_n = account.off_n - 1
  elseif not is_off and on == '0' then
    S.dirty_limits[field] = table.concat({ RECORD_VERSION, int(S.now), actor, reference }, '\t')
    account.off_n = account.off_n + 1
  end
  S.dirty_profile = true
  remember(reference, 'switch', compared)
  journal({ kind = 'switched', actor = actor, reference = reference, detail = target .. ';' .. on })
  return answer
end
