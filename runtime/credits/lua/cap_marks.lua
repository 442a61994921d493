-- Alerts of caps: each mark is told once in each window, by the script whose charge reached it, or
-- which changed the limit. 'c80' among the marks (marks.lua) is one at 80% of a cap's limit. What a run
-- would cost more than is left of the limit is refused before the limit is charged: 'c100' is told by
-- the first refusal that becomes an outcome.

local CAP_MARKS, TOLD = nil, {} -- TOLD: window of a cap -> the marks that were told, as a list

local function cap_marks()
  if not CAP_MARKS then
    CAP_MARKS = {}
    for percent in string.gmatch(mark_texts(), 'c(%d+)') do
      CAP_MARKS[#CAP_MARKS + 1] = tonumber(percent)
    end
  end
  return CAP_MARKS
end

local function told_of(window)
  TOLD[window] = TOLD[window] or fetch('HGET', K.limits, 'told ' .. window) or ''
  return TOLD[window]
end

local function keep_told(window, told)
  TOLD[window] = told
  S.dirty_limits['told ' .. window] = told ~= '' and told or false
  S.changed = true
end

local function tell_of_cap(cap, use, percent)
  local window, mark = string.sub(use.field, 5), int(percent)
  local told = told_of(window)
  if string.find(',' .. told .. ',', ',' .. mark .. ',', 1, true) then return end
  local ends = end_of(cap.letter, tonumber(string.match(window, ':(%d+)$')))
  S.alerts[#S.alerts + 1] = { name = 'c' .. mark, threshold = share_of(cap.limit, percent), left = left(),
    cap = cap.field, limit = cap.limit, charged = use.charged, resets = ends < math.huge and ends or 0 }
  keep_told(window, told == '' and mark or told .. ',' .. mark)
end

-- A window that is over is told nothing of any more.
local function lasting_use(cap)
  if READ_ONLY or S.account.state ~= 'open' then return nil end
  if not lasts(cap.letter, tonumber(cap.window)) then return nil end
  return use_of(use_field(cap.letter, cap.number, cap.window))
end

local function check_cap(cap)
  local use = lasting_use(cap)
  if not use or use.charged == 0 then return end
  for _, percent in ipairs(cap_marks()) do
    if use.charged >= share_of(cap.limit, percent) then tell_of_cap(cap, use, percent) end
  end
end

-- After a change of the limit: what is above the charges now may be reached once more.
local function rearm_cap(cap)
  local use = lasting_use(cap)
  if not use then return end
  local window, kept = string.sub(use.field, 5), {}
  local told = told_of(window)
  for percent in string.gmatch(told, '%d+') do
    if use.charged >= share_of(cap.limit, tonumber(percent)) then kept[#kept + 1] = percent end
  end
  local left_told = table.concat(kept, ',')
  if left_told ~= told then keep_told(window, left_told) end
end

local function check_each_cap(dimensions)
  for _, cap in ipairs(matching_caps(dimensions)) do check_cap(cap) end
end

-- A cap whose record is damaged is no reason to refuse a settlement.
local function check_caps(dimensions)
  if #cap_marks() == 0 or S.account.sorts == '' then return end
  local sound, fault = pcall(check_each_cap, dimensions)
  if not sound and not (type(fault) == 'table' and fault.creditgate) then error(fault) end
end

local function check_cap_reached(field)
  local cap = CAPS[field]
  if S.account.state ~= 'open' then return end
  for _, percent in ipairs(cap_marks()) do
    if percent == 100 then
      if cap.use.fresh then keep_use(cap) end
      tell_of_cap(cap, cap.use, percent)
    end
  end
end
