-- The windows that caps count in: days, months, and one without end. Redis' Lua knows no time zones,
-- so where an account has another than UTC the caller tells the windows around its own time.
-- WINDOWS: '' | '<time zone>;<day>;<month>', each as its beginning, its end and the next one's end in
--          ms since 1970 (runtime/credits/windows.py)
--
-- A window is known by its number: the days since 1970 or the months since year 0 in UTC, the
-- millisecond at which it ends in other time zones, 0 for the one without end.

local DAY_MS = 86400000

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

-- A window that has begun lasts until its end: another time zone takes effect with the next.
local FIRST_INSTANT = 1000000000
local LONGEST_MS = { d = 26 * 3600000, m = 32 * DAY_MS }
local TOLD_PATTERN = '^([^;]+);(%d+),(%d+),(%d+);(%d+),(%d+),(%d+)$'

local function end_of(letter, window)
  if letter == 't' then return math.huge end
  if window >= FIRST_INSTANT then return window end
  return (letter == 'd' and window + 1 or first_day_of(window + 1)) * DAY_MS
end

-- The end of the window that the caller tells, where the server's time is in it or in the next one.
-- Scripts that write have compared the clocks already (trust.lua).
local function told_end(letter)
  local told = { string.match(WINDOWS, TOLD_PATTERN) }
  if told[1] ~= S.account.timezone then stop('ZONE', S.account.timezone) end
  local first = letter == 'd' and 2 or 5
  if S.now >= tonumber(told[first]) then
    for at = first + 1, first + 2 do
      if S.now < tonumber(told[at]) then return tonumber(told[at]) end
    end
  end
  stop('WINDOWS', K.limits .. ": the caller's time and the server's are more than a window apart")
end

-- The window that begins where none lasts.
local function new_window(letter)
  if letter == 't' then return 0 end
  if S.account.timezone ~= 'UTC' then return told_end(letter) end
  local day = math.floor(S.now / DAY_MS)
  return letter == 'd' and day or month_of(day)
end

local function lasts(letter, window)
  local left = end_of(letter, window) - S.now
  return letter == 't' or left > 0 and left <= LONGEST_MS[letter]
end
