-- What accounts, workspaces, campaigns, actions and sources may not do. Fields of K.limits:
--
-- cap <sort>\t<values>      '1\t<number>\t<limit>\t<window>': a cap and its last window. A sort is
--                           a window's letter (d day, m month, t total) and which dimensions are
--                           named (1 workspace, 2 campaign, 4 action, 8 source, added up).
-- use <letter><number>:<window>   '1\t<charged>\t<reserved>\t<removed>': what one window has used
-- off account | off workspace\t<id> | off action\t<id>   '1': switched off
--
-- Windows are UTC days since 1970, months since year 0, and 0 for total.

local DAY_MS = 86400000
local CAP_PATTERN = '^1\t(%d+)\t(%d+)\t(%d+)$'
local USE_PATTERN = '^1\t(%d+)\t(%d+)\t(x?)$'

-- Year and month of a day since 1970, and back (Hinnant, "chrono-compatible low-level date
-- algorithms"); Redis' Lua has no os.date.
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local of_era = z - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local from_march = math.floor((5 * of_year + 2) / 153)
  -- Years of this algorithm begin in March.
  return (year + era * 400) * 12 + from_march + 2
end

local function first_day_of(month)
  local from_march = (month - 2) % 12
  local year = (month - 2 - from_march) / 12
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * from_march + 2) / 5)
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

local function window_now(letter)
  if letter == 't' then return 0 end
  local day = math.floor(S.now / DAY_MS)
  return letter == 'd' and day or month_of(day)
end

local function resets_in_ms(letter)
  if letter == 't' then return -1 end
  local day = math.floor(S.now / DAY_MS)
  local next_day = letter == 'd' and day + 1 or first_day_of(month_of(day) + 1)
  return next_day * DAY_MS - S.now
end

-- One that went missing must not be taken for none.
local function check_limits()
  local found = fetch('HLEN', K.limits)
  if found ~= S.account.limits_n then
    stop('DAMAGED', K.limits .. ': ' .. found .. ' fields, expected ' .. int(S.account.limits_n))
  end
end

local USES = {} -- field -> what that window has used, or false where nothing is kept of it

local function read_use(field, raw)
  local where = K.limits .. ' ' .. field
  local fields = fields_of(raw, USE_PATTERN, where)
  return { field = field, charged = whole(fields[1], where), reserved = whole(fields[2], where),
    removed = fields[3] }
end

local function use_of(field)
  local known = USES[field]
  if known == nil then
    local raw = fetch('HGET', K.limits, field)
    known = raw and read_use(field, raw)
    USES[field] = known
  end
  return known
end

local function use_text(use)
  return table.concat({ RECORD_VERSION, int(use.charged), int(use.reserved), use.removed }, '\t')
end

local function save_use(use)
  S.dirty_uses[use.field] = use
  S.changed = true
end

-- A window that is over, or whose cap was removed, goes with the last reservation that knows it.
local function drop_use(use)
  USES[use.field] = false
  S.dirty_uses[use.field] = false
  S.changed = true
end

local function use_field(letter, number, window)
  return 'use ' .. letter .. number .. ':' .. window
end

local function cap_text(cap)
  return table.concat({ RECORD_VERSION, cap.number, int(cap.limit), cap.window }, '\t')
end

local function save_cap(cap)
  S.dirty_limits[cap.field] = cap_text(cap)
  S.changed = true
end

local function read_cap(field, raw)
  local where = K.limits .. ' ' .. field
  local fields = fields_of(raw, CAP_PATTERN, where)
  return { field = field, letter = string.sub(field, 5, 5), number = fields[1],
    limit = whole(fields[2], where), window = fields[3] }
end

-- The use of a cap's current window, which begins at zero when the one before is over.
local function current_use(cap)
  if cap.use then return cap.use end
  local window = int(window_now(cap.letter))
  local field = use_field(cap.letter, cap.number, window)
  local use = use_of(field)
  if not use then
    if cap.window == window then stop('DAMAGED', K.limits .. ' ' .. field .. ': missing') end
    use = { field = field, charged = 0, reserved = 0, removed = '', fresh = window }
  end
  cap.use = use
  return use
end

-- Writes the current use, and lets the window before go where nothing is reserved in it any more.
local function keep_use(cap)
  local use = cap.use
  if use.fresh then
    local before = use_of(use_field(cap.letter, cap.number, cap.window))
    if before and before.reserved == 0 then drop_use(before) end
    cap.window, use.fresh = use.fresh, nil
    USES[use.field] = use
    save_cap(cap)
  end
  save_use(use)
end
