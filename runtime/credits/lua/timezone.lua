-- change_timezone: new windows of caps and new offers go by another time zone from now on; the windows
-- that have begun last until their end, and no grant's expiry moves.
-- args: timezone, reference, actor
-- answer: {'changed', 1 if new else 0} | {'conflict', field, stored value}

V.change_timezone = function(args)
  local timezone, reference, actor = unpack(args)
  local compared = { { 'timezone', timezone } }
  local known, conflict = done_before(reference, 'timezone_change', compared)
  if known then return { 'changed', 0 } end
  if conflict then return conflict end
  local account = S.account
  if account.state ~= 'open' then return { 'conflict', 'state', account.state } end
  account.timezone, S.dirty_profile = timezone, true
  remember(reference, 'timezone_change', compared)
  journal({ kind = 'timezone_changed', actor = actor, reference = reference, detail = timezone })
  return { 'changed', 1 }
end
