-- set_cap: makes a cap or changes its limit; remove_cap: ends it. Sorts and fields: limits.lua.
-- args of set_cap: sort, field, name, limit_mc, used_mc, reference, actor; of remove_cap: sort,
--       field, name, reference, actor. The name is for people and for comparing.
-- answers: {'capped', 1 if new else 0} | {'unknown'} | {'too_many', sorts in use}
--        | {'conflict', field, stored value}

local MOST_SORTS = 8

-- How many caps there are of each sort, in the order of the sorts.
local function counted_sorts()
  local counts, names = {}, {}
  for name, caps in string.gmatch(S.account.sorts, '(%w+)=(%d+)') do
    counts[name] = tonumber(caps)
    names[#names + 1] = name
  end
  return counts, names
end

local function comes_before(one, other)
  local letter, other_letter = string.sub(one, 1, 1), string.sub(other, 1, 1)
  if letter ~= other_letter then return letter < other_letter end
  return tonumber(string.sub(one, 2)) < tonumber(string.sub(other, 2))
end

local function recount(sort, by)
  local counts, names = counted_sorts()
  if not counts[sort] then names[#names + 1] = sort end
  counts[sort] = (counts[sort] or 0) + by
  table.sort(names, comes_before)
  local kept = {}
  for _, name in ipairs(names) do
    if counts[name] > 0 then kept[#kept + 1] = name .. '=' .. int(counts[name]) end
  end
  S.account.sorts, S.dirty_profile = table.concat(kept, ','), true
end

-- The window is the one of now, unless it is given.
local function make_cap(sort, field, limit, used, window)
  S.account.caps_n = S.account.caps_n + 1
  local letter = string.sub(sort, 1, 1)
  local cap = { field = field, letter = letter, number = int(S.account.caps_n), limit = limit,
    window = int(window or new_window(letter)) }
  save_cap(cap)
  save_use({ field = use_field(letter, cap.number, cap.window), charged = used, reserved = 0,
    removed = '' })
  recount(sort, 1)
end

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
