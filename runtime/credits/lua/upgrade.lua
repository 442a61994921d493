-- upgrade: the account is written by the rules of this schema from now on; it never goes back.
-- args: schema
-- answer: {'upgraded', 1 if it was lower before, else 0}

V.upgrade = function(args)
  local schema, account = tonumber(args[1]), S.account
  if account.schema >= schema then return { 'upgraded', 0 } end
  account.schema, S.upgraded, S.changed = schema, true, true
  return { 'upgraded', 1 }
end
