-- What accounts, workspaces, campaigns, actions and sources may not do. Fields of K.limits:
--
-- cap <sort>\t<values>      '1\t<number>\t<limit>\t<window>': a cap and its last window. A sort is
--                           a window's letter (d day, m month, t total) and which dimensions are
--                           named (1 workspace, 2 campaign, 4 action, 8 source, added up).
-- use <letter><number>:<window>   '1\t<charged>\t<reserved>\t<removed>': what one window has used
-- told <letter><number>:<window>  '80,100': the marks that were told of that window: cap_marks.lua
-- off account | off workspace\t<id> | off campaign\t<id> | off action\t<id>
--                           '1\t<since>\t<actor>\t<reference>': switched off; earlier releases, and
--                           accounts that were made again, have '1'
--
-- Windows are numbered as windows.lua says.

local CAP_PATTERN = '^1\t(%d+)\t(%d+)\t(%d+)$'
local USE_PATTERN = '^1\t(%d+)\t(%d+)\t(x?)$'

local function resets_in_ms(cap)
  if cap.letter == 't' then return -1 end
  return end_of(cap.letter, tonumber(string.match(cap.use.field, ':(%d+)$'))) - S.now
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

-- The use of a cap's current window, which begins at zero when the one before is over. Where
-- a window that lasts has none, it was over by a clock that ran ahead and was put right since: what
-- else could have taken it away, check_limits finds.
local function current_use(cap)
  local window = tonumber(cap.window)
  if not lasts(cap.letter, window) then window = new_window(cap.letter) end
  if cap.use and cap.use.window == window then return cap.use end
  local name = int(window)
  local field = use_field(cap.letter, cap.number, name)
  local use = use_of(field)
  if not use then
    use = { field = field, charged = 0, reserved = 0, removed = '', fresh = name }
  end
  use.window, cap.use = window, use
  return use
end

local function drop_told(cap)
  S.dirty_limits['told ' .. cap.letter .. cap.number .. ':' .. cap.window] = false
end

-- Writes the current use, and lets the window before go where nothing is reserved in it any more.
local function keep_use(cap)
  local use = cap.use
  if use.fresh then
    local before = use_of(use_field(cap.letter, cap.number, cap.window))
    if before and before.reserved == 0 then drop_use(before) end
    if cap.window ~= use.fresh then drop_told(cap) end
    cap.window, use.fresh = use.fresh, nil
    USES[use.field] = use
    save_cap(cap)
  end
  save_use(use)
end
