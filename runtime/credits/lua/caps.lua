-- Caps and switches as executions meet them. A reservation notes the windows that it counts in
-- ('d3:20545,t1:0'), and its end acts on that note alone, whatever clock and caps say by then. Where
-- nothing was reserved in any window it is NOT_NOTED: what is charged counts in the windows of now.

local NAMED = { { 1, 1 }, { 2, 2 }, { 4, 3 }, { 8, 6 } } -- bit of a shape, column of the dimensions
local MATCHING = {} -- dimensions -> caps that count them, in the order of their sorts
local CAPS = {} -- field -> cap, for two combinations of dimensions may share one
local SWITCHED = {} -- dimensions -> whether they are switched off

local function columns_of(dimensions)
  local columns = {}
  for column in string.gmatch(dimensions .. '\t', '([^\t]*)\t') do columns[#columns + 1] = column end
  return columns
end

local function cap_field(sort, columns)
  local shape, parts = tonumber(string.sub(sort, 2)), { 'cap ' .. sort }
  for _, named in ipairs(NAMED) do
    if shape % (2 * named[1]) >= named[1] then parts[#parts + 1] = columns[named[2]] end
  end
  return table.concat(parts, '\t')
end

local function matching_caps(dimensions)
  if S.account.sorts == '' then return {} end
  local caps = MATCHING[dimensions]
  if caps then return caps end
  caps = {}
  local columns, fields = columns_of(dimensions), {}
  for sort in string.gmatch(S.account.sorts, '(%w+)=') do
    fields[#fields + 1] = cap_field(sort, columns)
  end
  local raw = fetch('HMGET', K.limits, unpack(fields))
  check_limits()
  for i, field in ipairs(fields) do
    CAPS[field] = CAPS[field] or raw[i] and read_cap(field, raw[i])
    if CAPS[field] then caps[#caps + 1] = CAPS[field] end
  end
  MATCHING[dimensions] = caps
  return caps
end

local function is_switched_off(dimensions)
  if S.account.off_n == 0 then return false end
  local off = SWITCHED[dimensions]
  if off == nil then
    local columns = columns_of(dimensions)
    local raw = fetch('HMGET', K.limits, 'off account', 'off workspace\t' .. columns[1],
      'off campaign\t' .. columns[2], 'off action\t' .. columns[3])
    check_limits()
    off = (raw[1] or raw[2] or raw[3] or raw[4]) and true or false
    SWITCHED[dimensions] = off
  end
  return off
end

-- The first cap that refuses for good, else the first that refuses: its answer, or nil.
local function capped(caps, amount)
  local may_clear
  for _, cap in ipairs(caps) do
    local use = current_use(cap)
    if use.charged + use.reserved + amount > cap.limit then
      local waits = use.charged + amount <= cap.limit
      local found = { cap.field, cap.limit, use.charged, use.reserved, resets_in_ms(cap),
        waits and 1 or 0 }
      if not waits then return found end
      may_clear = may_clear or found
    end
  end
  return may_clear
end

-- Counts a reservation in the current windows; returns the note.
local function count_in(caps, amount)
  if amount == 0 then return NOT_NOTED end
  local note = {}
  for i, cap in ipairs(caps) do
    local use = current_use(cap)
    use.reserved = use.reserved + amount
    keep_use(cap)
    note[i] = string.sub(use.field, 5)
  end
  return table.concat(note, ',')
end

-- A window that is further ahead than any can be was begun by a clock that ran ahead.
local function is_over(name)
  local letter, window = string.match(name, '^(%a)%d+:(%d+)$')
  return not lasts(letter, tonumber(window))
end

-- Takes an ended reservation out of the windows of its note, and adds what it was charged.
local function count_out(note, amount, charged)
  if note == '' or note == NOT_NOTED then return end
  for name in string.gmatch(note, '[^,]+') do
    local field = 'use ' .. name
    local use = use_of(field)
    if not use or use.reserved < amount then
      stop('DAMAGED', K.limits .. ' ' .. field .. ': holds less than was noted in it')
    end
    use.reserved, use.charged = use.reserved - amount, plus(use.charged, charged)
    if use.reserved == 0 and (use.removed ~= '' or is_over(name)) then drop_use(use) else save_use(use) end
  end
end

-- A charge after its reservation had left the windows: in those of its note that are still kept.
local function charge_noted(note, charged)
  for name in string.gmatch(note, '[^,]+') do
    local use = use_of('use ' .. name)
    if use then
      use.charged = plus(use.charged, charged)
      save_use(use)
    end
  end
end

-- A charge that no reservation is known of: in the windows of now.
local function charge_current(dimensions, charged)
  for _, cap in ipairs(matching_caps(dimensions)) do
    local use = current_use(cap)
    use.charged = plus(use.charged, charged)
    keep_use(cap)
  end
end
