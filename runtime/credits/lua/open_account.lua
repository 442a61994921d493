-- open_account: creates the account, once.
-- args: plan, eligible ('1' where the plan may use AI credits), timezone, epoch, actor, schema
-- answer: {'opened', 1 if new else 0} | {'conflict', field, stored value}

V.open_account = function(args)
  local plan, eligible, timezone, epoch, actor, schema = unpack(args)
  local account = S.account
  if account then
    if account.plan ~= plan then return { 'conflict', 'plan', account.plan } end
    if account.timezone ~= timezone then return { 'conflict', 'timezone', account.timezone } end
    return { 'opened', 0 }
  end
  fetch('SISMEMBER', K.accounts, ACCOUNT_ID)
  account = { schema = tonumber(schema), state = 'open', plan = plan, eligible = eligible,
    timezone = timezone, epoch = epoch, caps_n = 0, sorts = '', off_n = 0, chain = '', marks = '',
    order = '', archived = 0, lag_before = 0 }
  for _, name in ipairs(BOOKS) do account[name] = 0 end
  S.account, S.opened = account, true
  journal({ kind = 'opened', actor = actor, detail = plan .. ';' .. eligible .. ';' .. timezone })
  return { 'opened', 1 }
end
