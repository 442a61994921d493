-- change_plan: decides whether new executions may use credits; touches no reservation and no grant.
-- args: plan, eligible ('1' where the plan may use AI credits), reference, actor
-- answer: {'changed', 1 if new else 0} | {'conflict', field, stored value}

V.change_plan = function(args)
  local plan, eligible, reference, actor = unpack(args)
  local compared = { { 'plan', plan } }
  local known, conflict = done_before(reference, 'plan_change', compared)
  if known then return { 'changed', 0 } end
  if conflict then return conflict end
  local account = S.account
  if account.state ~= 'open' then return { 'conflict', 'state', account.state } end
  account.plan, account.eligible, S.dirty_profile = plan, eligible, true
  remember(reference, 'plan_change', compared)
  journal({ kind = 'plan_changed', actor = actor, reference = reference, detail = plan .. ';' .. eligible })
  return { 'changed', 1 }
end
