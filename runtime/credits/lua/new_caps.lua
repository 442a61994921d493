-- New caps, and how many an account has of each sort. Sorts and fields: limits.lua.

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
  local use = { field = use_field(letter, cap.number, cap.window), charged = used, reserved = 0,
    removed = '' }
  USES[use.field] = use
  save_use(use)
  recount(sort, 1)
  return cap
end
