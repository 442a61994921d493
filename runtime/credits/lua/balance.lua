-- balance: the parts of the balance and every grant; caps: what their windows have used; switches: what
-- is off. As of now; they write nothing. stored: the balance as its journal has it, without what is due.
-- args: none, or the page that the script before answered (due.lua)
-- answers: {'balance', {name, value, ...}, {grant id, record, ...}, now_ms, {what is off, ...}}
--        | {'stored', {name, value, ...}, {grant id, record, ...}, chain}
--        | {'caps', {field, limit, charged, reserved, resets_in_ms (-1 for never)}, ...}
--        | {'switches', {{what is off, since when in ms, actor, reference}, ...}}: 0, '' and '' if unknown
--        | {'more', page, {grant id, record, ...}} where one script can't look at all of it

local PARTS = { 'available', 'reserved', 'charged', 'expired', 'voided' }

local function add_parts(sums, grant)
  for i, part in ipairs(PARTS) do sums[i] = (sums[i] or 0) + grant[part] end
end

local function check_sums(sums)
  for i, part in ipairs(PARTS) do
    if (sums[i] or 0) ~= S.account[part] then
      stop('DAMAGED', K.ended .. ': with it the grants hold ' .. int(sums[i] or 0) .. ' ' .. part
        .. ', the account ' .. int(S.account[part]))
    end
  end
end

-- Grants that have ended never change again: they can be looked at one script after another.
local function look_at_ended(page, grants)
  local ids = {}
  for number = page.number + 1, math.min(S.account.grants_n, page.number + PAGE) do
    ids[#ids + 1] = 'g' .. int(number)
  end
  if #ids == 0 then return false end
  local raw = fetch('HMGET', K.ended, unpack(ids))
  for i, id in ipairs(ids) do
    if raw[i] then
      add_parts(page.sums, read_grant(K.ended, id, raw[i]))
      grants[#grants + 1], grants[#grants + 2] = id, raw[i]
    else
      page.open[#page.open + 1] = id
    end
  end
  page.number = page.number + #ids
  return page.number < S.account.grants_n
end

-- What is due of it has come home, and what has expired is over. Returns whether that changes it.
local function bring_to_now(grant, held)
  if grant.reserved < held then
    stop('DAMAGED', K.grants .. ' ' .. grant.id .. ': holds less than is due of it')
  end
  local is_over = grant.expires > 0 and grant.expires <= S.now and grant.available > 0
  if held == 0 and not is_over then return false end
  local home = home_of(grant, S.now)
  grant.reserved, grant[home] = grant.reserved - held, grant[home] + held
  if is_over then grant.expired, grant.available = grant.expired + grant.available, 0 end
  return true
end

-- Those that had not ended when they were looked at. Returns the parts of all grants: as of now,
-- or as they are stored.
local function add_open_grants(page, grants, as_stored)
  local stored, now, raw = page.sums, {}, fetch_fields(K.grants, page.open)
  for i, sum in ipairs(stored) do now[i] = sum end
  local order = ',' .. S.account.order .. ','
  for i, id in ipairs(page.open) do
    if raw[i] and not string.find(order, ',' .. id .. ',', 1, true) then
      stop('DAMAGED', K.grants .. ' ' .. id .. ': missing in the order')
    end
    local text = raw[i] or fetch('HGET', K.ended, id)
    if not text then stop('DAMAGED', K.ended .. ' ' .. id .. ': missing') end
    local grant = read_grant(raw[i] and K.grants or K.ended, id, text)
    add_parts(stored, grant)
    if not as_stored and bring_to_now(grant, page.held[id] or 0) then text = grant_text(grant) end
    add_parts(now, grant)
    grants[#grants + 1], grants[#grants + 2] = id, text
  end
  check_sums(stored)
  return now
end

local function all_limits()
  if S.account.off_n == 0 and S.account.sorts == '' then return {} end
  check_limits()
  local raw, found = fetch('HGETALL', K.limits), {}
  for i = 1, #raw, 2 do found[#found + 1] = { field = raw[i], record = raw[i + 1] } end
  table.sort(found, function(one, other) return one.field < other.field end)
  return found
end

local function switches()
  local off = {}
  for _, limit in ipairs(all_limits()) do
    if string.sub(limit.field, 1, 4) == 'off ' then
      local since, actor, reference = string.match(limit.record, '^1\t(%d+)\t([^\t]*)\t([^\t]*)$')
      off[#off + 1] = { string.sub(limit.field, 5), tonumber(since) or 0, actor or '', reference or '' }
    end
  end
  return off
end

local function switched_off()
  local off = switches()
  for i, switch in ipairs(off) do off[i] = switch[1] end
  return off
end

local function account_fields()
  local fields = {}
  for _, names in ipairs({ PROFILE, BOOKS }) do
    for _, name in ipairs(names) do
      fields[#fields + 1], fields[#fields + 2] = name, S.account[name]
    end
  end
  return fields
end

V.balance = function(args)
  local page, grants, account = page_of(args[1]), {}, S.account
  if look_at_ended(page, grants) or look_at_due(page) then
    return { 'more', page_text(page), grants }
  end
  for i, sum in ipairs(add_open_grants(page, grants)) do account[PARTS[i]] = sum end
  count('exposure', page.exposed)
  account.open_n = account.open_n - page.ended
  return { 'balance', account_fields(), grants, S.now, switched_off() }
end

V.stored = function(args)
  local page, grants = page_of(args[1]), {}
  if look_at_ended(page, grants) then return { 'more', page_text(page), grants } end
  add_open_grants(page, grants, true)
  return { 'stored', account_fields(), grants, S.account.chain }
end

local function take_due_out(uses)
  for name, amount in pairs(uses) do
    local use = use_of('use ' .. name)
    if not use or use.reserved < amount then
      stop('DAMAGED', K.limits .. ' use ' .. name .. ': holds less than was noted in it')
    end
    use.reserved = use.reserved - amount
  end
end

V.caps = function(args)
  local page, answer = page_of(args[1]), { 'caps' }
  if look_at_due(page) then return { 'more', page_text(page), {} } end
  take_due_out(page.uses)
  for _, limit in ipairs(all_limits()) do
    if string.sub(limit.field, 1, 4) == 'cap ' then
      local cap = read_cap(limit.field, limit.record)
      local use = current_use(cap)
      answer[#answer + 1] = { cap.field, cap.limit, use.charged, use.reserved, resets_in_ms(cap) }
    end
  end
  return answer
end

V.switches = function()
  return { 'switches', switches() }
end
