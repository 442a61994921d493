-- balance: the parts of the balance and every grant, as of now; writes nothing.
-- args: none
-- answer: {'balance', {name, value, ...}, {grant id, record, ...}, now_ms}

local PARTS = { 'available', 'reserved', 'charged', 'expired', 'voided' }

local function add_parts(sums, grant)
  for _, part in ipairs(PARTS) do sums[part] = (sums[part] or 0) + grant[part] end
end

V.balance = function()
  local fields, grants, sums, ended = {}, {}, {}, fetch('HGETALL', K.ended)
  for i = 1, #ended, 2 do
    add_parts(sums, read_grant(K.ended, ended[i], ended[i + 1]))
    grants[#grants + 1], grants[#grants + 2] = ended[i], ended[i + 1]
  end
  for id, grant in pairs(S.grants) do
    add_parts(sums, grant)
    grants[#grants + 1], grants[#grants + 2] = id, grant_text(grant)
  end
  for _, part in ipairs(PARTS) do
    if (sums[part] or 0) ~= S.account[part] then
      stop('DAMAGED', K.ended .. ': with it the grants hold ' .. int(sums[part] or 0) .. ' ' .. part
        .. ', the account ' .. int(S.account[part]))
    end
  end
  for _, names in ipairs({ PROFILE, BOOKS }) do
    for _, name in ipairs(names) do
      fields[#fields + 1], fields[#fields + 2] = name, S.account[name]
    end
  end
  return { 'balance', fields, grants, S.now }
end
