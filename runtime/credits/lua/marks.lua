-- Alerts: each mark is told once per downward crossing of left = available + reserved, exactly-at
-- included, and is armed again by a grant that lifts left above it. ARGV[4]: 'p20,a5000' are a
-- mark at 20% of what the last grant left and one at 5,000 mc; an account may have marks of its own
-- in their place (alert_marks.lua). ARGV[5]: a mark is told at most once within so many milliseconds;
-- a crossing before that waits, so that a balance that hovers around a mark does not send a mail an
-- hour.
--
-- account.marks: 'p20:t:1700000000000,...' for each mark that was ever reached: its state (t told,
-- w waits, a armed again) and when it was last told, 0 for never.

local COOLDOWN_MS = tonumber(ARGV[5])
local MARKS

local function mark_texts() return S.account.own_marks or ARGV[4] end

local function parsed_marks()
  local found = {}
  for sort, number in string.gmatch(mark_texts(), '([pa])(%d+)') do
    found[#found + 1] = { name = sort .. number, sort = sort, number = tonumber(number) }
  end
  return found
end

local function left()
  return S.account and S.account.available + S.account.reserved or 0
end

-- In two steps, because the whole * percent may exceed what a number holds exactly.
local function share_of(top, percent)
  return math.floor(top / 100) * percent + math.floor(top % 100 * percent / 100)
end

local function threshold_of(mark)
  return mark.sort == 'a' and mark.number or share_of(S.account.top, mark.number)
end

-- The marks with their thresholds, which a grant moves.
local function marks()
  MARKS = MARKS or parsed_marks()
  if MARKS.top ~= S.account.top then
    MARKS.top, MARKS.highest, MARKS.lowest = S.account.top, 0, nil
    for _, mark in ipairs(MARKS) do
      mark.threshold = threshold_of(mark)
      MARKS.highest = math.max(MARKS.highest, mark.threshold)
      MARKS.lowest = math.min(MARKS.lowest or mark.threshold, mark.threshold)
    end
  end
  return MARKS
end

-- At or below this, what is left is too small to run anything.
local function lowest_threshold()
  return marks().lowest or math.floor(S.account.top / 100)
end

local function threshold_by_name(name)
  if name == 'exhausted' then return left() == 0 and 0 or lowest_threshold() end
  return threshold_of({ sort = string.sub(name, 1, 1), number = tonumber(string.sub(name, 2)) })
end

local function state_of(name)
  local state, told_at = string.match(',' .. S.account.marks, ',' .. name .. ':(%a):(%d+)')
  return state or 'a', tonumber(told_at or 0)
end

local function set_state(name, state, told_at)
  local kept, found = {}, false
  for item in string.gmatch(S.account.marks, '[^,]+') do
    if string.match(item, '^%w+') == name then
      item, found = name .. ':' .. state .. ':' .. int(told_at), true
    end
    kept[#kept + 1] = item
  end
  if not found then kept[#kept + 1] = name .. ':' .. state .. ':' .. int(told_at) end
  S.account.marks = table.concat(kept, ',')
  S.changed = true
end

local function tell(name, threshold)
  S.alerts[#S.alerts + 1] = { name = name, threshold = threshold, left = left() }
  set_state(name, 't', S.now)
end

local function reach(name, threshold)
  if READ_ONLY or S.account.state ~= 'open' then return end
  local state, told_at = state_of(name)
  if state ~= 'a' then return end
  if told_at > 0 and S.now < told_at + COOLDOWN_MS then return set_state(name, 'w', told_at) end
  tell(name, threshold)
end

local function check_marks(before)
  local now_left = left()
  if now_left >= before or now_left > marks().highest then return end
  for _, mark in ipairs(MARKS) do
    if before > mark.threshold and now_left <= mark.threshold then reach(mark.name, mark.threshold) end
  end
  if now_left == 0 then reach('exhausted', 0) end
end

local function is_for_want_of_credits(reason)
  return reason == 'insufficient_credits' or reason == 'execution_too_large'
end

-- A concluded refusal means exhaustion where what is left is too small to run anything.
local function check_exhausted(reason)
  if not is_for_want_of_credits(reason) then return end
  if S.account.granted == 0 then return end
  if left() <= lowest_threshold() then reach('exhausted', threshold_by_name('exhausted')) end
end

local function waiting_marks()
  if not string.find(S.account.marks, ':w:', 1, true) then return {} end
  local waiting = {}
  for name, told_at in string.gmatch(S.account.marks, '(%w+):w:(%d+)') do
    waiting[#waiting + 1] = { name = name, due = tonumber(told_at) + COOLDOWN_MS }
  end
  return waiting
end

-- Tells what waited through its cool-down. Only a grant can have lifted left since, and a grant
-- arms again what it lifts left above.
local function tell_waiting()
  if READ_ONLY or S.account.state ~= 'open' then return end
  for _, waiting in ipairs(waiting_marks()) do
    if waiting.due <= S.now then
      tell(waiting.name, threshold_by_name(waiting.name))
    end
  end
end

-- After a grant. One that had expired when it came lifted nothing, and re-arms nothing.
local function rearm_marks(before)
  if left() <= before then return end
  S.account.top = left()
  local thresholds = { exhausted = 0 }
  for _, mark in ipairs(marks()) do thresholds[mark.name] = mark.threshold end
  for name, told_at in string.gmatch(S.account.marks, '(%w+):[tw]:(%d+)') do
    if left() > (thresholds[name] or 0) then set_state(name, 'a', tonumber(told_at)) end
  end
end
