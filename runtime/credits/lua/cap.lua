-- set_cap: makes a cap or changes its limit; remove_cap: ends it. Sorts and fields: limits.lua.
-- args of set_cap: sort, field, name, limit_mc, used_mc, reference, actor; of remove_cap: sort,
--       field, name, reference, actor. The name is for people and for comparing.
-- answers: {'capped', 1 if new else 0} | {'unknown'} | {'too_many', sorts in use}
--        | {'conflict', field, stored value}

local MOST_SORTS = 8

V.set_cap = function(args)
  local sort, field, name, reference, actor = args[1], args[2], args[3], args[6], args[7]
  local limit, used = whole(args[4], 'limit_mc'), whole(args[5], 'used_mc')
  local compared = { { 'cap', name }, { 'limit_mc', int(limit) } }
  local known, conflict = done_before(reference, 'cap', compared)
  if known then return { 'capped', 0 } end
  if conflict then return conflict end
  check_limits()
  local raw = fetch('HGET', K.limits, field)
  if raw then
    local cap = read_cap(field, raw)
    cap.limit = limit
    save_cap(cap)
    rearm_cap(cap)
    check_cap(cap)
  else
    local counts, names = counted_sorts()
    if not counts[sort] and #names >= MOST_SORTS then return { 'too_many', #names } end
    make_cap(sort, field, limit, used)
  end
  remember(reference, 'cap', compared)
  journal({ kind = 'cap_set', actor = actor, reference = reference,
    detail = name .. ';' .. int(limit) .. ';' .. int(raw and 0 or used) })
  return { 'capped', 1 }
end

V.remove_cap = function(args)
  local sort, field, name, reference, actor = unpack(args)
  local compared = { { 'cap', name }, { 'limit_mc', 'none' } }
  local known, conflict = done_before(reference, 'cap', compared)
  if known then return { 'capped', 0 } end
  if conflict then return conflict end
  check_limits()
  local raw = fetch('HGET', K.limits, field)
  if not raw then return { 'unknown' } end
  local cap = read_cap(field, raw)
  local use = use_of(use_field(cap.letter, cap.number, cap.window))
  if use and use.reserved > 0 then
    use.removed = 'x'
    save_use(use)
  elseif use then
    drop_use(use)
  end
  S.dirty_limits[field] = false
  drop_told(cap)
  recount(sort, -1)
  remember(reference, 'cap', compared)
  journal({ kind = 'cap_removed', actor = actor, reference = reference, detail = name })
  return { 'capped', 1 }
end
