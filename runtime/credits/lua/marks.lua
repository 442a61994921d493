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

local function mark_at(mark)
  if mark.sort == 'a' then return mark.number end
  return math.floor(S.account.top / 100) * mark.number
    + math.floor((S.account.top % 100) * mark.number / 100)
end

local function has_fired(name)
  return string.find(',' .. S.account.fired .. ',', ',' .. name .. ',', 1, true) ~= nil
end

local function fire(name, threshold)
  local account = S.account
  account.fired = account.fired == '' and name or account.fired .. ',' .. name
  S.alerts[#S.alerts + 1] = { name = name, threshold = threshold, left = left() }
  S.changed = true
end

local function check_marks(before)
  local now_left = left()
  if now_left >= before then return end
  for _, mark in ipairs(MARKS) do
    local threshold = mark_at(mark)
    if before > threshold and now_left <= threshold and not has_fired(mark.name) then
      fire(mark.name, threshold)
    end
  end
  if now_left == 0 and not has_fired('exhausted') then fire('exhausted', 0) end
end

-- A concluded refusal means exhaustion where what is left is too small to run anything.
local function check_exhausted(reason)
  if reason ~= 'insufficient_credits' and reason ~= 'execution_too_large' then return end
  if S.account.granted == 0 or has_fired('exhausted') then return end
  local lowest
  for _, mark in ipairs(MARKS) do
    local threshold = mark_at(mark)
    if not lowest or threshold < lowest then lowest = threshold end
  end
  lowest = lowest or math.floor(S.account.top / 100)
  if left() <= lowest then fire('exhausted', lowest) end
end

local function rearm_marks()
  local account, kept = S.account, {}
  account.top = left()
  local thresholds = { exhausted = 0 }
  for _, mark in ipairs(MARKS) do thresholds[mark.name] = mark_at(mark) end
  for name in string.gmatch(account.fired, '[^,]+') do
    if left() <= (thresholds[name] or 0) then kept[#kept + 1] = name end
  end
  account.fired = table.concat(kept, ',')
end
