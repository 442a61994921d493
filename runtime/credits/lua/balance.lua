-- balance: the parts of the balance and every grant; caps: what their windows have used. As of
-- now; they write nothing.
-- args: none
-- answers: {'balance', {name, value, ...}, {grant id, record, ...}, now_ms, {what is off, ...}}
--        | {'caps', {field, limit, charged, reserved, resets_in_ms (-1 for never)}, ...}

local PARTS = { 'available', 'reserved', 'charged', 'expired', 'voided' }

local function add_parts(sums, grant)
  for _, part in ipairs(PARTS) do sums[part] = (sums[part] or 0) + grant[part] end
end

local function check_sums(sums)
  for _, part in ipairs(PARTS) do
    if (sums[part] or 0) ~= S.account[part] then
      stop('DAMAGED', K.ended .. ': with it the grants hold ' .. int(sums[part] or 0) .. ' ' .. part
        .. ', the account ' .. int(S.account[part]))
    end
  end
end

local function all_limits()
  if S.account.off_n == 0 and S.account.sorts == '' then return {} end
  check_limits()
  local raw, found = fetch('HGETALL', K.limits), {}
  for i = 1, #raw, 2 do found[#found + 1] = { field = raw[i], record = raw[i + 1] } end
  table.sort(found, function(one, other) return one.field < other.field end)
  return found
end

V.balance = function()
  load_all_grants()
  local fields, grants, sums, ended = {}, {}, {}, fetch('HGETALL', K.ended)
  for i = 1, #ended, 2 do
    add_parts(sums, read_grant(K.ended, ended[i], ended[i + 1]))
    grants[#grants + 1], grants[#grants + 2] = ended[i], ended[i + 1]
  end
  for _, id in ipairs(S.order) do
    add_parts(sums, S.grants[id])
    grants[#grants + 1], grants[#grants + 2] = id, grant_text(S.grants[id])
  end
  check_sums(sums)
  for _, names in ipairs({ PROFILE, BOOKS }) do
    for _, name in ipairs(names) do
      fields[#fields + 1], fields[#fields + 2] = name, S.account[name]
    end
  end
  local off = {}
  for _, limit in ipairs(all_limits()) do
    if string.sub(limit.field, 1, 4) == 'off ' then off[#off + 1] = string.sub(limit.field, 5) end
  end
  return { 'balance', fields, grants, S.now, off }
end

V.caps = function()
  local answer = { 'caps' }
  for _, limit in ipairs(all_limits()) do
    if string.sub(limit.field, 1, 4) == 'cap ' then
      local cap = read_cap(limit.field, limit.record)
      local use = current_use(cap)
      answer[#answer + 1] = { cap.field, cap.limit, use.charged, use.reserved, resets_in_ms(cap.letter) }
    end
  end
  return answer
end
