-- Alerts: each mark fires once per downward crossing of left = available + reserved, exactly-at
-- included, and is armed again by a grant that lifts left above it. ARGV[4]: 'p20,a5000' are a
-- mark at 20% of what the last grant left and one at 5,000 mc.

local MARKS = {}
for sort, number in string.gmatch(ARGV[4], '([pa])(%d+)') do
  MARKS[#MARKS + 1] = { name = sort .. number, sort = sort, number = tonumber(number) }
end

local function left()
  return S.account and S.account.available + S.account.reserved or 0
end

-- In two steps, because top * percent may exceed what a number holds exactly.
local function threshold_of(mark)
  if mark.sort == 'a' then return mark.number end
  local top = S.account.top
  return math.floor(top / 100) * mark.number + math.floor(top % 100 * mark.number / 100)
end

local function fire(name, threshold)
  if READ_ONLY or listed(S.account.fired, name) then return end
  local fired = S.account.fired
  S.account.fired = fired == '' and name or fired .. ',' .. name
  S.alerts[#S.alerts + 1] = { name = name, threshold = threshold, left = left() }
  S.changed = true
end

local function check_marks(before)
  local now_left = left()
  if now_left >= before then return end
  for _, mark in ipairs(MARKS) do
    local threshold = threshold_of(mark)
    if before > threshold and now_left <= threshold then fire(mark.name, threshold) end
  end
  if now_left == 0 then fire('exhausted', 0) end
end

-- A concluded refusal means exhaustion where what is left is too small to run anything.
local function check_exhausted(reason)
  if reason ~= 'insufficient_credits' and reason ~= 'execution_too_large' then return end
  if S.account.granted == 0 then return end
  local lowest
  for _, mark in ipairs(MARKS) do
    local threshold = threshold_of(mark)
    if not lowest or threshold < lowest then lowest = threshold end
  end
  lowest = lowest or math.floor(S.account.top / 100)
  if left() <= lowest then fire('exhausted', lowest) end
end

-- After a grant. One that had expired when it came lifted nothing, and re-arms nothing.
local function rearm_marks(before)
  if left() <= before then return end
  S.account.top = left()
  local thresholds, kept = {}, {}
  for _, mark in ipairs(MARKS) do thresholds[mark.name] = threshold_of(mark) end
  for name in string.gmatch(S.account.fired, '[^,]+') do
    if left() <= (thresholds[name] or 0) then kept[#kept + 1] = name end
  end
  S.account.fired = table.concat(kept, ',')
end
