-- switch: an account, workspace, campaign or action is switched off, or on again, from the next script on.
-- args: field (limits.lua), target, on ('1') or off ('0'), reference, actor
-- answer: {'switched', 1 if new else 0} | {'conflict', field, stored value}

V.switch = function(args)
  local field, target, on, reference, actor = unpack(args)
  local compared = { { 'target', target }, { 'on', on } }
  local known, conflict = done_before(reference, 'switch', compared)
  if known then return { 'switched', 0 } end
  if conflict then return conflict end
  check_limits()
  local is_off, account = fetch('HEXISTS', K.limits, field) == 1, S.account
  if is_off and on == '1' then
    S.dirty_limits[field] = false
    account.off_n = account.off_n - 1
  elseif not is_off and on == '0' then
    S.dirty_limits[field] = '1'
    account.off_n = account.off_n + 1
  end
  S.dirty_profile = true
  remember(reference, 'switch', compared)
  journal({ kind = 'switched', actor = actor, reference = reference, detail = target .. ';' .. on })
  return { 'switched', 1 }
end
