-- balance: the parts of the balance and every grant, as of now; writes nothing.
-- args: none
-- answer: {'balance', account fields as name, value, ..., {grant id, record, ...}, now_ms}

V.balance = function()
  local fields, grants = {}, {}
  for _, name in ipairs(NUMBER_FIELDS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = int(S.account[name])
  end
  for _, name in ipairs(TEXT_FIELDS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = S.account[name]
  end
  for id, grant in pairs(S.grants) do
    grants[#grants + 1] = id
    grants[#grants + 1] = grant_text(grant)
  end
  local ended = fetch('HGETALL', K.ended)
  for _, text in ipairs(ended) do grants[#grants + 1] = text end
  return { 'balance', fields, grants, S.now }
end
